"""An observation taken apart: the robot, what it holds, and the rest."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from fourd_ros.geometry.transforms import apply, invert
from fourd_ros.records import FloatArray, Mask, Observation, Points
from fourd_ros.robot.model import RobotModel
from fourd_ros.robot.segmentation import robot_pixels
from fourd_ros.world_model.grasp import find_held_points
from fourd_ros.world_model.observed_surface import ObservedSurface

ROBOT_MARGIN = 0.02
"""Observed depth this near to the rendered robot is the robot [m]."""

ROBOT_FRINGE = 1
"""Uncertainty of the rendered silhouette [px]; wider, and small things between the fingers are taken for fingers."""

STATIC_STRIDE = 2
"""Every so many pixels of the static scene are squares of its surface; colours stay as fine as the images."""


@dataclass(frozen=True)
class Scene:
    """Every observed pixel belongs to the robot, to what it holds, or to the static rest.

    Args:
        observation: what was seen.
        link_poses: ``T_root_link`` at that moment, shape [4, 4] each.
        robot: the robot's pixels by view, shape [H, W].
        held: pixels of the held object by view, shape [H, W].
    """

    observation: Observation
    link_poses: Mapping[str, FloatArray]
    robot: Mapping[str, Mask]
    held: Mapping[str, Mask]
    _surfaces: dict[tuple[bytes, ...], ObservedSurface] = field(default_factory=dict, init=False)

    @property
    def holds_something(self) -> bool:
        """Whether the gripper holds an object."""
        return any(mask.any() for mask in self.held.values())

    def surface_without(self, moved: Sequence[Mapping[str, Mask]]) -> ObservedSurface:
        """All that is neither the robot nor in `moved` (pixels by view), in the world; made once."""
        key = tuple(mask.tobytes() for pixels in moved for mask in pixels.values())
        if key not in self._surfaces:
            views = self.observation.views
            gone = {
                name: np.logical_or.reduce([self.robot[name], *(pixels[name] for pixels in moved)]) for name in views
            }
            self._surfaces[key] = ObservedSurface(
                ((view, ~gone[name]) for name, view in views.items()), stride=STATIC_STRIDE
            )
        return self._surfaces[key]

    def surface_of(self, pixels: Mapping[str, Mask]) -> ObservedSurface:
        """Some of the observed pixels (by view) where they were observed, in the world."""
        return ObservedSurface((view, pixels[name]) for name, view in self.observation.views.items())


def understand(robot: RobotModel, observation: Observation) -> Scene:
    """Find the robot in every view by rendering it, and the object between its fingers.

    Args:
        robot: the robot.
        observation: what was seen.
    """
    poses = robot.kinematics.link_poses(robot.kinematics.positions_from(observation.joint_positions))
    T_robot_world = invert(observation.T_world_robot)
    own, seen, clouds = {}, {}, []
    for name, view in observation.views.items():
        rendering = robot.renderer.render(
            {link: pose[None] for link, pose in poses.items()},
            view.camera,
            T_robot_world @ view.T_world_camera,
            colour=False,
        )
        own[name] = robot_pixels(
            view.points, rendering.points[0], rendering.mask[0], margin=ROBOT_MARGIN, fringe=ROBOT_FRINGE
        )
        seen[name] = ~own[name] & np.isfinite(view.points[..., 2])
        clouds.append(_in_robot(T_robot_world @ view.T_world_camera, view.points[seen[name]]))
    member = find_held_points(robot, observation.joint_positions, np.concatenate(clouds))
    held, start = {}, 0
    for name, mask in seen.items():
        held[name] = np.zeros_like(mask)
        end = start + int(mask.sum())
        held[name][mask] = member[start:end]
        start = end
    return Scene(observation, poses, own, held)


def _in_robot(T_robot_camera: FloatArray, points: Points) -> Points:
    return apply(T_robot_camera, points).astype(np.float32, copy=False)
