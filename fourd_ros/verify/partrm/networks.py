"""The network with drags and without."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import nn

from fourd_ros.part_dynamics.drag_maps import fourier_features, frequencies
from fourd_ros.part_dynamics.network import PartNetwork, PartNetworkConfig
from fourd_ros.part_dynamics.rays import pluecker_rays
from fourd_ros.verify.checks import check
from fourd_ros.verify.comparison import Comparison
from fourd_ros.verify.partrm.folder import (
    SYSTEM,
    as_numpy,
    default_poses,
    load,
    meanings,
    network,
    options,
    tensors,
)
from fourd_ros.verify.tolerance import Tolerance
from fourd_ros.verify.vectors import Tensors, VectorFolder

EXACT = Tolerance()
_SLICE = re.compile(r"stored slice \[([\d:, ]+)\]")


@check(SYSTEM, "*_net/inputs.safetensors")
def inputs(folder: VectorFolder, vectors: Tensors, compare: Comparison) -> None:
    """Rays of the default cameras; the rest is given."""
    case = _case(compare)
    config = options(folder, case)
    sizes = config["options"]
    rays = pluecker_rays(
        default_poses(config["ray_elevation"], sizes["cam_radius"]), size=sizes["input_size"], fovy=sizes["fovy"]
    )
    for name, given in vectors.items():
        compare(name, as_numpy(rays) if name == "rays" else given)


@check(SYSTEM, "*_net/outputs.safetensors")
def outputs(folder: VectorFolder, vectors: Tensors, compare: Comparison) -> None:
    """Maps and Gaussians."""
    made = _computed(folder, _case(compare))
    for name in vectors:
        compare(name, as_numpy(made[name]))


@check(SYSTEM, "*_net/intermediates.safetensors")
def intermediates(folder: VectorFolder, vectors: Tensors, compare: Comparison) -> None:
    """What the modules give on the way."""
    case = _case(compare)
    made, texts = _computed(folder, case), meanings(folder, f"{case}/intermediates.safetensors")
    for name in vectors:
        stored = _SLICE.search(texts.get(name, ""))
        place = tuple(_range(part) for part in stored[1].split(",")) if stored else ()
        compare(name, as_numpy(made[name][place]))


@check(SYSTEM, "*_net/weights.safetensors")
def weights(folder: VectorFolder, vectors: Tensors, compare: Comparison) -> None:
    """They lie in the network as they are stored."""
    state = network(folder, _case(compare)).state_dict()
    for name in vectors:
        compare(name, as_numpy(state[name]), tolerance=EXACT)


@check(SYSTEM, "fourier/fourier.safetensors")
def fourier(_: VectorFolder, vectors: Tensors, compare: Comparison) -> None:
    """Features of pixels."""
    given = tensors(vectors)
    compare("xy", vectors["xy"])
    compare("freq_bands", as_numpy(frequencies()))
    compare("embedding", as_numpy(fourier_features(given["xy"])))


@check(SYSTEM, "state_dict_layouts.json")
def layouts(_: VectorFolder, stated: Any, compare: Comparison) -> None:
    """Names, shapes and numbers of the published networks."""
    small = {"up_channels": (1024, 1024, 512, 256), "up_attention": (True, True, True, False)}
    for name, sizes in (("big", {}), ("small", small), ("big_static_lgm", {"drags": False})):
        ours = _shapes(PartNetworkConfig(**sizes))  # type: ignore[arg-type]
        wanted = stated[name]
        counts = [len(ours), sum(int(np.prod(shape)) for shape in ours.values())]
        compare(f"{name}: counts", counts, expected=[wanted["n_tensors"], wanted["n_params"]], tolerance=EXACT)
        if "tensors" in wanted:
            same = ours == {key: list(shape) for key, shape in wanted["tensors"].items()}
            compare(f"{name}: names and shapes", [float(same)], expected=[1.0], tolerance=EXACT)


def _shapes(config: PartNetworkConfig) -> dict[str, list[int]]:
    with torch.device("meta"):
        return {name: list(tensor.shape) for name, tensor in PartNetwork(config).state_dict().items()}


def _case(compare: Comparison) -> str:
    """The folder of the file that is compared."""
    return compare.file.partition("/")[0]


@torch.no_grad()
def _computed(folder: VectorFolder, case: str) -> dict[str, torch.Tensor]:
    """Everything that a case records, by name."""
    made, given = network(folder, case), load(folder, f"{case}/inputs")
    drags = [given.get(name) for name in ("drags_start", "drags_end")]
    with _watched(made) as seen:
        raw = made.maps(given["input"], *drags)
    seen |= {"raw": raw, "gaussians": made(given["input"], *drags)}
    start, end = drags
    if start is not None and end is not None:
        flat = start.flatten(0, 1), end.flatten(0, 1)
        seen["fourier_start"] = fourier_features(flat[0])
        for level in range(len(made.settings.down_channels)):
            maps = made.unet.drag_position_net(level, *flat)
            seen |= {f"drag_start_map_{level}": maps[0], f"drag_end_map_{level}": maps[1]}
    return seen


@contextmanager
def _watched(made: PartNetwork) -> Iterator[dict[str, torch.Tensor]]:
    """What modules gave when they were called last."""
    seen: dict[str, torch.Tensor] = {}
    unet = made.unet
    watched: dict[str, nn.Module] = {
        "conv_in": unet.conv_in,
        "mid_block": unet.mid_block,
        "norm_out": unet.norm_out,
        "unet_out": unet,
        **{f"down_{level}": block for level, block in enumerate(unet.down_blocks)},
        **{f"up_{level}": block for level, block in enumerate(unet.up_blocks)},
    }
    if unet.takes_drags:
        watched |= {f"merge_{level}": merge for level, merge in enumerate(unet.conv_merges)}
    hooks = [module.register_forward_hook(_keep(seen, name)) for name, module in watched.items()]
    try:
        yield seen
    finally:
        for hook in hooks:
            hook.remove()


def _keep(seen: dict[str, torch.Tensor], name: str) -> Any:
    def keep(_module: nn.Module, _given: Any, made: Any) -> None:
        seen[name] = made[0] if isinstance(made, tuple) else made

    return keep


def _range(text: str) -> slice:
    ends = [int(end) if end.strip() else None for end in text.split(":")]
    return slice(*ends)
