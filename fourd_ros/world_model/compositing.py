"""Painting layers into imagined frames, nearest surface first."""

import numpy as np

from fourd_ros.records import Mask, Pixels, Points, RobotRendering

UNSEEN_COLOUR = 128
"""Grey level of pixels that nothing is known about (mid-grey, as in the conditions of the diffusion models)."""

STATIC_LABEL = 1
HELD_LABEL = 16
"""Labels of the scene and of the object in the gripper (those of ``fourd_msgs/RolloutFrame``)."""


class Canvas:
    """The frames of one view while they are being painted.

    Args:
        rgb: colour, shape [T, H, W, 3], uint8.
        points: camera-frame pointmap [m], shape [T, H, W, 3], float32, NaN unknown.
        known: True where something seen was painted, shape [T, H, W].

    Attributes:
        robot: True where the robot was painted, shape [T, H, W].
        labels: what was painted, as in ``RolloutView.labels``, shape [T, H, W].
    """

    def __init__(self, *, rgb: Pixels, points: Points, known: Mask) -> None:
        self.rgb, self.points, self.known = rgb, points, known
        self.robot = np.zeros_like(known)
        self.labels = known.astype(np.uint32) * np.uint32(STATIC_LABEL)

    @classmethod
    def seen(cls, layer: RobotRendering) -> "Canvas":
        """The static scene as a moving camera sees it; the layer's arrays become the canvas's own."""
        layer.rgb[~layer.mask] = UNSEEN_COLOUR
        return cls(rgb=layer.rgb, points=layer.points, known=layer.mask)

    @classmethod
    def still(cls, steps: int, rgb: Pixels, points: Points, unknown: Mask) -> "Canvas":
        """`steps` times one image, shape [H, W, 3], with the pixels of `unknown` forgotten."""
        rgb, points = rgb.copy(), points.copy()
        rgb[unknown] = UNSEEN_COLOUR
        points[unknown] = np.nan
        return cls(
            rgb=np.repeat(rgb[None], steps, axis=0),
            points=np.repeat(points[None], steps, axis=0),
            known=np.repeat(~unknown[None], steps, axis=0),
        )

    def paint_scene(self, layer: RobotRendering, *, label: int) -> None:
        """Paint a layer of the scene where it is nearest.

        Args:
            layer: the same frames.
            label: what the layer belongs to.
        """
        pixels = self._paint(layer, tolerance=0.0)
        self.labels.reshape(-1)[pixels] = label

    def paint_robot(self, layer: RobotRendering, *, tolerance: float) -> None:
        """Paint the rendered robot over every frame, except where something stands before it.

        Args:
            layer: rendering of the same frames.
            tolerance: the scene must be nearer than the robot by more than this to hide it [m].
        """
        pixels = self._paint(layer, tolerance=tolerance)
        self.robot.reshape(-1)[pixels] = True

    def _paint(self, layer: RobotRendering, *, tolerance: float) -> np.ndarray[tuple[int], np.dtype[np.intp]]:
        """Paint where nothing nearer is known; returns the flat indices of the painted pixels."""
        pixels = np.flatnonzero(layer.mask)
        points = self.points.reshape(-1, 3)
        new = layer.points.reshape(-1, 3)[pixels]
        hidden = points[pixels, 2] < new[:, 2] - np.float32(tolerance)
        pixels, new = pixels[~hidden], new[~hidden]
        points[pixels] = new
        self.rgb.reshape(-1, 3)[pixels] = layer.rgb.reshape(-1, 3)[pixels]
        self.known.reshape(-1)[pixels] = True
        return pixels
