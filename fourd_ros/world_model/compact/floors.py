"""What was hidden behind the robot and things is the surface that they stand on, as far as that reaches."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.spatial import ConvexHull, QhullError

from fourd_ros.geometry.transforms import invert
from fourd_ros.records import FloatArray, RolloutView
from fourd_ros.world_model.compact.seen import Seen, supports_of
from fourd_ros.world_model.scene import Scene
from fourd_ros.world_model.supports import Support

ON = 0.006
ON_SIGMAS = 3.0
"""Pixels this near to a plane show it, in metres or deviations of its points."""


@dataclass(frozen=True, kw_only=True)
class Floor:
    """A level surface within the convex outline of what is seen of it.

    Args:
        support: its plane, in the robot's root frame.
        outline: corners [x, y] in that frame, counter-clockwise [m], shape [V, 2].
    """

    support: Support
    outline: FloatArray

    def depth(self, rays: FloatArray, T_robot_camera: FloatArray) -> FloatArray:
        """Where rays (at z = 1 in the camera's frame, shape [N, 3]) meet it [m], infinite where not, shape [N]."""
        normal = np.array([*-self.support.slope, 1.0])
        with np.errstate(divide="ignore"):
            depth = (self.support.height - normal @ T_robot_camera[:3, 3]) / (rays @ (normal @ T_robot_camera[:3, :3]))
        met = np.isfinite(depth) & (depth > 0)
        places = (rays * np.where(met, depth, 0.0)[:, None]) @ T_robot_camera[:2, :3].T + T_robot_camera[:2, 3]
        for corner, side in zip(self.outline, np.roll(self.outline, -1, axis=0) - self.outline, strict=True):
            away = places - corner
            met &= side[0] * away[:, 1] >= side[1] * away[:, 0]
        return np.where(met, depth, np.inf)


def find_floors(scene: Scene, *, reach: float = 1.1) -> tuple[Floor, ...]:
    """The supports of a scene with their outlines.

    Args:
        scene: what was observed.
        reach: what is farther from the robot's root is not looked at [m].
    """
    seen = [Seen.of(scene, name, reach) for name in scene.observation.views]
    floors = []
    for support in supports_of(seen, reach):
        near = max(ON, ON_SIGMAS * support.noise)
        shown = [view.in_robot(np.flatnonzero(view.free & (np.abs(view.heights(support)) < near))) for view in seen]
        places = np.concatenate(shown)[:, :2].astype(np.float64)
        try:
            outline = places[ConvexHull(places).vertices]
        except (QhullError, ValueError):
            continue
        floors.append(Floor(support=support, outline=outline))
    return tuple(floors)


def lay_floors(view: RolloutView, floors: Sequence[Floor], T_world_robot: FloatArray) -> RolloutView:
    """A video whose unknown points lie on the first floor on their rays; they stay unobserved.

    Args:
        view: T frames.
        floors: of the scene.
        T_world_robot: pose of the robot's root, shape [4, 4].
    """
    points, rays = view.points.copy(), view.camera.rays()
    unknown = ~np.isfinite(points[..., 2]) & ~view.robot_mask
    for steps in _steps_by_pose(view.T_world_camera):
        open_ = unknown[steps].any(axis=0)
        here = rays[open_].astype(np.float64)
        depth = np.full(len(here), np.inf)
        for floor in floors:
            depth = np.minimum(depth, floor.depth(here, invert(T_world_robot) @ view.T_world_camera[steps[0]]))
        laid = np.where(np.isfinite(depth), depth, np.nan)[:, None] * here
        for step in steps:
            points[step][unknown[step]] = laid[unknown[step][open_]]
    return replace(view, points=points)


def _steps_by_pose(T_world_camera: FloatArray) -> list[list[int]]:
    """Steps at which the camera stands alike."""
    steps: dict[bytes, list[int]] = {}
    for step, pose in enumerate(T_world_camera):
        steps.setdefault(pose.tobytes(), []).append(step)
    return list(steps.values())
