"""Rotation vectors and rotation matrices, for NumPy and torch alike."""

from typing import Any

from fourd_ros.reconstruction.bundle.arrays import Array

SMALL = 1e-8
"""Below this squared angle the series are exact to rounding."""


def skew(vectors: Array, xp: Any) -> Array:
    """Matrices of the cross product with `vectors` [*, 3], shape [*, 3, 3]."""
    x, y, z = vectors[..., 0], vectors[..., 1], vectors[..., 2]
    zero = xp.zeros_like(x)
    rows = [[zero, -z, y], [z, zero, -x], [-y, x, zero]]
    return xp.stack([xp.stack(row, -1) for row in rows], -2)


def rotation_of(vectors: Array, xp: Any) -> Array:
    """Rotation matrices of rotation vectors [*, 3] in radians, shape [*, 3, 3] (Rodrigues)."""
    squared = (vectors * vectors).sum(-1)[..., None, None]
    small = squared < SMALL
    angle = xp.sqrt(xp.where(small, xp.ones_like(squared), squared))
    first = xp.where(small, 1 - squared / 6, xp.sin(angle) / angle)
    second = xp.where(small, 0.5 - squared / 24, (1 - xp.cos(angle)) / (angle * angle))
    cross = skew(vectors, xp)
    return _identity_like(cross, xp) + first * cross + second * (cross @ cross)


def vector_of(rotations: Array, xp: Any) -> Array:
    """Rotation vectors [*, 3] in radians of rotation matrices [*, 3, 3] by less than half a turn."""
    twice_sine = xp.stack(
        [
            rotations[..., 2, 1] - rotations[..., 1, 2],
            rotations[..., 0, 2] - rotations[..., 2, 0],
            rotations[..., 1, 0] - rotations[..., 0, 1],
        ],
        -1,
    )
    sine = xp.sqrt((twice_sine * twice_sine).sum(-1)) / 2
    cosine = (rotations[..., 0, 0] + rotations[..., 1, 1] + rotations[..., 2, 2] - 1) / 2
    angle = xp.arctan2(sine, cosine)
    small = sine < SMALL
    factor = xp.where(small, xp.ones_like(sine), angle / xp.where(small, xp.ones_like(sine), sine))
    return twice_sine * (factor / 2)[..., None]


def _identity_like(matrices: Array, xp: Any) -> Array:
    identity = xp.zeros_like(matrices)
    for axis in range(3):
        identity[..., axis, axis] = 1.0
    return identity
