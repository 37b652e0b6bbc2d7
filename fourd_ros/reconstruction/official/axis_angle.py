"""Rotations as axis-angle vectors, the way DynamicVerse holds the poses of its cameras."""

import torch
from torch import Tensor

__all__ = ["ANGLE_FLOOR", "START_CENTRE", "START_COMPONENT", "rotation_matrices", "starting_poses"]

ANGLE_FLOOR = 0.01
"""Smaller angles [rad] count as this one, so the matrix of a very small rotation is not quite orthonormal."""

START_COMPONENT, START_CENTRE = 1e-3, 1e-4
"""Every component of the axis-angle vector [rad] and of the centre [m] of a camera nobody knows anything about."""


def rotation_matrices(vectors: Tensor) -> Tensor:
    """Exponential map, ``I + sin(a)/a [w]x + (1 - cos a)/a^2 [w]x^2`` with a floor for the angle `a`.

    Differentiable everywhere; below the floor the angle counts as a constant. Source: Rodrigues; the floor is that of
    PyTorch3D's ``so3_exp_map``.

    Args:
        vectors: axis times angle [rad], shape [*, 3].

    Returns:
        Shape [*, 3, 3], of the same dtype.
    """
    angle = (vectors * vectors).sum(dim=-1).clamp_min(ANGLE_FLOOR**2).sqrt()[..., None, None]
    cross = _cross_matrices(vectors)
    identity = torch.eye(3, dtype=vectors.dtype, device=vectors.device)
    return identity + (angle.sin() / angle) * cross + ((1 - angle.cos()) / angle**2) * (cross @ cross)


def starting_poses(frames: int) -> tuple[Tensor, Tensor]:
    """Axis-angle vectors [rad] and centres [m] of cameras before anything is known, each of shape [F, 3], float32."""
    return torch.full((frames, 3), START_COMPONENT), torch.full((frames, 3), START_CENTRE)


def _cross_matrices(vectors: Tensor) -> Tensor:
    x, y, z = vectors.unbind(dim=-1)
    none = torch.zeros_like(x)
    rows = [none, -z, y, z, none, -x, -y, x, none]
    return torch.stack(rows, dim=-1).reshape(*vectors.shape, 3)
