"""Rigid transforms as 4 x 4 matrices: ``T_parent_child`` maps points of ``child`` into ``parent``.

Every function takes leading batch dimensions ``*``. Quaternions are (x, y, z, w), as in ROS messages.
"""

from functools import reduce

import numpy as np
from numpy.typing import ArrayLike, NDArray

FloatArray = NDArray[np.float64]


def from_parts(rotation: ArrayLike, translation: ArrayLike) -> FloatArray:
    """Transform of a rotation matrix [*, 3, 3] followed by a translation [*, 3], shape [*, 4, 4]."""
    rotation, translation = np.asarray(rotation, np.float64), np.asarray(translation, np.float64)
    T = np.zeros((*np.broadcast_shapes(rotation.shape[:-2], translation.shape[:-1]), 4, 4))
    T[..., :3, :3] = rotation
    T[..., :3, 3] = translation
    T[..., 3, 3] = 1
    return T


def invert(T: FloatArray) -> FloatArray:
    """``T_child_parent`` from ``T_parent_child``, shape [*, 4, 4]; exact for rigid transforms only."""
    rotation = np.swapaxes(T[..., :3, :3], -1, -2)
    return from_parts(rotation, -(rotation @ T[..., :3, 3:])[..., 0])


def compose(*transforms: FloatArray) -> FloatArray:
    """``T_a_c`` from ``T_a_b``, ``T_b_c`` and so on, shape [*, 4, 4]."""
    return reduce(np.matmul, transforms)


def apply(T: FloatArray, points: NDArray[np.floating]) -> NDArray[np.floating]:
    """Points of the child frame expressed in the parent frame.

    Args:
        T: shape [4, 4], or [*, 4, 4] with `points` of shape [*, N, 3].
        points: shape [*, 3].

    Returns:
        The moved points, of the dtype of `points`.
    """
    T = T.astype(points.dtype, copy=False)
    translation = T[:3, 3] if T.ndim == 2 else T[..., None, :3, 3]
    moved: NDArray[np.floating] = points @ np.swapaxes(T[..., :3, :3], -1, -2) + translation
    return moved


def rotation_from_quaternion(xyzw: ArrayLike) -> FloatArray:
    """Rotation matrix of a quaternion of any length but zero, shape [*, 3, 3]."""
    quaternion = np.asarray(xyzw, np.float64)
    x, y, z, w = np.moveaxis(quaternion / np.linalg.norm(quaternion, axis=-1, keepdims=True), -1, 0)
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
        [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
        [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
    ]
    return np.stack([np.stack(row, axis=-1) for row in rows], axis=-2)


def from_quaternion(xyz: ArrayLike, xyzw: ArrayLike) -> FloatArray:
    """Transform from a position [*, 3] and a quaternion [*, 4] (normalised here), shape [*, 4, 4]."""
    return from_parts(rotation_from_quaternion(xyzw), xyz)


def to_quaternion(T: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Position [*, 3] and unit quaternion [*, 4] with w >= 0.

    The quaternion is the column of largest norm of the symmetric matrix q q^T, built from the rotation
    without a square root of a small number (Shepperd 1978).
    """
    R = T[..., :3, :3]
    trace = np.trace(R, axis1=-2, axis2=-1)
    outer = np.empty((*T.shape[:-2], 4, 4))  # 4 q q^T, q = (x, y, z, w)
    outer[..., :3, :3] = R + np.swapaxes(R, -1, -2)
    for axis in range(3):
        outer[..., axis, axis] = 1 + 2 * R[..., axis, axis] - trace
    outer[..., 3, 3] = 1 + trace
    vector = np.stack([R[..., 2, 1] - R[..., 1, 2], R[..., 0, 2] - R[..., 2, 0], R[..., 1, 0] - R[..., 0, 1]], axis=-1)
    outer[..., 3, :3] = outer[..., :3, 3] = vector
    largest = np.argmax(np.diagonal(outer, axis1=-2, axis2=-1), axis=-1)
    quaternion = np.take_along_axis(outer, largest[..., None, None], axis=-2)[..., 0, :]
    quaternion = quaternion / np.linalg.norm(quaternion, axis=-1, keepdims=True)
    return T[..., :3, 3].copy(), np.where(quaternion[..., 3:] < 0, -quaternion, quaternion)


def interpolate(T0: FloatArray, T1: FloatArray, u: ArrayLike) -> FloatArray:
    """The pose a share `u` of the way from `T0` to `T1`: positions linearly, rotations along the shorter arc.

    Args:
        T0: shape [*, 4, 4].
        T1: shape [*, 4, 4].
        u: 0 at `T0`, 1 at `T1`, shape [*].
    """
    share = np.asarray(u, np.float64)[..., None]
    (p0, q0), (p1, q1) = to_quaternion(T0), to_quaternion(T1)
    cosine = np.sum(q0 * q1, axis=-1, keepdims=True)
    q1 = np.where(cosine < 0, -q1, q1)
    angle = np.arccos(np.clip(np.abs(cosine), 0, 1))
    near = angle < 1e-6  # there the arc is its chord
    sine = np.where(near, 1, np.sin(angle))
    w0 = np.where(near, 1 - share, np.sin((1 - share) * angle) / sine)
    w1 = np.where(near, share, np.sin(share * angle) / sine)
    return from_quaternion((1 - share) * p0 + share * p1, w0 * q0 + w1 * q1)


def rotation_about(axis: ArrayLike, angle: ArrayLike) -> FloatArray:
    """Rotation by `angle` [rad], shape [*], about the unit vector `axis` [3], shape [*, 3, 3] (Rodrigues)."""
    x, y, z = np.asarray(axis, np.float64)
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    angle = np.asarray(angle, np.float64)[..., None, None]
    rotation: FloatArray = np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * (cross @ cross)
    return rotation


def from_rpy(xyz: ArrayLike, rpy: ArrayLike) -> FloatArray:
    """Transform of a URDF origin: rolled, pitched and yawed about the fixed axes, then moved, shape [4, 4]."""
    roll, pitch, yaw = np.asarray(rpy, np.float64)
    rotation = rotation_about((0, 0, 1), yaw) @ rotation_about((0, 1, 0), pitch) @ rotation_about((1, 0, 0), roll)
    return from_parts(rotation, xyz)


def look_at(eye: ArrayLike, target: ArrayLike, up: ArrayLike = (0, 0, 1)) -> FloatArray:
    """Pose of a camera at `eye` that looks at `target`, in optical axes (x right, y down, z forward), shape [4, 4].

    Args:
        eye: position [m], shape [3].
        target: point in the image centre [m], shape [3], not `eye`.
        up: direction that appears upwards, shape [3], not along the line of sight.
    """
    eye = np.asarray(eye, np.float64)
    forward = np.asarray(target, np.float64) - eye
    forward = forward / np.linalg.norm(forward)
    right = np.cross(forward, np.asarray(up, np.float64))
    right = right / np.linalg.norm(right)
    return from_parts(np.stack([right, np.cross(forward, right), forward], axis=-1), eye)
