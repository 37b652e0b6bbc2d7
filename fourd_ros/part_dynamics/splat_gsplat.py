"""The rasteriser of gsplat 1.5 on an NVIDIA GPU.

It follows the same rules with these differences, which it has no options for: opacity is capped at 0.999 instead of
0.99; radii are computed from the opacity as well and along both axes, so that faint rims of a Gaussian can be left out
or shown in other tiles, and `radii` are the larger of the two; what lies wholly outside the image is culled. Where a
Gaussian shows an alpha of about 1/255, either may leave it out. So some pixels differ by some thousandths. Not measured
here: this was written from gsplat's documentation, without a GPU.

gsplat compiles itself at its first use, for which it needs the CUDA toolkit (nvcc).
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fourd_ros.errors import MissingDependency
from fourd_ros.machine import pip_install
from fourd_ros.part_dynamics.gaussians import named_columns
from fourd_ros.part_dynamics.splat_camera import SplatCamera
from fourd_ros.part_dynamics.splat_rules import DILATION, NEAR, TILE
from fourd_ros.part_dynamics.splat_torch import rotation_rows


def draw_gsplat(
    values: Tensor, cameras: Sequence[SplatCamera], background: Tensor, modifier: float
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Render every view; differentiable with respect to `values`.

    Args:
        values: on a CUDA device, shape [N, 14].
        cameras: views of one size.
        background: rgb, float32 [3], on that device.
        modifier: of the scales.

    Returns:
        rgb within 0 and 1 [V, 3, H, W], alpha and depth [V, 1, H, W], and the radii [px], int32 [V, N].

    Raises:
        MissingDependency: gsplat is not installed, or cannot be compiled here.
    """
    position, opacity, scale, rotation, rgb = named_columns(values.float())
    # gsplat normalises quaternions and these rules do not, so it is given covariances.
    axes = (
        torch.stack([torch.stack(row, dim=-1) for row in rotation_rows(rotation)], dim=-2) * (scale * modifier)[:, None]
    )
    packed = torch.tensor(np.stack([camera.packed() for camera in cameras]), device=values.device)
    colours, alpha, facts = _call(
        means=position,
        quats=rotation,  # ignored, as scales are, where there are covariances
        scales=scale,
        covars=axes @ axes.mT,
        opacities=opacity[:, 0],
        colors=rgb,
        viewmats=_world_to_camera(packed),
        Ks=_intrinsics(packed),
        width=cameras[0].width,
        height=cameras[0].height,
        near_plane=NEAR,
        eps2d=DILATION,
        tile_size=TILE,
        packed=False,
        render_mode="RGB+D",
    )
    rgb = (colours[..., :3] + (1 - alpha) * background).clamp(0, 1)
    rgb, alpha, depth = (part.permute(0, 3, 1, 2) for part in (rgb, alpha, colours[..., 3:4]))
    radii = facts["radii"]
    return rgb, alpha, depth, (radii.amax(dim=-1) if radii.ndim == 3 else radii).int()


def _call(**arguments: Any) -> tuple[Tensor, Tensor, dict[str, Any]]:
    try:
        from gsplat import rasterization

        return rasterization(**arguments)  # type: ignore[no-any-return]
    except (ImportError, AttributeError) as error:  # it imports without its compiled half, which is then None
        raise MissingDependency(
            f"gsplat cannot be used ({error}): {pip_install('gsplat')}; it also needs the CUDA toolkit (nvcc) "
            "to compile itself, or a wheel for this torch from https://docs.gsplat.studio/whl"
        ) from error


def _world_to_camera(packed: Tensor) -> Tensor:
    matrices = torch.zeros(len(packed), 4, 4, device=packed.device)
    matrices[:, :3, :3] = packed[:, :9].reshape(-1, 3, 3)
    matrices[:, :3, 3] = packed[:, 9:12]
    matrices[:, 3, 3] = 1
    return matrices


def _intrinsics(packed: Tensor) -> Tensor:
    """gsplat puts the centre of the first pixel at (0.5, 0.5)."""
    matrices = torch.zeros(len(packed), 3, 3, device=packed.device)
    matrices[:, 0, 0], matrices[:, 1, 1] = packed[:, 12], packed[:, 13]
    matrices[:, 0, 2], matrices[:, 1, 2] = packed[:, 14] + 0.5, packed[:, 15] + 0.5
    matrices[:, 2, 2] = 1
    return matrices
