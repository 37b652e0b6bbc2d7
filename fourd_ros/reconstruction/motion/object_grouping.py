"""Moving tracks that belong together: neighbours in the image that move alike."""

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from fourd_ros.reconstruction.motion.scene_motion import REJECTED

FloatArray = NDArray[np.float64]

NEIGHBOURS = 6
"""Tracks beside it that a track is compared with."""


def group_tracks(
    pixels: FloatArray,
    seen: NDArray[np.bool_],
    residual: FloatArray,
    *,
    longer_side: int,
    noise: float = 0.0,
    reach: float = 0.08,
    alike: float = 0.35,
    fewest: int = 6,
    common: int = 3,
) -> NDArray[np.int64]:
    """Numbers of groups from 1, the largest first, ``REJECTED`` for tracks that move alone.

    Args:
        pixels: shape [F, n, 2].
        seen: shape [F, n].
        residual: how far a track goes from a frame to a later one beyond what a still point would, NaN where
            unknown, shape [*, n, 2].
        longer_side: of the image [px].
        noise: motions may differ by this much besides [px].
        reach: neighbours are this near, as a share of the longer side.
        alike: motions differ by less than this share of their length.
        fewest: tracks of a group.
        common: frames in which two tracks must both be seen.
    """
    count = seen.shape[1]
    if not count:
        return np.zeros(0, np.int64)
    first, second = _neighbours(pixels, seen, reach * longer_side, common)
    a, b = residual[:, first], residual[:, second]
    both = np.isfinite(a).all(axis=-1) & np.isfinite(b).all(axis=-1)
    difference = np.where(both, np.linalg.norm(np.nan_to_num(a - b), axis=-1), 0.0).sum(axis=0)
    length = np.where(both, np.linalg.norm(np.nan_to_num(a + b), axis=-1) / 2, 0.0).sum(axis=0)
    times = both.sum(axis=0)
    joined = (times >= common - 1) & (difference < alike * length + noise * times)
    graph = coo_matrix((np.ones(joined.sum()), (first[joined], second[joined])), shape=(count, count))
    _, part = connected_components(graph, directed=False)
    sizes = np.bincount(part)
    ranked = np.argsort(-sizes, kind="stable")
    number = np.full(len(sizes), REJECTED, np.int64)
    kept = ranked[sizes[ranked] >= fewest]
    number[kept] = np.arange(1, len(kept) + 1)
    numbers: NDArray[np.int64] = number[part]
    return numbers


def _neighbours(
    pixels: FloatArray, seen: NDArray[np.bool_], reach: float, common: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Pairs of tracks that stay within `reach` while both are seen; of each the nearest few."""
    together = seen.T.astype(np.float64) @ seen.astype(np.float64)
    filled = np.where(seen[..., None], pixels, 0.0)
    weight = seen.astype(np.float64)
    # mean over common frames of |p - q|^2 = |p|^2 + |q|^2 - 2 p q
    squares = (filled**2).sum(axis=-1)
    own = squares.T @ weight
    apart = own + own.T - 2 * sum(filled[..., axis].T @ filled[..., axis] for axis in (0, 1))
    with np.errstate(divide="ignore", invalid="ignore"):
        distance = np.where(together >= common, np.sqrt(np.maximum(apart, 0) / together), np.inf)
    np.fill_diagonal(distance, np.inf)
    nearest = np.argsort(distance, axis=1)[:, :NEIGHBOURS]
    first = np.repeat(np.arange(len(distance)), nearest.shape[1])
    second = nearest.ravel()
    near = distance[first, second] < reach
    return first[near], second[near]
