"""Pointmaps: one camera-frame point a pixel, NaN where unknown."""

import numpy as np
from numpy.typing import NDArray

from fourd_ros.errors import InvalidImage
from fourd_ros.geometry.camera import PinholeCamera


def points_from_depth(depth: NDArray[np.float32], camera: PinholeCamera) -> NDArray[np.float32]:
    """Camera-frame points of a depth image, shape [H, W, 3].

    Args:
        depth: distance along the optical axis [m], NaN where unknown, shape [H, W].
        camera: its calibration.

    Raises:
        InvalidImage: image and calibration have different sizes.
    """
    if depth.shape != (camera.height, camera.width):
        raise InvalidImage(
            f"depth image is {depth.shape[1]} x {depth.shape[0]}, its camera_info says {camera.width} x {camera.height}"
        )
    return camera.rays() * depth[..., None]


def depth_of(points: NDArray[np.float32]) -> NDArray[np.float32]:
    """Depth image [m], shape [*, H, W], of camera-frame pointmaps, shape [*, H, W, 3]."""
    return points[..., 2]
