"""Which points of an object the camera of view 0 sees, judged from the points alone.

Rules: PartRM 2025 (arXiv 2503.19913), section 8.4 of the specification this was written from. Depth is the third
normalised device coordinate of `partdrag4d_cameras.project_with_depth`, which grows towards the camera.
"""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from fourd_ros.data.partdrag4d_cameras import FloatArray, project_with_depth

GRID = 256
WINDOW = 10
"""Cells to each side that can hide a point."""

CLEARLY_NEARER = 0.005


def visible_points(points: NDArray[np.floating], raw: FloatArray) -> NDArray[np.int64]:
    """Points before which no other lies clearly nearer, within `WINDOW` cells of a grid of `GRID` x `GRID`.

    Args:
        points: of an object, z-up, shape [N, 3].
        raw: raw pose of the camera, shape [4, 4].

    Returns:
        Sorted indices.
    """
    cells, depth = _cells(points, raw)
    inside = ((cells >= 0) & (cells < GRID)).all(axis=1)
    x, y = cells[inside].T
    nearest = np.full((GRID, GRID), -np.inf)
    np.maximum.at(nearest, (x, y), depth[inside])
    hidden_by = _largest_around(_largest_around(nearest).T).T
    seen: NDArray[np.int64] = np.flatnonzero(inside)[depth[inside] >= hidden_by[x, y] - CLEARLY_NEARER]
    return seen


def _largest_around(values: FloatArray) -> FloatArray:
    """Largest of each row's neighbours within `WINDOW` along the last axis."""
    padded = np.pad(values, ((0, 0), (WINDOW, WINDOW)), constant_values=-np.inf)
    largest: FloatArray = sliding_window_view(padded, 2 * WINDOW + 1, axis=1).max(axis=-1)
    return largest


def official_visible_points(points: NDArray[np.floating], raw: FloatArray) -> NDArray[np.int64]:
    """What the original lists as visible, with its defects.

    In every cell it keeps the farthest point, drops those that have something clearly nearer around them (those
    dropped before count no longer), never looks at the last column and row, and always lists point 0.

    Args:
        points: of an object, z-up, shape [N, 3].
        raw: raw pose of the camera, shape [4, 4].

    Returns:
        Sorted indices.
    """
    cells, depth = _cells(points, raw)
    buffer, index = _farthest(cells, depth)
    for x, y in np.argwhere(index != 0):
        window = buffer[max(x - WINDOW, 0) : min(x + WINDOW, GRID - 1), max(y - WINDOW, 0) : min(y + WINDOW, GRID - 1)]
        if (window[np.isfinite(window)] - buffer[x, y] > CLEARLY_NEARER).any():
            buffer[x, y], index[x, y] = np.inf, 0
    return np.unique(index)


def _cells(points: NDArray[np.floating], raw: FloatArray) -> tuple[NDArray[np.int64], FloatArray]:
    """Cell of every point as x and y, rounded towards zero, and its depth."""
    pixels, depth = project_with_depth(points, raw, size=GRID)
    far_off = 10.0 * GRID
    return np.trunc(np.nan_to_num(pixels, nan=-far_off).clip(-far_off, far_off)).astype(np.int64), depth


def _farthest(cells: NDArray[np.int64], depth: FloatArray) -> tuple[FloatArray, NDArray[np.int64]]:
    """Depth and index of the point of least depth in every cell, the first of several; infinite and 0 where none is."""
    inside = np.flatnonzero(((cells >= 0) & (cells < GRID)).all(axis=1))
    order = inside[np.argsort(depth[inside], kind="stable")]
    _, first = np.unique(cells[order] @ (GRID, 1), return_index=True)
    kept = order[first]
    buffer, index = np.full((GRID, GRID), np.inf), np.zeros((GRID, GRID), np.int64)
    x, y = cells[kept].T
    buffer[x, y], index[x, y] = depth[kept], kept
    return buffer, index
