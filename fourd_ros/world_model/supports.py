"""The horizontal planes that things stand on: tables, shelves, the floor."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from fourd_ros.records import FloatArray, Mask

Floats = NDArray[np.floating]

LEVEL = 0.005
"""Heights are counted in steps of this [m]."""

BAND = 0.015
"""A plane is refined from the points this near to its level [m]."""

REFINEMENTS = 3
INLIER_SIGMAS = 3.0
FINEST_NOISE = 0.0005
"""A plane is refined this often, each time from points within so many deviations; noise is at least this [m]."""

DEGENERATE = 1e-6
"""Least squares whose determinant is smaller rest on too few points, or on points in a line."""

ROUGHEST = 0.006
"""Points scatter less around a surface than around a slice through clutter [m]."""

STEEPEST = 0.09
"""Supports rise by less than this a metre: cameras and robots are not mounted better than to some degrees."""

CELL = 0.05
"""Points on a plane this near to each other are one surface [m]."""

NARROWEST = 0.1
"""Horizontal slices of walls and sides of boxes are narrower than this [m]."""

LONGEST_THING = 0.5
"""Level surfaces longer than this are supports, others are the tops of things, except the largest of all [m]."""

LEAST_SHARE = 0.02
"""Levels that hold a smaller share of the seen area are no supports."""

MOST_LEVELS = 12
"""Levels looked at."""


@dataclass(frozen=True, kw_only=True)
class Support:
    """The plane ``z = slope . (x, y) + height`` in a frame whose z axis points up.

    Args:
        slope: rise along x and y, shape [2].
        height: at the origin [m].
        noise: standard deviation of the points around it [m].
    """

    slope: FloatArray
    height: float
    noise: float

    def above(self, points: Floats) -> Floats:
        """Height of points [*, 3] over the plane [m], shape [*]."""
        flat = points[..., :2] @ self.slope.astype(points.dtype)
        return np.asarray(points[..., 2] - flat - points.dtype.type(self.height))


def find_supports(points: Floats, areas: Floats) -> tuple[Support, ...]:
    """Large level surfaces, lowest first.

    Args:
        points: observed points in a frame whose z axis points up [m], finite, shape [N, 3].
        areas: how much of a level surface each of them stands for, shape [N].
    """
    supports: list[Support] = []
    left = np.ones(len(points), bool)
    least = LEAST_SHARE * float(areas.sum())
    for _ in range(MOST_LEVELS):
        level, area = _fullest_level(points[left, 2], areas[left])
        if area <= least:
            break
        near = left & (np.abs(points[:, 2] - level) < BAND)
        support = _plane(points[near])
        left &= ~near
        if support is None:
            continue
        on = near | (np.abs(support.above(points)) < BAND)
        left &= ~on
        width, length = _extents(points[on])
        if width > NARROWEST and (length > LONGEST_THING or not supports):
            supports.append(support)
    return tuple(sorted(supports, key=lambda support: support.height))


def _fullest_level(heights: Floats, areas: Floats) -> tuple[float, float]:
    """The height that most area lies at, and how much [m], [m^2]."""
    if len(heights) == 0:
        return 0.0, 0.0
    lowest = float(heights.min())
    steps = ((heights - lowest) / LEVEL).astype(np.intp)
    area = np.convolve(np.bincount(steps, weights=areas), np.ones(3), mode="same")
    fullest = int(area.argmax())
    return lowest + (fullest + 0.5) * LEVEL, float(area[fullest])


def _plane(points: Floats) -> Support | None:
    """Least squares over points that are trimmed to the plane's noise; None for what is not level."""
    system = np.column_stack([points[:, :2], np.ones(len(points))]).astype(np.float64)
    heights = points[:, 2].astype(np.float64)
    chosen: Mask = np.ones(len(points), bool)
    for _ in range(REFINEMENTS):
        rows = system[chosen]
        square = rows.T @ rows
        if np.linalg.det(square) < DEGENERATE:
            return None
        solution = np.linalg.solve(square, rows.T @ heights[chosen])
        residual = heights - system @ solution
        noise = max(1.4826 * float(np.median(np.abs(residual[chosen]))), FINEST_NOISE)
        chosen = np.abs(residual) < INLIER_SIGMAS * noise
    if noise > ROUGHEST or np.hypot(*solution[:2]) > STEEPEST:
        return None
    return Support(slope=np.asarray(solution[:2], np.float64), height=float(solution[2]), noise=noise)


def _extents(points: Floats) -> tuple[float, float]:
    """Horizontal width and length of the largest connected piece [m], as of a rectangle with the same moments."""
    cells = np.floor((points[:, :2] - points[:, :2].min(axis=0)) / CELL).astype(np.intp)
    grid = np.zeros(cells.max(axis=0) + 1, bool)
    grid[tuple(cells.T)] = True
    labels, _ = ndimage.label(grid, structure=np.ones((3, 3)))
    piece = np.argwhere(labels == np.bincount(labels[grid]).argmax())
    if len(piece) < 3:
        return 0.0, 0.0
    spread = np.linalg.eigvalsh(np.cov(piece, rowvar=False))
    width, length = CELL * np.sqrt(12 * np.maximum(spread, 0.0))
    return float(width), float(length)
