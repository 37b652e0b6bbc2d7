"""Steps of a turn, a scale and a shift that bring a surface onto points."""

import numpy as np
from numpy.typing import NDArray

from fourd_ros.geometry.transforms import rotation_about

__all__ = ["motion_step", "robust_weights", "scale_of"]

FloatArray = NDArray[np.float64]

TUKEY = 4.685
"""Spreads at which a point stops counting (95 % as sharp as least squares where all errors are normal)."""

MOST = 0.3
"""Of a step, in sizes of the surface: what is linear in it holds so far."""

SPREAD = 1.4826
"""Standard deviations in a median of absolute values, of normal errors."""

DAMPING = 1e-4
"""Of the mean stiffness: keeps turns about the axis of a round thing from running away."""


def scale_of(T: FloatArray) -> float:
    """The scale of a similarity [4, 4]."""
    return float(np.cbrt(np.linalg.det(T[:3, :3])))


def motion_step(
    points: FloatArray,
    targets: FloatArray,
    normals: FloatArray,
    weights: FloatArray,
    *,
    sliding: NDArray[np.floating],
    scaled: bool,
) -> FloatArray:
    """One Gauss-Newton step towards the least distances of points from targets, along normals and across them.

    After Chen and Medioni (1992), with the scale as a seventh unknown.

    Args:
        points: of the surface, where it is now, shape [N, 3].
        targets: where each should be, shape [N, 3].
        normals: of the surface there, of unit length, shape [N, 3].
        weights: of the pairs, shape [N].
        sliding: 0 to 1: how freely a point may slide along the surface; 1 counts only the distance along the normal,
            0 all of it, shape [N].
        scaled: whether the scale is free.

    Returns:
        ``T_new_now``, shape [4, 4]: the identity where all weights are zero.
    """
    if not weights.any():
        return np.eye(4)
    middle = weights @ points / weights.sum()
    arms, gaps = points - middle, targets - points
    size = float(np.sqrt(weights @ np.square(arms).sum(axis=1) / weights.sum())) or 1.0
    axes = [normals, *(np.broadcast_to(axis, normals.shape) for axis in np.eye(3))]
    shares = [sliding, *[1 - sliding] * 3]
    system, right = np.zeros((7, 7)), np.zeros(7)
    for axis, share in zip(axes, shares, strict=True):
        turns, stretch = np.cross(arms, axis) / size, (arms * axis).sum(axis=1, keepdims=True) / size
        rows = np.concatenate([turns, axis, stretch], axis=1)
        weighted = rows * (weights * share)[:, None]
        system += weighted.T @ rows
        right += weighted.T @ (gaps * axis).sum(axis=1)
    if not scaled:
        system[6], system[:, 6], system[6, 6], right[6] = 0, 0, 1, 0
    step = np.linalg.solve(system + DAMPING * np.trace(system) / 7 * np.eye(7), right)
    step *= min(1.0, MOST * size / max(np.abs(step).max(), 1e-12))
    angle = float(np.linalg.norm(step[:3])) / size
    turn = rotation_about(step[:3] / (angle * size), angle) if angle > 0 else np.eye(3)
    T = np.eye(4)
    T[:3, :3] = np.exp(step[6] / size) * turn
    T[:3, 3] = middle + step[3:6] - T[:3, :3] @ middle
    return T


def robust_weights(errors: FloatArray, *, least: float) -> FloatArray:
    """Tukey's biweights of errors without sign, by their median, shape [N].

    Args:
        errors: shape [N].
        least: spread that is never doubted, in units of the errors.
    """
    spread = max(SPREAD * float(np.median(errors)), least) if len(errors) else least
    return np.asarray(np.square(np.clip(1 - np.square(errors / (TUKEY * spread)), 0, None)))
