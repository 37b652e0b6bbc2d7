"""Can this robot follow that trajectory, and what do all its joints do meanwhile?"""

from collections.abc import Collection

import numpy as np
from numpy.typing import NDArray

from fourd_ros.errors import InvalidJoints, InvalidTrajectory, JointLimitExceeded
from fourd_ros.records import RobotTrajectory
from fourd_ros.robot.kinematics import Kinematics

FloatArray = NDArray[np.float64]

POSITION_TOLERANCE = 1e-3
"""Commands may exceed a position limit by this much [rad | m]: limits are rounded in many descriptions."""

START_TIME = 0.1
"""A point at time zero may differ from the observed posture by what a joint moves in this time [s]."""


def check_trajectory(
    trajectory: RobotTrajectory,
    kinematics: Kinematics,
    start: FloatArray,
    *,
    max_points: int = 10_000,
    max_duration: float = 600.0,
    speed_tolerance: float = 1.5,
    targets: Collection[str] = (),
) -> None:
    """Refuse a trajectory that the robot cannot follow from where it is.

    Args:
        trajectory: commanded motion of some or all actuated joints.
        kinematics: of the robot.
        start: observed positions of all actuated joints [rad | m], shape [J].
        max_points: bound on the points.
        max_duration: bound on the duration [s].
        speed_tolerance: the straight line between two points may be faster than the velocity limit by this factor.
        targets: joints that are told where to go rather than how (grippers are opened and closed in one step, and
            pressed against what they hold); their speed is not checked.

    Raises:
        InvalidTrajectory: too many points, or too long.
        InvalidJoints: joints that the robot does not have, or that follow others.
        JointLimitExceeded: positions or speeds beyond the limits.
    """
    if len(trajectory.times) > max_points:
        raise InvalidTrajectory(f"{len(trajectory.times)} points; at most {max_points} are taken")
    if trajectory.times[-1] > max_duration:
        raise InvalidTrajectory(f"it lasts {trajectory.times[-1]:.3g} s; at most {max_duration:.3g} s are taken")
    columns = _columns(trajectory, kinematics)
    _check_positions(trajectory, kinematics, columns)
    _check_speeds(trajectory, kinematics, columns, start, speed_tolerance, targets)


def complete(trajectory: RobotTrajectory, kinematics: Kinematics, current: FloatArray) -> RobotTrajectory:
    """The motion of all actuated joints from time zero; those that are not commanded hold.

    Args:
        trajectory: commanded motion of some or all actuated joints.
        kinematics: of the robot.
        current: observed positions of all actuated joints [rad | m], shape [J].

    Raises:
        InvalidJoints: joints that the robot does not have, or that follow others.
    """
    positions = np.repeat(current[None], len(trajectory.times), axis=0)
    positions[:, _columns(trajectory, kinematics)] = trajectory.positions
    times = trajectory.times
    if times[0] > 0:
        times = np.concatenate([[0.0], times])
        positions = np.concatenate([current[None], positions])
    return RobotTrajectory(joint_names=kinematics.joint_names, times=times, positions=positions)


def _columns(trajectory: RobotTrajectory, kinematics: Kinematics) -> list[int]:
    unknown = [name for name in trajectory.joint_names if name not in kinematics.joint_names]
    if unknown:
        raise InvalidJoints(f"joints {unknown} cannot be commanded; this robot has {list(kinematics.joint_names)}")
    return [kinematics.joint_names.index(name) for name in trajectory.joint_names]


def _check_positions(trajectory: RobotTrajectory, kinematics: Kinematics, columns: list[int]) -> None:
    lower, upper = kinematics.limits.lower[columns], kinematics.limits.upper[columns]
    beyond = np.maximum(lower - trajectory.positions, trajectory.positions - upper) > POSITION_TOLERANCE
    if beyond.any():
        point, joint = np.argwhere(beyond)[0]
        raise JointLimitExceeded(
            f"joint '{trajectory.joint_names[joint]}' is sent to {trajectory.positions[point, joint]:.4g} "
            f"at point {point}; its limits are {lower[joint]:.4g} to {upper[joint]:.4g}"
        )


def _check_speeds(
    trajectory: RobotTrajectory,
    kinematics: Kinematics,
    columns: list[int],
    start: FloatArray,
    tolerance: float,
    targets: Collection[str],
) -> None:
    allowed = kinematics.limits.velocity[columns] * tolerance
    allowed[[name in targets for name in trajectory.joint_names]] = np.inf
    durations = np.diff(trajectory.times, prepend=0.0)
    durations[0] = max(durations[0], START_TIME)
    speeds = np.abs(np.diff(trajectory.positions, axis=0, prepend=start[None, columns])) / durations[:, None]
    if (speeds > allowed).any():
        point, joint = np.argwhere(speeds > allowed)[0]
        raise JointLimitExceeded(
            f"joint '{trajectory.joint_names[joint]}' would move at {speeds[point, joint]:.3g} up to point {point}; "
            f"its limit is {allowed[joint] / tolerance:.3g} (x {tolerance:g} allowed); give it more time"
        )
