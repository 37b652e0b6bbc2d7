"""Points of a clip as video models are shown them: -1 to 1, nothing unknown."""

import numpy as np
from numpy.typing import NDArray

from fourd_ros.data.robo4d_placement import Rectangle, extended
from fourd_ros.geometry.hole_filling import fill_holes
from fourd_ros.geometry.pointmap_range import Convention, PointmapRange, without_outliers

Floats = NDArray[np.float32]

NO_ROBOT = -1.0
"""Coordinates where there is no robot: black."""


def scene_coordinates(points: Floats, range: PointmapRange, *, convention: Convention, content: Rectangle) -> Floats:
    """Of the scene in one frame; holes are filled from what surrounds them.

    Args:
        points: [m], NaN where unknown, shape [H, W, 3].
        range: of this frame.
        convention: whether outliers are drawn in.
        content: where the frame shows the scene.

    Returns:
        Shape [H, W, 3], within -1..1.
    """
    top, left, height, width = content
    shown = points[None, top : top + height, left : left + width]
    drawn = without_outliers(shown) if convention is Convention.FOURDNEX else shown
    signed = np.clip(range.to_signed(drawn), -1, 1)
    filled = fill_holes(signed, ~np.isnan(signed[..., 2]))
    return np.asarray(extended(filled, content, points.shape[:2])[0], np.float32)


def robot_coordinates(points: Floats, range: PointmapRange) -> Floats:
    """Of the robot in one frame [m], NaN elsewhere, shape [H, W, 3]; the same shape, within -1..1."""
    signed = np.clip(range.to_signed(points), -1, 1)
    return np.where(np.isnan(signed), np.float32(NO_ROBOT), signed).astype(np.float32, copy=False)
