"""Fewer points for a budget, spread evenly over space."""

import numpy as np
from numpy.typing import NDArray

from fourd_ros.errors import InvalidCloud

MAX_CELLS_PER_AXIS = 1 << 20  # three of them fit an int64 key


def reduce(points: NDArray[np.floating], *, max_points: int, voxel_size: float = 0.0) -> NDArray[np.int64]:
    """Choose points: one of every voxel, then an even stride down to a budget.

    Args:
        points: shape [N, 3], in metres; those with a NaN or infinity are never chosen.
        max_points: at most so many are chosen.
        voxel_size: edge of the voxels [m]; 0 for none.

    Returns:
        Indices of the chosen points, increasing, shape [n] with n <= max_points.

    Raises:
        InvalidCloud: a negative budget or voxel size, or voxels so small that they cannot be counted.
    """
    if max_points < 0 or not 0 <= voxel_size < np.inf:
        raise InvalidCloud(f"max_points {max_points} and voxel_size {voxel_size} must be finite and not negative")
    chosen = np.flatnonzero(np.isfinite(points).all(axis=-1))
    if voxel_size > 0 and len(chosen):
        chosen = chosen[_first_of_each_voxel(points[chosen], voxel_size)]
    if len(chosen) > max_points:
        chosen = chosen[np.arange(max_points) * len(chosen) // max(max_points, 1)]
    return chosen


def _first_of_each_voxel(points: NDArray[np.floating], voxel_size: float) -> NDArray[np.int64]:
    cells = np.floor((points - points.min(axis=0)) / voxel_size)
    if cells.max() >= MAX_CELLS_PER_AXIS:
        raise InvalidCloud(
            f"voxels of {voxel_size} m in a cloud {np.ptp(points, axis=0).max():.3g} m wide; "
            f"at most {MAX_CELLS_PER_AXIS} of them a side are possible, use larger ones"
        )
    x, y, z = cells.astype(np.int64).T
    keys = (x * MAX_CELLS_PER_AXIS + y) * MAX_CELLS_PER_AXIS + z
    order = np.argsort(keys)
    starts = np.flatnonzero(np.diff(keys[order], prepend=-1))
    return np.sort(np.minimum.reduceat(order, starts))
