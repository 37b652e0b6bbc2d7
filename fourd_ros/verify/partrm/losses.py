"""Both stages of training on fixed targets."""

import torch

from fourd_ros.part_dynamics.objective import appearance_loss, motion_loss, on_white
from fourd_ros.part_dynamics.splat_camera import SplatCamera
from fourd_ros.verify.checks import check
from fourd_ros.verify.comparison import Comparison
from fourd_ros.verify.partrm.folder import SYSTEM, as_numpy, load, options
from fourd_ros.verify.partrm.metrics import perceptual
from fourd_ros.verify.vectors import Tensors, VectorFolder

CASE = "ms_net"
"""Whose sizes are meant, and whose Gaussians: rounding in the network can move one by a tile of the rasteriser."""


@check(SYSTEM, "losses/outputs.safetensors")
@torch.no_grad()
def losses(folder: VectorFolder, vectors: Tensors, compare: Comparison) -> None:
    """Pictures, errors and their sums."""
    given, predicted = load(folder, "losses/inputs"), load(folder, f"{CASE}/outputs")["gaussians"]
    sizes = options(folder, CASE)["options"]
    cameras = [
        [SplatCamera.from_cam_view(view.numpy(), fovy=sizes["fovy"], size=sizes["output_size"]) for view in views]
        for views in given["cam_view"]
    ]
    seen = appearance_loss(
        predicted,
        cameras,
        given["images_output"],
        given["masks_output"],
        perceptual=perceptual(folder),
        backend="torch",
    )
    flow = motion_loss(predicted, given["gt_gaussians"]).mean()
    made = {
        "image": seen.pictures,
        "alpha": seen.covered,
        "gt_composited": on_white(given["images_output"], given["masks_output"]),
        "mse_rgb": seen.rgb.mean(),
        "mse_alpha": seen.alpha.mean(),
        "loss_lpips": seen.perceptual.mean(),
        "loss_stage2": seen.loss.mean(),
        "loss_flow": flow,
        "loss_stage1": flow,
        "psnr": -10 * seen.rgb.mean().log10(),
    }
    for name in vectors:
        compare(name, as_numpy(made[name]))
