"""Joint motions for tool motions: damped least squares on numeric Jacobians of the forward kinematics."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fourd_ros.errors import InvalidRobotDescription, NoObservation
from fourd_ros.geometry.transforms import from_parts, interpolate
from fourd_ros.records import FloatArray, RobotTrajectory
from fourd_ros.robot.gripper import Gripper
from fourd_ros.robot.model import RobotModel

TOOL_LENGTH = 0.1034
"""Distance from the hand's frame to between its finger tips, along its z [m] (Panda)."""

POINTING_DOWN = np.diag([1.0, -1.0, -1.0])
"""Orientation of the hand in the robot's root frame while it works on a table."""

PERIOD = 0.1
"""Time between commanded points [s]."""

DAMPING, STEPS, TOLERANCE, NUDGE = 0.02, 100, 1e-3, 1e-5
TURN_WEIGHT = 0.3
"""Metres that one radian of orientation error counts as."""


@dataclass(frozen=True, kw_only=True)
class ToolPose:
    """Where the tool centre shall be at a time, pointing down.

    Args:
        time: seconds from the start.
        position: in the robot's root frame [m], shape [3].
        opening: of the gripper, 0 closed to 1 open.
    """

    time: float
    position: FloatArray
    opening: float


def follow(robot: RobotModel, start: FloatArray, poses: Sequence[ToolPose]) -> tuple[RobotTrajectory, FloatArray]:
    """Joint motion through tool poses, straight between them, smooth in time.

    Args:
        robot: with a gripper.
        start: joint positions at time 0 [rad | m], shape [J].
        poses: in order of time.

    Returns:
        The trajectory over all joints and the way of the tool centre in the root frame [m], shape [T, 3].

    Raises:
        NoObservation: a pose is out of reach.
    """
    gripper = gripper_columns(robot)
    limits = robot.kinematics.limits
    closed, opened = limits.lower[gripper], limits.upper[gripper]
    times, positions = [0.0], [start]
    began, T_before, fingers = 0.0, tool_pose(robot, start), start[gripper]
    for pose in poses:
        T_goal = from_parts(POINTING_DOWN, pose.position)
        wanted = closed + pose.opening * (opened - closed)
        count = max(1, round((pose.time - began) / PERIOD))
        for share in np.arange(1, count + 1) / count:
            reached = solve(robot, positions[-1], interpolate(T_before, T_goal, share * share * (3 - 2 * share)))
            reached[gripper] = fingers + share * (wanted - fingers)
            times.append(began + share * (pose.time - began))
            positions.append(reached)
        began, T_before, fingers = pose.time, T_goal, wanted
    table = np.stack(positions)
    trajectory = RobotTrajectory(joint_names=robot.kinematics.joint_names, times=np.array(times), positions=table)
    return trajectory, tool_pose(robot, table)[:, :3, 3]


def tool_pose(robot: RobotModel, positions: FloatArray) -> FloatArray:
    """Pose of the tool centre in the root frame for joint positions [*, J], shape [*, 4, 4]."""
    T_hand_tool = from_parts(np.eye(3), [0.0, 0.0, TOOL_LENGTH])
    return robot.kinematics.link_poses(positions)[gripper_of(robot).carrier] @ T_hand_tool


def solve(robot: RobotModel, near: FloatArray, T_root_tool: FloatArray) -> FloatArray:
    """Joint positions near `near` that bring the tool to a pose; the gripper keeps its own, shape [J].

    Raises:
        NoObservation: no posture found.
    """
    limits, arm = robot.kinematics.limits, arm_columns(robot)
    positions = near.copy()
    for _ in range(STEPS):
        error = _error(tool_pose(robot, positions), T_root_tool)
        if np.linalg.norm(error) < TOLERANCE:
            return positions
        nudged = positions + NUDGE * np.eye(len(positions))[arm]
        jacobian = (error - _error(tool_pose(robot, nudged), T_root_tool)).T / NUDGE
        step = jacobian.T @ np.linalg.solve(jacobian @ jacobian.T + DAMPING**2 * np.eye(6), error)
        positions[arm] = np.clip(positions[arm] + step, limits.lower[arm], limits.upper[arm])
    raise NoObservation(f"the tool cannot reach {T_root_tool[:3, 3].round(3).tolist()} m; move the object nearer")


def _error(T_root_tool: FloatArray, T_root_wanted: FloatArray) -> FloatArray:
    """What is missing: position [m] and weighted rotation vector (small angles) in the root frame, shape [*, 6]."""
    position = T_root_wanted[..., :3, 3] - T_root_tool[..., :3, 3]
    rotation = T_root_wanted[..., :3, :3] @ np.swapaxes(T_root_tool[..., :3, :3], -1, -2)
    skew = rotation - np.swapaxes(rotation, -1, -2)
    turn = 0.5 * np.stack([skew[..., 2, 1], skew[..., 0, 2], skew[..., 1, 0]], axis=-1)
    return np.concatenate([position, TURN_WEIGHT * turn], axis=-1)


def gripper_columns(robot: RobotModel) -> list[int]:
    """Columns of the gripper's joints."""
    return [robot.kinematics.joint_names.index(name) for name in gripper_of(robot).joints]


def arm_columns(robot: RobotModel) -> list[int]:
    """Columns of all other joints."""
    fingers = gripper_columns(robot)
    return [column for column in range(len(robot.kinematics.joint_names)) if column not in fingers]


def gripper_of(robot: RobotModel) -> Gripper:
    """The gripper.

    Raises:
        InvalidRobotDescription: there is none.
    """
    if robot.gripper is None:
        raise InvalidRobotDescription(f"robot '{robot.description.name}' has no gripper with sliding fingers")
    return robot.gripper
