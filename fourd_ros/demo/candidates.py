"""Three commanded motions around the object that the cameras see: one that hits it, misses it, grasps it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from fourd_ros.demo.reach import ToolPose, follow
from fourd_ros.errors import NoObservation
from fourd_ros.geometry.transforms import apply, invert
from fourd_ros.records import FloatArray, Observation, Points, RobotTrajectory
from fourd_ros.robot.model import RobotModel
from fourd_ros.robot.segmentation import robot_pixels

WORKSPACE = ((0.25, 0.80), (-0.45, 0.45))
"""Where an object is looked for, along x and y of the robot's root [m]."""

CLEARANCE = 0.012
"""Points less than this above the table are the table [m]."""

TALLEST = 0.30
"""Nothing higher than this above the table is taken for an object [m]."""

VOXEL = 0.015
"""Points closer than about two voxels belong to one object [m]."""

MIN_POINTS = 20
"""Fewer points are noise."""

HOVER, PUSH, MISS_BY, LIFT = 0.14, 0.16, 0.14, 0.18
"""Height above the object, length of the push, sideways distance of the miss, height of the lift [m]."""

CLOSED, OPEN = 0.0, 1.0


@dataclass(frozen=True, kw_only=True)
class Target:
    """An object as the cameras see it, in the robot's root frame [m].

    Args:
        low: lower corner of its box, on the table, shape [3].
        high: upper corner, shape [3].
    """

    low: FloatArray
    high: FloatArray

    @property
    def centre(self) -> FloatArray:
        """Middle of the box, shape [3]."""
        return (self.low + self.high) / 2


@dataclass(frozen=True, kw_only=True)
class Motion:
    """One candidate for the page and for the question.

    Args:
        name: one word.
        description: one sentence.
        trajectory: the commanded motion.
        path: way of the tool centre in the robot's root frame [m], shape [P, 3].
    """

    name: str
    description: str
    trajectory: RobotTrajectory
    path: FloatArray


def plan(robot: RobotModel, observation: Observation) -> tuple[Motion, ...]:
    """Hit, miss and grasp, from where the robot is.

    Raises:
        NoObservation: no object stands within reach, or it cannot be reached.
    """
    target = find_target(robot, observation)
    start = robot.kinematics.positions_from(observation.joint_positions)
    motions = []
    for name, description, poses in (_hit(target), _miss(target), _grasp(target)):
        trajectory, path = follow(robot, start, poses)
        motions.append(Motion(name=name, description=description, trajectory=trajectory, path=path))
    return tuple(motions)


def find_target(robot: RobotModel, observation: Observation) -> Target:
    """The biggest thing on the table that is not the robot.

    Raises:
        NoObservation: there is none.
    """
    points = _scene_points(robot, observation)
    inside = np.all([(points[:, i] > low) & (points[:, i] < high) for i, (low, high) in enumerate(WORKSPACE)], axis=0)
    points = points[inside]
    table = _table_height(points)
    points = points[(points[:, 2] > table + CLEARANCE) & (points[:, 2] < table + TALLEST)]
    if len(points) < MIN_POINTS:
        raise NoObservation(f"no object in x {WORKSPACE[0]}, y {WORKSPACE[1]} m of '{robot.kinematics.root}'")
    cells = np.floor((points - points.min(0)) / VOXEL).astype(np.int64)
    grid = np.zeros(cells.max(0) + 1, dtype=bool)
    grid[tuple(cells.T)] = True
    labels, _ = ndimage.label(grid, structure=np.ones((3, 3, 3), dtype=bool))
    component = labels[tuple(cells.T)]
    biggest = points[component == np.bincount(component).argmax()]
    low, high = np.percentile(biggest, [2, 98], axis=0)
    return Target(low=np.array([low[0], low[1], table]), high=high)


def _scene_points(robot: RobotModel, observation: Observation) -> Points:
    """Observed points without the robot's own, in its root frame [m], shape [N, 3]."""
    poses = robot.kinematics.link_poses(robot.kinematics.positions_from(observation.joint_positions))
    clouds = []
    for view in observation.views.values():
        T_root_camera = invert(observation.T_world_robot) @ view.T_world_camera
        rendering = robot.renderer.render(
            {link: pose[None] for link, pose in poses.items()}, view.camera, T_root_camera[None], colour=False
        )
        own = robot_pixels(view.points, rendering.points[0], rendering.mask[0])
        clouds.append(apply(T_root_camera, view.points[~own & np.isfinite(view.points[..., 2])]))
    return np.concatenate(clouds)


def _table_height(points: Points) -> float:
    """The height that most points share [m]."""
    if not len(points):
        return 0.0
    counts, edges = np.histogram(points[:, 2], bins=np.arange(-0.5, 0.5, 0.005))
    peak = int(counts.argmax())
    return float(edges[peak] + edges[peak + 1]) / 2


def _hit(target: Target) -> tuple[str, str, Sequence[ToolPose]]:
    description = (
        "The closed gripper sweeps sideways through the object. A real one would be pushed along; is the imagined one?"
    )
    return "hit", description, _sweep(target, offset=0.0)


def _miss(target: Target) -> tuple[str, str, Sequence[ToolPose]]:
    description = f"The same sweep, {100 * MISS_BY:.0f} cm nearer to the robot, passes by and touches nothing."
    return "miss", description, _sweep(target, offset=MISS_BY)


def _grasp(target: Target) -> tuple[str, str, Sequence[ToolPose]]:
    description = (
        "The open gripper comes down over the object, closes and lifts. A real one would come along; does it here?"
    )
    above, at = target.centre.copy(), target.centre.copy()
    above[2], at[2] = target.high[2] + HOVER, max(target.low[2] + 0.02, target.high[2] - 0.03)
    lifted = at + np.array([0.0, 0.0, LIFT])
    return (
        "grasp",
        description,
        (
            ToolPose(time=1.2, position=above, opening=OPEN),
            ToolPose(time=2.0, position=at, opening=OPEN),
            ToolPose(time=2.4, position=at, opening=CLOSED),
            ToolPose(time=3.2, position=lifted, opening=CLOSED),
        ),
    )


def _sweep(target: Target, *, offset: float) -> Sequence[ToolPose]:
    """Beside the object, down, and across, `offset` metres nearer to the robot than the object's middle."""
    towards = -1.0 if target.centre[1] > 0 else 1.0
    half = (target.high[1] - target.low[1]) / 2
    middle = target.centre - np.array([offset, 0.0, 0.0])
    middle[2] = max(target.low[2] + 0.03, target.centre[2])
    before = middle - np.array([0.0, towards * (half + 0.09), 0.0])
    after = middle + np.array([0.0, towards * PUSH, 0.0])
    above = before + np.array([0.0, 0.0, HOVER])
    return (
        ToolPose(time=1.2, position=above, opening=CLOSED),
        ToolPose(time=1.8, position=before, opening=CLOSED),
        ToolPose(time=3.2, position=after, opening=CLOSED),
    )
