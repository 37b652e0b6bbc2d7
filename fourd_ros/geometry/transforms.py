"""Rigid transforms as [4, 4] matrices; ``T_parent_child`` maps points of child into parent."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

FloatArray = NDArray[np.float64]


def invert(T: FloatArray) -> FloatArray:
    """Inverse of rigid transforms, shape [*, 4, 4]."""
    inverse = np.zeros_like(T)
    rotation = np.swapaxes(T[..., :3, :3], -1, -2)
    inverse[..., :3, :3] = rotation
    inverse[..., :3, 3] = -np.einsum("...ij,...j->...i", rotation, T[..., :3, 3])
    inverse[..., 3, 3] = 1.0
    return inverse


def compose(*transforms: FloatArray) -> FloatArray:
    """Product of transforms, shape [*, 4, 4]: ``compose(T_a_b, T_b_c)`` is ``T_a_c``."""
    product = transforms[0]
    for T in transforms[1:]:
        product = product @ T
    return product


def apply(T: FloatArray, points: NDArray[np.floating]) -> NDArray[np.floating]:
    """Points mapped by one transform, in the precision of the points.

    Args:
        T: shape [4, 4].
        points: [m], shape [*, 3].
    """
    rotation, translation = T[:3, :3].astype(points.dtype), T[:3, 3].astype(points.dtype)
    return points @ rotation.T + translation


def from_rotation(rotation: FloatArray, translation: ArrayLike = (0.0, 0.0, 0.0)) -> FloatArray:
    """Transforms of rotations, shape [*, 3, 3], and translations [m], shape [*, 3]."""
    T = np.zeros((*rotation.shape[:-2], 4, 4))
    T[..., :3, :3] = rotation
    T[..., :3, 3] = translation
    T[..., 3, 3] = 1.0
    return T


def from_rpy(xyz: ArrayLike, rpy: ArrayLike) -> FloatArray:
    """Transform of a URDF origin: translation [m], roll-pitch-yaw about fixed axes [rad]."""
    roll, pitch, yaw = np.asarray(rpy, np.float64)
    cr, sr, cp, sp, cy, sy = np.cos(roll), np.sin(roll), np.cos(pitch), np.sin(pitch), np.cos(yaw), np.sin(yaw)
    rotation = np.array(
        [
            [cy * cp, cy * sp * sr - sy * cr, cy * sp * cr + sy * sr],
            [sy * cp, sy * sp * sr + cy * cr, sy * sp * cr - cy * sr],
            [-sp, cp * sr, cp * cr],
        ]
    )
    return from_rotation(rotation, xyz)


def from_axis_angle(axis: FloatArray, angle: FloatArray) -> FloatArray:
    """Rotations [*, 4, 4] about one unit axis, shape [3], by angles [rad], shape [*] (Rodrigues' formula)."""
    x, y, z = axis
    K = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
    angle = np.asarray(angle, np.float64)[..., None, None]
    return from_rotation(np.eye(3) + np.sin(angle) * K + (1.0 - np.cos(angle)) * (K @ K))


def from_quaternion(xyz: ArrayLike, xyzw: ArrayLike) -> FloatArray:
    """Transform of a translation [m] and a quaternion (x, y, z, w), normalised here."""
    q = np.asarray(xyzw, np.float64)
    x, y, z, w = q / np.linalg.norm(q)
    rotation = np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )
    return from_rotation(rotation, xyz)


def to_quaternion(T: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Translation [m], shape [3], and quaternion (x, y, z, w) with w >= 0, shape [4], of a transform [4, 4].

    The largest component is found first, so that nothing small is divided by (Shepperd's method).
    """
    R = T[:3, :3]
    trace = np.trace(R)
    squares = np.array([R[0, 0] * 2 - trace, R[1, 1] * 2 - trace, R[2, 2] * 2 - trace, trace]) + 1.0
    largest = int(np.argmax(squares))
    q = np.empty(4)
    if largest == 3:
        q[:] = R[2, 1] - R[1, 2], R[0, 2] - R[2, 0], R[1, 0] - R[0, 1], squares[3]
    else:
        i, j, k = largest, (largest + 1) % 3, (largest + 2) % 3
        q[i], q[j], q[k] = squares[i], R[j, i] + R[i, j], R[k, i] + R[i, k]
        q[3] = R[k, j] - R[j, k]
    q /= np.linalg.norm(q)
    return T[:3, 3].copy(), q if q[3] >= 0 else -q


def interpolate(T0: FloatArray, T1: FloatArray, u: float) -> FloatArray:
    """The transform a fraction `u` of the way from `T0` to `T1`: straight in position, constant turn rate."""
    (p0, q0), (p1, q1) = to_quaternion(T0), to_quaternion(T1)
    cosine = float(q0 @ q1)
    if cosine < 0.0:
        q1, cosine = -q1, -cosine
    angle = np.arccos(min(cosine, 1.0))
    if angle < 1e-6:
        q = (1 - u) * q0 + u * q1
    else:
        q = (np.sin((1 - u) * angle) * q0 + np.sin(u * angle) * q1) / np.sin(angle)
    return from_quaternion((1 - u) * p0 + u * p1, q)


def look_at(eye: ArrayLike, target: ArrayLike, up: ArrayLike = (0.0, 0.0, 1.0)) -> FloatArray:
    """Pose of a camera at `eye` that looks at `target` [m], with optical axes (x right, y down, z forward)."""
    eye, target, up = (np.asarray(value, np.float64) for value in (eye, target, up))
    forward = (target - eye) / np.linalg.norm(target - eye)
    right = np.cross(forward, up)
    right /= np.linalg.norm(right)
    return from_rotation(np.stack([right, np.cross(forward, right), forward], axis=1), eye)
