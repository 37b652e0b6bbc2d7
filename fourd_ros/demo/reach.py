"""Joint motions for tool motions."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fourd_ros.errors import NoObservation
from fourd_ros.geometry.transforms import from_parts, interpolate
from fourd_ros.records import FloatArray, RobotTrajectory
from fourd_ros.robot.inverse_kinematics import Tool
from fourd_ros.robot.model import RobotModel

TOOL_LENGTH = 0.1034
"""Distance from the hand's frame to between its finger tips, along its z [m] (Panda)."""

POINTING_DOWN = np.diag([1.0, -1.0, -1.0])
"""Orientation of the hand in the robot's root frame while it works on a table."""

PERIOD = 0.1
"""Time between commanded points [s]."""


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
    tool = tool_of(robot)
    gripper = [column for column in range(len(start)) if column not in tool.columns]
    limits = robot.kinematics.limits
    closed, opened = limits.lower[gripper], limits.upper[gripper]
    times, positions = [0.0], [start]
    began, T_before, fingers = 0.0, tool.pose(start), start[gripper]
    for pose in poses:
        T_goal = from_parts(POINTING_DOWN, pose.position)
        wanted = closed + pose.opening * (opened - closed)
        count = max(1, round((pose.time - began) / PERIOD))
        for share in np.arange(1, count + 1) / count:
            reached = _solve(tool, positions[-1], interpolate(T_before, T_goal, share * share * (3 - 2 * share)))
            reached[gripper] = fingers + share * (wanted - fingers)
            times.append(began + share * (pose.time - began))
            positions.append(reached)
        began, T_before, fingers = pose.time, T_goal, wanted
    table = np.stack(positions)
    trajectory = RobotTrajectory(joint_names=robot.kinematics.joint_names, times=np.array(times), positions=table)
    return trajectory, tool.pose(table)[:, :3, 3]


def tool_pose(robot: RobotModel, positions: FloatArray) -> FloatArray:
    """Pose of the tool centre in the root frame for joint positions [*, J], shape [*, 4, 4]."""
    return tool_of(robot).pose(positions)


def tool_of(robot: RobotModel) -> Tool:
    """The point between the finger tips, oriented as the hand.

    Raises:
        InvalidRobotDescription: there is no gripper.
    """
    return Tool.of_gripper(robot, from_parts(np.eye(3), [0.0, 0.0, TOOL_LENGTH]))


def _solve(tool: Tool, near: FloatArray, T_root_tool: FloatArray) -> FloatArray:
    positions, reached = tool.solve(near[None], T_root_tool[None])
    if not reached.all():
        raise NoObservation(f"the tool cannot reach {T_root_tool[:3, 3].round(3).tolist()} m; move the object nearer")
    return np.asarray(positions[0])
