"""Nine numbers of a camera: position, rotation and field of view, ``absT_quaR_FoV`` of VGGT.

They tell where the world is in the camera's frame (x right, y down, z forward): translation, quaternion (x, y, z, w) of
any length, vertical and horizontal opening angle [rad]. The principal point is the middle of the image.
"""

import numpy as np
from numpy.typing import NDArray

from fourd_ros.geometry.transforms import from_quaternion, to_quaternion

ENCODING = 9
TRANSLATION, ROTATION, FIELD_OF_VIEW = slice(0, 3), slice(3, 7), slice(7, 9)

FloatArray = NDArray[np.float64]


def decode_poses(encodings: NDArray[np.floating]) -> FloatArray:
    """``T_camera_world`` of encodings [*, 9], shape [*, 4, 4]; NaN where a quaternion is zero."""
    with np.errstate(invalid="ignore"):
        return from_quaternion(encodings[..., TRANSLATION], encodings[..., ROTATION])


def decode_intrinsics(encodings: NDArray[np.floating], *, height: int, width: int) -> FloatArray:
    """Camera matrices of encodings [*, 9], shape [*, 3, 3] [px]; NaN where a field of view is zero.

    Args:
        encodings: shape [*, 9].
        height: of the image [px].
        width: of the image [px].
    """
    angles = np.asarray(encodings[..., FIELD_OF_VIEW], np.float64)
    half = np.array([height, width]) / 2
    focal = half / np.tan(np.where(angles > 0, angles, np.nan) / 2)
    matrices = np.zeros((*angles.shape[:-1], 3, 3))
    matrices[..., 0, 0], matrices[..., 1, 1] = focal[..., 1], focal[..., 0]
    matrices[..., 0, 2], matrices[..., 1, 2], matrices[..., 2, 2] = half[1], half[0], 1
    return matrices


def encode_poses(T_camera_world: FloatArray, intrinsics: FloatArray, *, height: int, width: int) -> FloatArray:
    """Encodings of cameras, shape [*, 9].

    Args:
        T_camera_world: shape [*, 4, 4].
        intrinsics: camera matrices, shape [*, 3, 3]; their principal points are not told.
        height: of the image [px].
        width: of the image [px].
    """
    translation, quaternion = to_quaternion(T_camera_world)
    sides = np.array([height, width]) / 2
    angles = 2 * np.arctan(sides / np.stack([intrinsics[..., 1, 1], intrinsics[..., 0, 0]], axis=-1))
    return np.concatenate([translation, quaternion, angles], axis=-1)
