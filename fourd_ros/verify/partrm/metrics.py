"""What is measured, and the perceptual loss with the weights of the recipe."""

from typing import Any

import numpy as np
import torch

from fourd_ros.evaluation.image_metrics import psnr, ssim
from fourd_ros.evaluation.lpips_vgg import VggLpips
from fourd_ros.verify.checks import check
from fourd_ros.verify.comparison import Comparison
from fourd_ros.verify.partrm.folder import SYSTEM, as_numpy, tensors
from fourd_ros.verify.vectors import Tensors, VectorFolder

RECIPE = "lpips/weight_recipe.json"


@check(SYSTEM, "lpips/lpips.safetensors")
def lpips(folder: VectorFolder, vectors: Tensors, compare: Comparison) -> None:
    """At every place and in all."""
    given = tensors(vectors)
    with torch.no_grad():
        layers = perceptual(folder).layers(given["a"], given["b"])
    made = {**given, "per_layer": layers, "total": layers.sum(dim=1).view(-1, 1, 1, 1)}
    for name in vectors:
        compare(name, as_numpy(made[name]))


@check(SYSTEM, "metrics/metrics.safetensors")
def image_metrics(_: VectorFolder, vectors: Tensors, compare: Comparison) -> None:
    """Of single images."""
    one, other = (np.moveaxis(np.array(vectors[name]), 1, -1) for name in ("a", "b"))
    pairs = list(zip(one, other, strict=True))
    made = {
        "a": vectors["a"],
        "b": vectors["b"],
        "psnr": np.array([psnr(a, b) for a, b in pairs]),
        "ssim": np.array([ssim(a, b) for a, b in pairs]),
    }
    for name in vectors:
        compare(name, made[name])


def perceptual(folder: VectorFolder) -> VggLpips:
    """LPIPS with weights that a recipe gives."""
    recipe: dict[str, Any] = folder.load(RECIPE)
    state = {}
    for number, key in enumerate(recipe["keys_in_order"]):
        shape = recipe["shapes"][key]
        drawn = np.random.default_rng(recipe["seed"] + number).standard_normal(shape).astype(np.float32)
        if key.startswith("lin"):
            drawn = np.abs(drawn) * np.float32(0.1)
        elif key.endswith("weight"):
            drawn = (drawn * np.sqrt(2 / np.prod(shape[1:]))).astype(np.float32)
        else:
            drawn = drawn * np.float32(0.05)
        state[key] = torch.from_numpy(drawn)
    network = VggLpips().eval()
    network.load_state_dict(state)
    return network
