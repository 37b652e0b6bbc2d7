"""``trajectory_msgs/JointTrajectory`` <-> `RobotTrajectory`."""

from typing import Any

import numpy as np

from fourd_ros.bridge.joints import check_names
from fourd_ros.bridge.times import durations_to_seconds, seconds_to_duration
from fourd_ros.errors import InvalidTrajectory
from fourd_ros.records import RobotTrajectory

MAX_POINTS = 10_000


def trajectory_from_message(msg: Any, *, max_points: int = MAX_POINTS) -> RobotTrajectory:
    """The commanded motion of a ``JointTrajectory``; its joints keep their order.

    Velocities, accelerations and efforts are not used: the motion between points is linear.

    Args:
        msg: ``trajectory_msgs/JointTrajectory`` with positions in every point.
        max_points: refuse longer ones before they are read.

    Raises:
        InvalidTrajectory: empty, longer than `max_points`, points without a position for every joint,
            or times that do not increase.
        InvalidJoints: duplicate names or positions that are not finite.
    """
    if len(msg.points) > max_points:
        raise InvalidTrajectory(f"{len(msg.points)} points; more than {max_points} are refused (max_points)")
    names = tuple(str(name) for name in msg.joint_names)
    check_names(names)
    if not names or not msg.points:
        raise InvalidTrajectory(f"{len(msg.points)} points for {len(names)} joints; at least one of each is needed")
    for index, point in enumerate(msg.points):
        if len(point.positions) != len(names):
            raise InvalidTrajectory(f"point {index} has {len(point.positions)} positions for {len(names)} joints")
    return RobotTrajectory(
        joint_names=names,
        times=durations_to_seconds(point.time_from_start for point in msg.points),
        positions=np.array([point.positions for point in msg.points], dtype=np.float64),
    )


def trajectory_to_message(trajectory: RobotTrajectory, header: Any) -> Any:
    """``trajectory_msgs/JointTrajectory`` with positions and times."""
    from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

    points = [
        JointTrajectoryPoint(positions=positions.tolist(), time_from_start=seconds_to_duration(time))
        for time, positions in zip(trajectory.times, trajectory.positions, strict=True)
    ]
    return JointTrajectory(header=header, joint_names=list(trajectory.joint_names), points=points)
