"""Depth at steps between surfaces, taken from the pixel nearby that looks most alike."""

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from fourd_ros.reconstruction.official.depth_edges import depth_slope

__all__ = ["clean_depth"]

EDGE = 3.0
"""Sobel gradients above belong to an edge."""

CANDIDATES = 9


def clean_depth(depth: NDArray[np.floating], rgb: NDArray[np.uint8]) -> NDArray[np.floating]:
    """Depth in which each edge pixel has that of the most alike in colour of the nine nearest pixels off edges.

    Of candidates that are equally alike the nearest counts. Nothing changes where all or no pixels are edges.
    Source: specification of DynamicVerse, 14.2.

    Args:
        depth: z-depth [m], shape [H, W].
        rgb: shape [H, W, 3].
    """
    edge = depth_slope(depth) > EDGE
    cleaned = depth.copy()
    at, others = np.argwhere(edge), np.argwhere(~edge)
    if not len(at) or not len(others):
        return cleaned
    count = min(CANDIDATES, len(others))
    _, order = cKDTree(others).query(at, k=range(1, count + 1))
    candidates = others[order]
    colours = rgb.astype(np.float64)
    distance = np.linalg.norm(colours[tuple(candidates.T)].swapaxes(0, 1) - colours[edge][:, None], axis=-1)
    chosen = candidates[np.arange(len(at)), distance.argmin(axis=1)]
    cleaned[edge] = depth[tuple(chosen.T)]
    return cleaned
