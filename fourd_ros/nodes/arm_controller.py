"""Trajectory commands: a topic, and the action ``FollowJointTrajectory``."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from control_msgs.action import FollowJointTrajectory
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

from fourd_ros.bridge.qos import RESULT
from fourd_ros.bridge.times import duration_to_seconds, make_header, seconds_to_duration, stamp_to_ns
from fourd_ros.bridge.trajectories import trajectory_from_message
from fourd_ros.errors import FourdError, InvalidJoints, InvalidTrajectory, TrajectoryTooOld
from fourd_ros.nodes.base import FourdNode
from fourd_ros.nodes.commanded_motion import Command, CommandedMotion
from fourd_ros.nodes.goal_server import GoalHandle, GoalServer
from fourd_ros.nodes.instants import Instant, Instants
from fourd_ros.records import RobotTrajectory
from fourd_ros.robot.kinematics import Kinematics
from fourd_ros.robot.trajectory import check_trajectory

Result = FollowJointTrajectory.Result


@dataclass(frozen=True, kw_only=True)
class ArmLimits:
    """What is taken, and when a goal counts as reached.

    Args:
        speed_tolerance: factor on the joint speed limits.
        max_duration: length of a trajectory [s].
        goal_tolerance: of joints for which the goal names none [rad | m].
        goal_time_tolerance: allowed beyond the end where the goal names none [s].
    """

    speed_tolerance: float = 1.1
    max_duration: float = 600.0
    goal_tolerance: float = 0.02
    goal_time_tolerance: float = 1.0


class ArmController:
    """Checks commands and hands them to the motion; the newest one wins.

    Args:
        node: made in its ``start``.
        motion: takes the commands.
        instants: tell what became of them.
        kinematics: of the robot.
        limits: of commands.
    """

    def __init__(
        self,
        node: FourdNode,
        motion: CommandedMotion,
        instants: Instants,
        *,
        kinematics: Kinematics,
        limits: ArmLimits,
    ) -> None:
        self._node, self._motion, self._instants = node, motion, instants
        self._kinematics, self._limits = kinematics, limits
        node.subscribe(JointTrajectory, "arm_controller/joint_trajectory", self._follow, RESULT)
        GoalServer(node, FollowJointTrajectory, "arm_controller/follow_joint_trajectory", self._execute)

    def _follow(self, message: JointTrajectory) -> tuple[RobotTrajectory, Command]:
        """Begin to follow a trajectory that can be followed.

        Returns:
            The trajectory and the command that was given.

        Raises:
            FourdError: it is malformed, too old, or beyond the robot's limits.
        """
        trajectory = trajectory_from_message(message)
        now = self._instants.newest
        check_trajectory(
            trajectory,
            self._kinematics,
            self._kinematics.positions_from(now.setpoint),
            max_duration=self._limits.max_duration,
            speed_tolerance=self._limits.speed_tolerance,
        )
        start = stamp_to_ns(message.header.stamp) * 1e-9 or None
        if start is not None and start + trajectory.times[-1] < now.time:
            raise TrajectoryTooOld(
                f"the trajectory ended at {start + trajectory.times[-1]:.3f} s and it is {now.time:.3f} s; "
                "stamp it with the ROS time of the robot, or with 0 for now"
            )
        return trajectory, self._motion.follow(trajectory, start=start)

    def _execute(self, handle: GoalHandle) -> Any:
        with self._instants.follow() as instants:
            try:
                goal = self._begin(handle.request)
            except FourdError as error:
                self._node.report(error)
                return _abort(handle, _code(error), str(error))
            for instant in instants:
                if instant.time > goal.command.given and (result := _progress(handle, goal, instant)) is not None:
                    return result
        return _abort(handle, Result.INVALID_GOAL, "the robot was deactivated")

    def _begin(self, request: Any) -> "_Goal":
        if request.multi_dof_trajectory.points or request.component_path_tolerance:
            raise InvalidTrajectory("trajectories of several degrees of freedom a joint are not followed")
        names = {tolerance.name for tolerance in (*request.path_tolerance, *request.goal_tolerance)}
        unknown = names - set(request.trajectory.joint_names)
        if unknown:
            raise InvalidJoints(f"tolerances of {sorted(unknown)}, which the trajectory does not move")
        trajectory, command = self._follow(request.trajectory)
        return _Goal(
            trajectory=trajectory,
            command=command,
            path_tolerance=_tolerances(request.path_tolerance, {}),
            goal_tolerance=_tolerances(
                request.goal_tolerance, dict.fromkeys(trajectory.joint_names, self._limits.goal_tolerance)
            ),
            time_tolerance=duration_to_seconds(request.goal_time_tolerance) or self._limits.goal_time_tolerance,
        )


@dataclass(frozen=True, kw_only=True)
class _Goal:
    """A goal that is being followed; tolerances are position errors by joint name [rad | m]."""

    trajectory: RobotTrajectory
    command: Command
    path_tolerance: Mapping[str, float]
    goal_tolerance: Mapping[str, float]
    time_tolerance: float

    @property
    def end(self) -> float:
        return self.command.start + float(self.trajectory.times[-1])

    def violation(self, instant: Instant) -> tuple[int, str] | None:
        """Error code and text when a tolerance is exceeded."""
        if instant.time < self.end:
            beyond = _beyond(self.path_tolerance, instant)
            return (Result.PATH_TOLERANCE_VIOLATED, f"on the path: {beyond}") if beyond else None
        beyond = _beyond(self.goal_tolerance, instant)
        late = instant.time > self.end + self.time_tolerance
        return (Result.GOAL_TOLERANCE_VIOLATED, f"at the goal: {beyond}") if beyond and late else None

    def is_reached(self, instant: Instant) -> bool:
        return instant.time >= self.end and not _beyond(self.goal_tolerance, instant)

    def feedback(self, instant: Instant) -> Any:
        names = self.trajectory.joint_names
        elapsed = max(instant.time - self.command.start, 0.0)
        desired = np.array([instant.setpoint[name] for name in names])
        actual = np.array([instant.positions[name] for name in names])
        return FollowJointTrajectory.Feedback(
            header=make_header(instant.stamp_ns, ""),
            joint_names=list(names),
            desired=_point(desired, elapsed),
            actual=_point(actual, elapsed),
            error=_point(desired - actual, elapsed),
            index=int(np.searchsorted(self.trajectory.times, elapsed, side="right")) - 1,
        )


def _progress(handle: GoalHandle, goal: _Goal, instant: Instant) -> Any | None:
    """Tell the client of an instant; the result when the goal ends there."""
    handle.publish_feedback(goal.feedback(instant))
    if handle.is_cancel_requested:
        goal.command.hold()
        handle.canceled()
        return Result(error_string="cancelled; the arm holds where it was commanded last")
    if not goal.command.is_current:
        return _abort(handle, Result.INVALID_GOAL, "preempted by a newer command or a reset")
    violation = goal.violation(instant)
    if violation is not None:
        goal.command.hold()
        return _abort(handle, *violation)
    if goal.is_reached(instant):
        handle.succeed()
        return Result(error_code=Result.SUCCESSFUL)
    return None


def _point(positions: Any, elapsed: float) -> JointTrajectoryPoint:
    return JointTrajectoryPoint(positions=positions.tolist(), time_from_start=seconds_to_duration(elapsed))


def _tolerances(messages: Iterable[Any], defaults: Mapping[str, float]) -> dict[str, float]:
    """Position tolerances by joint: 0 means the default, a negative one means none at all."""
    named = {message.name: message.position for message in messages}
    chosen = {**defaults, **{name: value for name, value in named.items() if value != 0}}
    return {name: value for name, value in chosen.items() if value > 0}


def _beyond(tolerances: Mapping[str, float], instant: Instant) -> str:
    """The joints outside their tolerance, in words; empty when there are none."""
    errors = {name: abs(instant.setpoint[name] - instant.positions[name]) for name in tolerances}
    return ", ".join(
        f"'{name}' is {error:.4g} off, allowed {tolerances[name]:.4g}"
        for name, error in errors.items()
        if error > tolerances[name]
    )


def _code(error: FourdError) -> int:
    if isinstance(error, TrajectoryTooOld):
        return int(Result.OLD_HEADER_TIMESTAMP)
    return int(Result.INVALID_JOINTS if isinstance(error, InvalidJoints) else Result.INVALID_GOAL)


def _abort(handle: GoalHandle, code: int, text: str) -> Any:
    handle.abort()
    return Result(error_code=code, error_string=text)
