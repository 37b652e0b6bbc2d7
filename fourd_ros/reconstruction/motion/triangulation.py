"""Points from tracks and known poses."""

import numpy as np
from numpy.typing import NDArray

from fourd_ros.geometry.transforms import apply, invert

FloatArray = NDArray[np.float64]

FLATTEST = 1e-4
"""Least ratio of the smallest to the largest eigenvalue for which rays still cross somewhere certain (1.6 degrees
between two rays)."""


def triangulated(pixels: FloatArray, weights: FloatArray, T_world_camera: FloatArray, K: FloatArray) -> FloatArray:
    """The points nearest to all rays of each track (midpoint method).

    Args:
        pixels: without distortion [px], shape [F, P, 2].
        weights: 0 where unseen, shape [F, P].
        T_world_camera: shape [F, 4, 4].
        K: intrinsics, shape [3, 3].

    Returns:
        Shape [P, 3]; NaN where the rays hardly cross or cross behind a camera.
    """
    pixels = np.where(weights[..., None] > 0, pixels, 0.0)
    rays = np.concatenate([(pixels - K[:2, 2]) / K[[0, 1], [0, 1]], np.ones((*weights.shape, 1))], axis=-1)
    rays = rays @ np.swapaxes(T_world_camera[:, :3, :3], 1, 2)
    rays /= np.linalg.norm(rays, axis=-1, keepdims=True)
    centres = T_world_camera[:, :3, 3]
    # A = sum w (I - r r'), b = sum w (I - r r') c
    A = weights.sum(axis=0)[:, None, None] * np.eye(3) - np.einsum("fp,fpi,fpj->pij", weights, rays, rays)
    along = weights * np.einsum("fpi,fi->fp", rays, centres)
    b = weights.T @ centres - np.einsum("fp,fpi->pi", along, rays)
    sizes = np.linalg.eigvalsh(A)
    certain = sizes[:, 0] > FLATTEST * np.maximum(sizes[:, 2], 1e-300)
    points = np.full((weights.shape[1], 3), np.nan)
    points[certain] = np.linalg.solve(A[certain], b[certain, :, None])[..., 0]
    in_camera = apply(invert(T_world_camera), np.broadcast_to(points, (len(centres), *points.shape)))
    behind = ((in_camera[..., 2] <= 0) & (weights > 0)).any(axis=0)
    points[behind] = np.nan
    return points
