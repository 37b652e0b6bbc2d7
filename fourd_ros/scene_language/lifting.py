"""From depth and poses to points of the world, and the frame in which the original shows them."""

import numpy as np
from numpy.typing import NDArray

from fourd_ros.geometry.transforms import invert

FloatArray = NDArray[np.float64]

LEAST_PERCENTILE, LEAST_CONFIDENCE = 3.0, 1e-5

_SHOWN = np.diag([-1.0, -1.0, 1.0, 1.0])
"""Axes of OpenGL, turned by half a turn about y: ``diag(1, -1, -1, 1) @ RotY(180 deg)``."""


def lift(depth: NDArray[np.floating], *, intrinsics: FloatArray, T_camera_world: FloatArray) -> FloatArray:
    """Points of the world behind every pixel, shape [*, H, W, 3]; pixel centres are at integers.

    Args:
        depth: along the optical axis, shape [*, H, W].
        intrinsics: camera matrices, shape [*, 3, 3] [px].
        T_camera_world: shape [*, 4, 4].
    """
    height, width = depth.shape[-2:]
    focal_x, focal_y, middle_x, middle_y = (
        intrinsics[..., row, column, None, None] for row, column in ((0, 0), (1, 1), (0, 2), (1, 2))
    )
    x, y = np.meshgrid(np.arange(width), np.arange(height))
    local = np.stack([(x - middle_x) * depth / focal_x, (y - middle_y) * depth / focal_y, depth], axis=-1)
    T_world_camera = invert(T_camera_world)
    turned = local @ np.swapaxes(T_world_camera[..., None, :3, :3], -1, -2)
    points: FloatArray = turned + T_world_camera[..., None, None, :3, 3]
    return points


def sure_pixels(confidence: NDArray[np.floating]) -> NDArray[np.bool_]:
    """Pixels that the original exports: all but the least sure 3 of 100 of a frame, shape [H, W]."""
    least = np.percentile(confidence, LEAST_PERCENTILE)
    kept: NDArray[np.bool_] = (confidence >= least) & (confidence > LEAST_CONFIDENCE)
    return kept


def shown_from(T_camera_world: FloatArray) -> FloatArray:
    """The transform [4, 4] of a scene that the original gives to viewers, from the pose of the first camera."""
    shown: FloatArray = invert(T_camera_world) @ _SHOWN
    return shown
