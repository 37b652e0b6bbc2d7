"""Which rectangle of an image a link can appear in."""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from fourd_ros.geometry.camera import CACHED_CAMERAS, PinholeCamera

FloatArray = NDArray[np.float64]
Rectangles = NDArray[np.int64]

NEAR = 1e-4
"""What is nearer to the camera plane than this is cut off before projecting [m]."""

BOX_CORNERS = np.array([[i >> 2 & 1, i >> 1 & 1, i & 1] for i in range(8)])
BOX_EDGES = np.array([(a, b) for a in range(8) for b in range(a + 1, 8) if (a ^ b) in (1, 2, 4)])


def box_corners(points: NDArray[np.floating]) -> FloatArray:
    """Corners of the axis-aligned box around `points` [N, 3], shape [8, 3]."""
    low, high = points.min(axis=0), points.max(axis=0)
    return np.asarray(np.where(BOX_CORNERS, high, low), np.float64)


def rectangles(corners: FloatArray, camera: PinholeCamera) -> Rectangles:
    """The pixels that can see a box: no pixel outside the rectangle does.

    The bounds are taken on the plane z = 1 and looked up among the pixels' own rays, so that they hold for
    distorted cameras; edges through the camera plane are cut there.

    Args:
        corners: of boxes, in the order of `box_corners`, camera frame [m], shape [*, 8, 3].
        camera: the camera.

    Returns:
        First row, end row, first column, end column, shape [*, 4]; all zero where the box is out of sight.
    """
    low, high = _bounds(corners)
    columns = _visible_range(low[..., 0], high[..., 0], *_column_bounds(camera))
    rows = _visible_range(low[..., 1], high[..., 1], *_row_bounds(camera))
    found = np.concatenate([rows, columns], axis=-1)
    found[(found[..., 0] == found[..., 1]) | (found[..., 2] == found[..., 3])] = 0
    return found


def _bounds(corners: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Least and greatest x / z and y / z of the part before the camera, shape [*, 2]; inf > -inf where none is."""
    behind = corners[..., 2] < NEAR
    points = corners
    if (behind.any(axis=-1) & ~behind.all(axis=-1)).any():
        points = np.concatenate([corners, _edges_at_near_plane(corners)], axis=-2)
    seen = points[..., 2:] >= NEAR
    plane = points[..., :2] / np.where(seen, points[..., 2:], 1.0)
    return np.where(seen, plane, np.inf).min(axis=-2), np.where(seen, plane, -np.inf).max(axis=-2)


def _edges_at_near_plane(corners: FloatArray) -> FloatArray:
    """Where the boxes' edges meet the plane z = NEAR, shape [*, 12, 3]; behind the camera where they do not."""
    a, b = corners[..., BOX_EDGES[:, 0], :], corners[..., BOX_EDGES[:, 1], :]
    crosses = (a[..., 2] < NEAR) != (b[..., 2] < NEAR)
    rise = np.where(crosses, b[..., 2] - a[..., 2], 1.0)
    met = a + ((NEAR - a[..., 2]) / rise)[..., None] * (b - a)
    met[..., 2] = np.where(crosses, NEAR, -1.0)
    return met


def _visible_range(
    low: FloatArray, high: FloatArray, least: NDArray[np.float32], greatest: NDArray[np.float32]
) -> Rectangles:
    """First and end index of the lines whose rays reach into [low, high], shape [*, 2]."""
    touched = (greatest >= low[..., None]) & (least <= high[..., None])
    first = touched.argmax(axis=-1)
    end = touched.shape[-1] - touched[..., ::-1].argmax(axis=-1)
    return np.stack([first, np.where(touched.any(axis=-1), end, first)], axis=-1)


@lru_cache(maxsize=CACHED_CAMERAS)
def _column_bounds(camera: PinholeCamera) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    x = camera.rays()[..., 0]
    return _least(x, 0), -_least(-x, 0)


@lru_cache(maxsize=CACHED_CAMERAS)
def _row_bounds(camera: PinholeCamera) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    y = camera.rays()[..., 1]
    return _least(y, 1), -_least(-y, 1)


def _least(values: NDArray[np.float32], axis: int) -> NDArray[np.float32]:
    """Minimum without NaN, inf where there is nothing else."""
    return np.asarray(np.where(np.isnan(values), np.inf, values).min(axis=axis), np.float32)
