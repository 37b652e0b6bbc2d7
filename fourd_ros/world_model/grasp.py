"""Which observed points are an object held by the gripper."""

from collections.abc import Mapping

import numpy as np
from scipy import ndimage

from fourd_ros.records import FloatArray, Mask, Points
from fourd_ros.robot.model import RobotModel
from fourd_ros.world_model.supports import find_supports

OPEN_SHARE = 0.97
"""A gripper opened further than this share of its range holds nothing."""

RELEASE_TRAVEL = 0.004
"""A commanded finger position beyond the observed one by this much lets go [m | rad]."""

MIN_SEEDS = 6
"""Fewer observed points than this between the fingers are taken for noise."""

REACH = 0.2
"""A held object is looked for within this distance of the fingers [m]."""

VOXEL = 0.01
"""Points closer than about two voxels belong to one thing [m]."""

SUPPORT_THICKNESS = 0.008
"""Points this near to a support are the support, not the object [m]."""

SUPPORT_SAMPLES = 3000
"""Points that supports are looked for in."""


def find_held_points(robot: RobotModel, joint_positions: Mapping[str, float], points: Points) -> Mask:
    """Find the object between partly closed fingers, grown over touching points but not over its support.

    Args:
        robot: its gripper's fingers close on each other.
        joint_positions: measured positions [rad | m].
        points: observed points that are not the robot's, in its root frame [m], shape [N, 3].

    Returns:
        True for the points of the held object, shape [N]; none when there is no gripper, it is wide open, or
        nothing is between the fingers.
    """
    nothing = np.zeros(len(points), bool)
    gripper = robot.gripper
    if gripper is None or len(points) == 0 or gripper.openness(joint_positions) > OPEN_SHARE:
        return nothing
    seeds = gripper.between_fingers(joint_positions, points)
    if seeds.sum() < MIN_SEEDS:
        return nothing
    off_support = ~_on_support(points)
    seeds &= off_support
    if seeds.sum() < MIN_SEEDS:
        return nothing
    near = np.linalg.norm(points - points[seeds].mean(axis=0), axis=1) < REACH
    return _connected(points, near & off_support, seeds)


def release_step(robot: RobotModel, joint_positions: Mapping[str, float], positions: FloatArray) -> int:
    """First step at which the commanded fingers open beyond where they were observed; T when they never do.

    Args:
        robot: with a gripper.
        joint_positions: measured positions [rad | m].
        positions: commanded positions of all actuated joints [rad | m], shape [T, J].
    """
    columns, observed = _fingers(robot, joint_positions)
    opened = (positions[:, columns] - observed > RELEASE_TRAVEL).any(axis=1)
    return int(np.argmax(opened)) if opened.any() else len(positions)


def stop_at_held_object(robot: RobotModel, joint_positions: Mapping[str, float], positions: FloatArray) -> FloatArray:
    """The commanded motion with the fingers stopped by what they hold until they let go, shape [T, J].

    Args:
        robot: with a gripper that holds something.
        joint_positions: measured positions [rad | m].
        positions: commanded positions of all actuated joints [rad | m], shape [T, J].
    """
    columns, observed = _fingers(robot, joint_positions)
    holding = slice(0, release_step(robot, joint_positions, positions))
    stopped = positions.copy()
    stopped[holding, columns] = np.maximum(stopped[holding, columns], observed)
    return stopped


def _fingers(robot: RobotModel, joint_positions: Mapping[str, float]) -> tuple[list[int], FloatArray]:
    """Columns and observed positions of the finger joints."""
    assert robot.gripper is not None
    columns = [robot.kinematics.joint_names.index(name) for name in robot.gripper.joints]
    return columns, robot.kinematics.positions_from(joint_positions)[columns]


def _on_support(points: Points) -> Mask:
    """Points on the planes that things stand on, shape [N]."""
    sample = points[:: max(1, len(points) // SUPPORT_SAMPLES)]
    on = np.zeros(len(points), bool)
    for support in find_supports(sample, np.ones(len(sample))):
        on |= np.abs(support.above(points)) < SUPPORT_THICKNESS
    return on


def _connected(points: Points, candidates: Mask, seeds: Mask) -> Mask:
    """Candidates in the voxel components that hold a seed, shape [N]."""
    cells = np.floor((points[candidates] - points[candidates].min(axis=0)) / VOXEL).astype(np.int64)
    grid = np.zeros(cells.max(axis=0) + 1, bool)
    grid[tuple(cells.T)] = True
    labels, _ = ndimage.label(grid, structure=np.ones((3, 3, 3), bool))
    component = labels[tuple(cells.T)]
    member = np.zeros(len(points), bool)
    member[candidates] = np.isin(component, np.unique(component[seeds[candidates]]))
    return member
