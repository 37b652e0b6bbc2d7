"""Painting points and the rendered robot into imagined frames, nearest surface first."""

import numpy as np
from numpy.typing import NDArray

from fourd_ros.geometry.camera import PinholeCamera
from fourd_ros.geometry.transforms import apply
from fourd_ros.records import FloatArray, Mask, Pixels, Points, RobotRendering

UNSEEN_COLOUR = 128
"""Grey level of pixels that nothing is known about (mid-grey, as in the conditions of the diffusion models)."""

STATIC_LABEL = 1
HELD_LABEL = 16
"""Labels of the scene and of the object in the gripper (those of ``fourd_msgs/RolloutFrame``)."""

NEAR = 0.01
"""Points nearer to the camera than this are not drawn [m]."""

MAX_HALF_FOOTPRINT = 3
"""A point covers at most (2 n + 1) pixels each way, however near it comes."""


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
    def empty(cls, steps: int, camera: PinholeCamera) -> "Canvas":
        """Frames of which nothing is known yet."""
        size = (steps, camera.height, camera.width)
        return cls(
            rgb=np.full((*size, 3), UNSEEN_COLOUR, np.uint8),
            points=np.full((*size, 3), np.nan, np.float32),
            known=np.zeros(size, bool),
        )

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

    def paint_points(self, step: int, points: Points, colours: Pixels, spacing: Points, camera: PinholeCamera) -> None:
        """Paint loose points into one frame, each as large as the gap to its neighbours (z-buffered).

        Args:
            step: index of the frame.
            points: camera-frame points [m], shape [N, 3].
            colours: shape [N, 3], uint8.
            spacing: distance to the neighbouring points [m], shape [N].
            camera: the camera of this view.
            label: what the points belong to.
        """
        kept = points[:, 2] > NEAR
        points, colours, spacing = points[kept], colours[kept], spacing[kept]
        far_to_near = np.argsort(-points[:, 2], kind="stable")
        points, colours, spacing = points[far_to_near], colours[far_to_near], spacing[far_to_near]
        pixels = np.rint(camera.project(points)).astype(np.int64)
        cover = camera.K[0, 0] * spacing / points[:, 2]
        half = np.clip(np.ceil((cover - 1.2) / 2), 0, MAX_HALF_FOOTPRINT)
        # The widest rings first, so that a point's own pixel is never lost to a neighbour's rim at equal depth.
        for radius in range(int(half.max(initial=0)), -1, -1):
            chosen = half >= radius
            for dx, dy in _ring(radius):
                self._put(step, pixels[chosen] + (dx, dy), points[chosen], colours[chosen], label)

    def _put(self, step: int, pixels: NDArray[np.int64], points: Points, colours: Pixels, label: int) -> None:
        height, width = self.known.shape[1:]
        u, v = pixels[:, 0], pixels[:, 1]
        inside = (u >= 0) & (v >= 0) & (u < width) & (v < height)
        index = v[inside] * width + u[inside]
        frame = self.points[step].reshape(-1, 3)
        nearer = ~(frame[index, 2] < points[inside, 2])
        index = index[nearer]
        frame[index] = points[inside][nearer]
        self.rgb[step].reshape(-1, 3)[index] = colours[inside][nearer]
        self.known[step].reshape(-1)[index] = True
        self.labels[step].reshape(-1)[index] = label

    def paint_robot(self, robot: RobotRendering, *, tolerance: float) -> None:
        """Paint the rendered robot over every frame, except where something stands before it.

        Args:
            robot: rendering of the same frames.
            tolerance: the scene must be nearer than the robot by more than this to hide it [m].
        """
        hidden = self.points[..., 2] < robot.points[..., 2] - np.float32(tolerance)
        self.robot = robot.mask & ~hidden
        self.rgb[self.robot] = robot.rgb[self.robot]
        self.points[self.robot] = robot.points[self.robot]
        self.known |= self.robot


def _ring(radius: int) -> list[tuple[int, int]]:
    span = range(-radius, radius + 1)
    return [(dx, dy) for dy in span for dx in span if max(abs(dx), abs(dy)) == radius]


def pixel_spacing(points: Points, camera: PinholeCamera) -> Points:
    """Distance between the points of neighbouring pixels of a fronto-parallel surface [m], shape [*]."""
    return (points[..., 2] / np.float32(camera.K[0, 0])).astype(np.float32)


def move(T: FloatArray, points: Points) -> Points:
    """`points` [m], shape [N, 3], mapped by `T`, in float32."""
    return apply(T, points).astype(np.float32)
