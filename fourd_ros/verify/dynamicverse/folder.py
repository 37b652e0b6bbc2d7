"""What the files of a folder of vectors have in common."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from fourd_ros.reconstruction.motion.tracks import Tracks
from fourd_ros.reconstruction.official.projection import within_image
from fourd_ros.verify.comparison import Comparison
from fourd_ros.verify.tolerance import Tolerance
from fourd_ros.verify.vectors import Tensors, VectorFolder

SYSTEM = "dynamicverse"
EXACT = Tolerance()

Computed = dict[str, tuple[Any, Tolerance]]
"""What we computed, and how far it may be from what the original did."""


def torch_of(array: NDArray[Any]) -> torch.Tensor:
    """In memory of its own; weights are float32 as the original has them."""
    return torch.from_numpy(np.array(array))


def numpy_of(tensor: torch.Tensor) -> NDArray[Any]:
    """For comparisons."""
    return np.asarray(tensor.detach().numpy())


def compare_all(vectors: Tensors, compare: Comparison, computed: Computed, *, inputs: str) -> None:
    """Compare every tensor of a file but its `inputs`, names with spaces between; one that nobody computes fails."""
    for name in sorted(vectors.keys() - set(inputs.split())):
        if name not in computed:
            raise KeyError(f"no check computes '{name}'")
        actual, tolerance = computed[name]
        compare(name, numpy_of(actual) if isinstance(actual, torch.Tensor) else actual, tolerance=tolerance)


def tracks_of(folder: VectorFolder) -> Tracks:
    """All tracks of the clip, as ``track_filter.npz`` has them."""
    given = folder.load("track_filter.npz")
    height, width = given["dyn_masks"].shape[1:]
    return Tracks(
        positions=given["tracks"].astype(np.float64),
        visible=given["vis"].astype(np.bool_),
        born=given["init_frames"].astype(np.int64),
        width=width,
        height=height,
    )


def inside(tracks: Tracks) -> torch.Tensor:
    """Tracks moved into the image, shape [F, N, 2], float32."""
    return within_image(torch_of(tracks.positions.astype(np.float32)), width=tracks.width, height=tracks.height)
