"""Points far from all others, by two rules. Source: specification of DynamicVerse, 14.2."""

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

__all__ = ["statistical_inliers", "steady_inliers"]

NEAREST = 4
"""Of a point, itself counted."""


def statistical_inliers(points: NDArray[np.floating], *, deviations: float = 3.0) -> NDArray[np.bool_]:
    """Points whose mean distance to their nearest is below the mean of all by `deviations` standard deviations.

    Args:
        points: [m], shape [N, 3]; all are inliers where there are fewer than ``NEAREST``.
        deviations: how many.

    Returns:
        Shape [N].
    """
    if len(points) < NEAREST:
        return np.ones(len(points), np.bool_)
    mean = _distances(points).mean(axis=1)
    inliers: NDArray[np.bool_] = mean < mean.mean() + deviations * mean.std(ddof=1)
    return inliers


def steady_inliers(points: NDArray[np.floating], *, deviations: float = 2.0) -> NDArray[np.bool_]:
    """Points whose mean squared distance to others exceeds the mean of all by no more than their own deviations.

    Args:
        points: [m], shape [N, 3]; all are inliers where there are fewer than ``NEAREST``.
        deviations: how many standard deviations of the point's own squared distances.

    Returns:
        Shape [N].
    """
    if len(points) < NEAREST:
        return np.ones(len(points), np.bool_)
    squared = np.square(_distances(points)[:, 1:])
    mean = squared.mean(axis=1)
    inliers: NDArray[np.bool_] = mean <= mean.mean() + deviations * squared.std(axis=1, ddof=1)
    return inliers


def _distances(points: NDArray[np.floating]) -> NDArray[np.float64]:
    """To the nearest points, the point itself first, shape [N, 4]."""
    distance: NDArray[np.float64] = cKDTree(points).query(points, k=NEAREST)[0]
    return distance
