"""What the files of a folder of vectors have in common."""

import json
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from fourd_ros.model_io.meta_device import parameters_on_meta
from fourd_ros.model_io.weight_views import GivenWeights
from fourd_ros.model_io.weights import load_weights
from fourd_ros.part_dynamics.network import PartNetwork, PartNetworkConfig
from fourd_ros.part_dynamics.rays import orbit_pose
from fourd_ros.verify.manifest import NAME
from fourd_ros.verify.vectors import Tensors, VectorFolder

SYSTEM = "partrm"
AZIMUTHS = (0.0, 90.0, 180.0, 270.0)

_SIZES = ("input_size", "down_channels", "down_attention", "mid_attention", "up_channels", "up_attention")


def tensors(vectors: Tensors) -> dict[str, torch.Tensor]:
    """As torch has them, in memory of their own."""
    return {name: torch.from_numpy(np.array(array)) for name, array in vectors.items()}


def load(folder: VectorFolder, file: str) -> dict[str, torch.Tensor]:
    """Tensors of a safetensors file."""
    return tensors(folder.load(f"{file}.safetensors"))


def as_numpy(tensor: torch.Tensor) -> NDArray[Any]:
    """For comparisons."""
    return tensor.detach().numpy()


def meanings(folder: VectorFolder, file: str) -> dict[str, str]:
    """What the manifest says about the tensors of a file."""
    found: dict[str, Any] = folder.load(NAME)
    return {entry["name"]: str(entry.get("meaning", "")) for entry in found["tensors"] if entry["file"] == file}


def options(folder: VectorFolder, case: str) -> dict[str, Any]:
    """``config.json`` of a case."""
    found: dict[str, Any] = folder.load(f"{case}/config.json")
    return found


def network(folder: VectorFolder, case: str) -> PartNetwork:
    """The network of a case, loaded strictly."""
    config = options(folder, case)
    sizes = {name: config["options"][name] for name in _SIZES}
    with parameters_on_meta():
        made = PartNetwork(PartNetworkConfig(**sizes, drags=config["use_drag_encoding"])).eval()
    path = folder.path(f"{case}/weights.safetensors")
    load_weights(made, GivenWeights(load(folder, f"{case}/weights"), path))
    return made


def default_poses(elevation: float, radius: float) -> torch.Tensor:
    """The four cameras of LGM, OpenGL axes, shape [4, 4, 4]."""
    return torch.from_numpy(np.stack([orbit_pose(elevation, azimuth, radius) for azimuth in AZIMUTHS])).float()


def plain(value: Any) -> str:
    """For comparisons of what is no number."""
    return json.dumps(value, sort_keys=True)
