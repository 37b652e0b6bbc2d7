"""Painting layers into imagined frames, nearest surface first."""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from fourd_ros.geometry.camera import PinholeCamera
from fourd_ros.records import FloatArray, Mask, Pixels, Points, RobotRendering
from fourd_ros.world_model.observed_surface import Glimpse

Indices = NDArray[np.intp]

UNSEEN_COLOUR = 128
"""Grey level of pixels that nothing is known about (mid-grey, as in the conditions of the diffusion models)."""

UNKNOWN_LABEL = 0
STATIC_LABEL = 1
HELD_LABEL = 16
"""Labels of what is not known, of the scene and of the object in the gripper (those of ``fourd_msgs/RolloutFrame``)."""


class Canvas:
    """The frames of one view while they are being painted.

    Args:
        rgb: colour, shape [T, H, W, 3], uint8.
        points: camera-frame pointmap [m], shape [T, H, W, 3], float32, NaN unknown.
        known: True where something seen was painted, shape [T, H, W].

    Attributes:
        robot: True where the robot was painted, shape [T, H, W].
        labels: what was painted, as in ``RolloutView.labels``, shape [T, H, W].
        sigma: standard deviation of the points [m], shape [T, H, W].
    """

    def __init__(self, *, rgb: Pixels, points: Points, known: Mask) -> None:
        self.rgb, self.points, self.known = rgb, points, known
        self.robot = np.zeros_like(known)
        self.labels = known.astype(np.uint32) * np.uint32(STATIC_LABEL)
        self.sigma = points[..., 2] * np.float32(0)

    @classmethod
    def empty(cls, steps: int, camera: PinholeCamera) -> "Canvas":
        """Frames of which nothing is known."""
        size = (steps, camera.height, camera.width)
        return cls(
            rgb=np.full((*size, 3), UNSEEN_COLOUR, np.uint8),
            points=np.full((*size, 3), np.nan, np.float32),
            known=np.zeros(size, bool),
        )

    @classmethod
    def still(cls, steps: int, rgb: Pixels, points: Points) -> "Canvas":
        """`steps` times one image, shape [H, W, 3]."""
        return cls(
            rgb=np.repeat(rgb[None], steps, axis=0),
            points=np.repeat(points[None], steps, axis=0),
            known=np.ones((steps, *rgb.shape[:2]), bool),
        )

    def forget(self, pixels: Mask, *, steps: Mask) -> None:
        """Nothing is known of `pixels` [H, W] any more in the frames `steps` [T]."""
        chosen = _in_frames(pixels, steps)
        self.rgb[chosen] = UNSEEN_COLOUR
        self.points[chosen] = self.sigma[chosen] = np.nan
        self.known[chosen] = False
        self.labels[chosen] = UNKNOWN_LABEL

    def name(self, pixels: Mask, *, steps: Mask, label: int, sigma: FloatArray) -> None:
        """Say what `pixels` [H, W] belong to in the frames `steps` [T], and how uncertain they are [m], shape [T]."""
        chosen = _in_frames(pixels, steps)
        self.labels[chosen] = label
        self.sigma[chosen] = sigma[steps, None]

    def paint_scene(self, glimpses: Iterable[Glimpse], *, label: int, sigma: FloatArray) -> None:
        """Paint a surface of the scene where it is nearest.

        Args:
            glimpses: of the surface, in these frames.
            label: what it belongs to.
            sigma: standard deviation of its place [m], shape [T].
        """
        for seen in glimpses:
            place = (seen.step, *seen.window)
            nearest = ~(self.points[place][seen.mask][:, 2] < seen.points[:, 2])
            chosen = seen.mask.copy()
            chosen[seen.mask] = nearest
            self.points[place][chosen] = seen.points[nearest]
            self.rgb[place][chosen] = seen.rgb[nearest]
            self.known[place][chosen] = True
            self.labels[place][chosen] = label
            self.sigma[place][chosen] = sigma[seen.step]

    def paint_robot(self, layer: RobotRendering, *, tolerance: float) -> None:
        """Paint the rendered robot over every frame, except where something stands before it.

        Args:
            layer: rendering of the same frames.
            tolerance: the scene must be nearer than the robot by more than this to hide it [m].
        """
        pixels = np.flatnonzero(layer.mask)
        points = self.points.reshape(-1, 3)
        new = layer.points.reshape(-1, 3)[pixels]
        hidden = points[pixels, 2] < new[:, 2] - np.float32(tolerance)
        pixels, new = pixels[~hidden], new[~hidden]
        points[pixels] = new
        self.rgb.reshape(-1, 3)[pixels] = layer.rgb.reshape(-1, 3)[pixels]
        self.known.reshape(-1)[pixels] = True
        self.sigma.reshape(-1)[pixels] = 0
        self.robot.reshape(-1)[pixels] = True


def _in_frames(pixels: Mask, steps: Mask) -> tuple[Indices, Indices, Indices]:
    """Indices of `pixels` [H, W] in the frames `steps` [T]."""
    rows, columns = np.nonzero(pixels)
    return np.flatnonzero(steps)[:, None], rows, columns
