"""Pointmaps: camera-frame points on the pixel grid, NaN where unknown."""

import numpy as np
from numpy.typing import NDArray

from fourd_ros.errors import InvalidImage
from fourd_ros.geometry.camera import PinholeCamera


def points_from_depth(depth: NDArray[np.floating], camera: PinholeCamera) -> NDArray[np.float32]:
    """Lift depth images to camera-frame points.

    Args:
        depth: distance along the optical axis [m], shape [*, H, W]; zero, negative, NaN and infinite are unknown.
        camera: calibration of the images.

    Returns:
        Points [m], shape [*, H, W, 3], float32, NaN where unknown.

    Raises:
        InvalidImage: the images are not of the camera's size.
    """
    if depth.shape[-2:] != (camera.height, camera.width):
        raise InvalidImage(
            f"depth image of {depth.shape[-1]} x {depth.shape[-2]} pixels with a calibration of "
            f"{camera.width} x {camera.height}; resize one, or use camera.scaled()"
        )
    known = (depth > 0) & (depth < np.inf)
    z = np.where(known, depth, np.nan).astype(np.float32, copy=False)
    return np.asarray(camera.rays() * z[..., None])


def depth_of(points: NDArray[np.float32]) -> NDArray[np.float32]:
    """The depth image of a pointmap [m], shape [*, H, W]; a view, not a copy."""
    return points[..., 2]
