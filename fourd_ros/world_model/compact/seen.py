"""Views in the frame of the robot's root, and the level surfaces that they show."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fourd_ros.geometry.transforms import apply, invert
from fourd_ros.records import FloatArray, Mask, Points, View
from fourd_ros.world_model.scene import Scene
from fourd_ros.world_model.supports import Support, find_supports

SAMPLES = 3000
"""Points of a view that supports are looked for in."""


@dataclass(frozen=True)
class Seen:
    """One view, in the frame of the robot's root.

    Args:
        view: what was seen.
        T_robot_camera: shape [4, 4].
        robot: pixels of the robot, shape [H, W].
        free: pixels of neither the robot nor what it holds, at depths within its reach, shape [H, W].
        held: pixels of what it holds, shape [H, W].
    """

    view: View
    T_robot_camera: FloatArray
    robot: Mask
    free: Mask
    held: Mask

    @classmethod
    def of(cls, scene: Scene, name: str, reach: float) -> "Seen":
        view, robot, held = scene.observation.views[name], scene.robot[name], scene.held[name]
        T_robot_camera = invert(scene.observation.T_world_robot) @ view.T_world_camera
        root = np.float32(invert(T_robot_camera)[2, 3])
        near = np.abs(view.points[..., 2] - root) < reach
        return cls(view, T_robot_camera, robot, near & ~robot & ~held, held)

    @property
    def depth(self) -> NDArray[np.float32]:
        """Of every pixel, row by row [m], shape [H * W]."""
        return np.asarray(self.view.points.reshape(-1, 3)[:, 2])

    @property
    def pixel_size(self) -> float:
        """Distance between neighbouring pixels at a depth of 1 m [m]."""
        return 1 / float(self.view.camera.K[0, 0])

    def in_robot(self, chosen: NDArray[np.intp]) -> Points:
        """Chosen pixels (flat indices) as points, shape [N, 3]."""
        return np.asarray(apply(self.T_robot_camera, self.view.points.reshape(-1, 3)[chosen]))

    def heights(self, support: Support) -> NDArray[np.float32]:
        """Of all pixels over a support [m], shape [H, W]."""
        normal = np.array([*-support.slope, 1.0])
        direction = normal @ self.T_robot_camera[:3, :3]
        offset = normal @ self.T_robot_camera[:3, 3] - support.height
        return np.asarray(self.view.points @ direction.astype(np.float32) + np.float32(offset))


def supports_of(seen: Sequence[Seen], reach: float) -> tuple[Support, ...]:
    """Supports within reach, from an even sample of every view."""
    points, areas = [], []
    for view in seen:
        chosen = np.flatnonzero(view.free)
        chosen = chosen[:: max(1, len(chosen) // SAMPLES)]
        here = view.in_robot(chosen)
        inside = within(here, reach)
        here, chosen = here[inside], chosen[inside]
        depth = view.view.points.reshape(-1, 3)[chosen, 2]
        drop = np.abs(here[:, 2] - view.T_robot_camera[2, 3])
        points.append(here)
        areas.append(depth**3 / np.maximum(drop, 0.05) * view.pixel_size**2)
    return find_supports(np.concatenate(points), np.concatenate(areas))


def within(points: Points, reach: float) -> Mask:
    """Points [N, 3] nearer to the robot's root than this [m], shape [N]."""
    return np.asarray((points * points).sum(axis=1) < reach * reach)
