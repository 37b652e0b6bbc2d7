"""Every loss of DynamicVerse's bundle adjustment, differentiable.

Pixel errors are plain lengths: not squared, not robust. Shapes: F frames, N tracks, poses ``R`` [F, 3, 3] and ``t``
[F, 3] with ``X_world = R X_camera + t``. Points that move are [N, F, 3]. *Visible* is after the test whether a track
lies in the image. Source: specification of DynamicVerse, 6.3.
"""

import torch
from torch import Tensor

from fourd_ros.reconstruction.official.projection import project, unproject

__all__ = [
    "NO_NEIGHBOUR",
    "moving_smoothness",
    "pairwise_loss",
    "reprojection_loss",
    "rigidity_loss",
    "rigidity_of_points",
    "rotation_smoothness",
    "smoothness_of_points",
    "translation_smoothness",
]

COSINE_MARGIN = 1e-4
"""Angles are not told apart from 0 or pi closer than acos(1 - margin), 0.01414 rad."""

LEAST_TURN = 0.02
"""Changes of the turning of the camera below this [rad] count as none."""

NO_NEIGHBOUR = -1

_NONE_VISIBLE = 1e-16
_STANDING = 1e-12


def reprojection_loss(points: Tensor, tracks: Tensor, visible: Tensor, R: Tensor, t: Tensor, K: Tensor) -> Tensor:
    """Mean over frames of the mean distance between tracks and projected points [px], a scalar.

    Args:
        points: in the world [m], shape [N, 3], or [N, F, 3] for points that move.
        tracks: pixels (x, y), shape [F, N, 2].
        visible: shape [F, N], 0 or 1.
        R: shape [F, 3, 3].
        t: shape [F, 3].
        K: shape [3, 3].
    """
    pixels, _ = project(points if points.ndim == 2 else points.transpose(0, 1), R, t, K)
    distance = torch.linalg.vector_norm(pixels - tracks, dim=-1)
    return _mean_of_visible(distance, visible).mean()


def pairwise_loss(
    tracks: Tensor, visible: Tensor, depth: Tensor, pairs: Tensor, R: Tensor, t: Tensor, K: Tensor
) -> Tensor:
    """Tracks of one frame, moved into another one with their depth, against the tracks there [px], a scalar.

    Mean over tracks that both frames see, then over pairs.

    Args:
        tracks: pixels (x, y), shape [F, N, 2].
        visible: shape [F, N], 0 or 1.
        depth: of the tracks [m], shape [F, N].
        pairs: from, to, shape [P, 2].
        R: shape [F, 3, 3].
        t: shape [F, 3].
        K: shape [3, 3].
    """
    start, end = pairs.unbind(dim=1)
    points = unproject(tracks, depth, R, t, K)
    pixels, _ = project(points[start], R[end], t[end], K)
    distance = torch.linalg.vector_norm(pixels - tracks[end], dim=-1)
    return _mean_of_visible(distance, visible[start] * visible[end]).mean()


def translation_smoothness(t: Tensor) -> Tensor:
    """Mean change of the step from frame to frame against the length of steps; a scalar without a unit.

    Args:
        t: centres of three or more cameras [m], shape [F, 3].
    """
    step = t[1:] - t[:-1]
    length = torch.linalg.vector_norm(step, dim=-1)
    change = torch.linalg.vector_norm(step[1:] - step[:-1], dim=-1)
    ratio: Tensor = change / ((length[:-1] + length[1:]) / 2 + _STANDING)
    return ratio.mean()


def rotation_smoothness(R: Tensor) -> Tensor:
    """Mean change of the turn from frame to frame against the angle of turns; a scalar without a unit.

    Angles have the floor that ``COSINE_MARGIN`` sets; a change below ``LEAST_TURN`` counts as none, gradient included.

    Args:
        R: rotations of three or more cameras, shape [F, 3, 3].
    """
    turn = R[1:] @ R[:-1].transpose(-1, -2)
    angle = _angles(turn)
    change = _angles(turn[1:] @ turn[:-1].transpose(-1, -2))
    change = torch.where(change < LEAST_TURN, torch.zeros_like(change), change)
    return (change / ((angle[:-1] + angle[1:]) / 2 + _STANDING)).mean()


def smoothness_of_points(points: Tensor, visible: Tensor) -> Tensor:
    """How far points go from frame to frame [m], zero where a frame does not see them, shape [N, F - 1].

    Args:
        points: shape [N, F, 3].
        visible: shape [F, N], 0 or 1.
    """
    way: Tensor = torch.linalg.vector_norm(points[:, 1:] - points[:, :-1], dim=-1)
    return way * _stays_visible(visible)


def moving_smoothness(points: Tensor, visible: Tensor) -> Tensor:
    """Mean way of points from frame to frame [m], over those that both frames see; a scalar.

    Args:
        points: shape [N, F, 3].
        visible: shape [F, N], 0 or 1.
    """
    return smoothness_of_points(points, visible).sum() / (_stays_visible(visible).sum() + _NONE_VISIBLE)


def rigidity_of_points(points: Tensor, visible: Tensor, neighbours: Tensor) -> Tensor:
    """Mean change of the distance to visible neighbours [m], zero where there are none, shape [N, F - 1].

    Args:
        points: shape [N, F, 3].
        visible: shape [F, N], 0 or 1.
        neighbours: indices of tracks, ``NO_NEIGHBOUR`` where there is none, shape [N, k].
    """
    change, together = _distance_changes(points, visible, neighbours)
    return (change * together).sum(dim=1) / together.sum(dim=1).clamp_min(1)


def rigidity_loss(points: Tensor, visible: Tensor, neighbours: Tensor) -> Tensor:
    """Mean change of the distance between neighbours from frame to frame [m]; a scalar.

    The mean is over all pairs of a track and a neighbour, and all pairs of frames, where both see both.

    Args:
        points: shape [N, F, 3].
        visible: shape [F, N], 0 or 1.
        neighbours: indices of tracks, ``NO_NEIGHBOUR`` where there is none, shape [N, k].
    """
    change, together = _distance_changes(points, visible, neighbours)
    return (change * together).sum() / (together.sum() + _NONE_VISIBLE)


def _distance_changes(points: Tensor, visible: Tensor, neighbours: Tensor) -> tuple[Tensor, Tensor]:
    """Changes of distance and whether they can be seen, each of shape [N, k, F - 1]."""
    there = neighbours.clamp_min(0)
    distance = torch.linalg.vector_norm(points[there] - points[:, None], dim=-1)
    stays = _stays_visible(visible)
    together = stays[there] * stays[:, None] * (neighbours != NO_NEIGHBOUR)[..., None]
    return (distance[..., 1:] - distance[..., :-1]).abs(), together


def _stays_visible(visible: Tensor) -> Tensor:
    """Whether a frame and the next see a point, shape [N, F - 1]."""
    return (visible[1:] * visible[:-1]).T


def _mean_of_visible(distance: Tensor, visible: Tensor) -> Tensor:
    weight = visible.to(distance.dtype)
    return (distance * weight).sum(dim=-1) / (weight.sum(dim=-1) + _NONE_VISIBLE)


def _angles(R: Tensor) -> Tensor:
    cosine = (R.diagonal(dim1=-2, dim2=-1).sum(dim=-1) - 1) / 2
    return torch.acos(cosine.clamp(-1 + COSINE_MARGIN, 1 - COSINE_MARGIN))
