"""The action ``GripperCommand``."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from control_msgs.action import GripperCommand

from fourd_ros.errors import FourdError, InvalidJoints, JointLimitExceeded
from fourd_ros.nodes.base import FourdNode
from fourd_ros.nodes.commanded_motion import Command, CommandedMotion
from fourd_ros.nodes.goal_server import GoalHandle, GoalServer
from fourd_ros.nodes.instants import Instant, Instants
from fourd_ros.records import RobotTrajectory

STILL = 1e-3
"""A finger slower than this stands [m/s]."""

STALL_TIME = 0.2
"""It has stalled when it stands for this long after the end of the command [s]."""


@dataclass(frozen=True, kw_only=True)
class GripperLimits:
    """How the fingers are moved.

    Args:
        joint: name of the finger joint; the gap is twice its position.
        opening: greatest position of the joint [m].
        speed: of the joint [m/s].
        tolerance: the goal is reached within this [m of the joint].
    """

    joint: str
    opening: float
    speed: float = 0.1
    tolerance: float = 0.002


class GripperController:
    """Moves the fingers at constant speed; a stop on something in between is a success with ``stalled``.

    Args:
        node: made in its ``start``.
        motion: takes the commands.
        instants: tell what became of them.
        limits: of commands.
        limit_effort: sets the greatest effort of the finger servo [N], infinite for its own.
    """

    def __init__(
        self,
        node: FourdNode,
        motion: CommandedMotion,
        instants: Instants,
        *,
        limits: GripperLimits,
        limit_effort: Callable[[float], None],
    ) -> None:
        self._node, self._motion, self._instants = node, motion, instants
        self._limits, self._limit_effort = limits, limit_effort
        GoalServer(node, GripperCommand, "gripper_controller/gripper_cmd", self._execute)

    def _execute(self, handle: GoalHandle) -> Any:
        with self._instants.follow() as instants:
            instant = self._instants.newest
            try:
                target, end, command = self._begin(handle.request.command)
            except FourdError as error:
                self._node.report(error)
                handle.abort()
                return self._outcome(GripperCommand.Result, instant)
            moved = end
            for instant in instants:
                if instant.time <= command.given:
                    continue
                speed = abs(instant.velocities[self._limits.joint])
                moved = max(end, instant.time) if speed > STILL else moved
                reached = abs(instant.positions[self._limits.joint] - target) < self._limits.tolerance
                stalled = not reached and instant.time > moved + STALL_TIME
                handle.publish_feedback(
                    self._outcome(GripperCommand.Feedback, instant, reached_goal=reached, stalled=stalled)
                )
                if handle.is_cancel_requested:
                    command.hold()
                    handle.canceled()
                    break
                if not command.is_current:
                    handle.abort()
                    break
                if reached or stalled:
                    handle.succeed()
                    return self._outcome(GripperCommand.Result, instant, reached_goal=reached, stalled=stalled)
            else:
                handle.abort()
            return self._outcome(GripperCommand.Result, instant)

    def _begin(self, wanted: Any) -> tuple[float, float, Command]:
        """Target position of the joint [m], time of arrival [s], and the command given."""
        target = wanted.position / 2
        if not (math.isfinite(target) and math.isfinite(wanted.max_effort)):
            raise InvalidJoints(f"gripper command {wanted.position} m with {wanted.max_effort} N is not finite")
        if not -self._limits.tolerance <= target <= self._limits.opening + self._limits.tolerance:
            raise JointLimitExceeded(
                f"a gap of {wanted.position:.4g} m between the fingers; possible: 0 to {2 * self._limits.opening:g}"
            )
        self._limit_effort(wanted.max_effort if wanted.max_effort > 0 else math.inf)
        here = self._instants.newest.setpoint[self._limits.joint]
        duration = max(abs(target - here) / self._limits.speed, 1e-3)
        trajectory = RobotTrajectory(
            joint_names=(self._limits.joint,), times=np.array([0.0, duration]), positions=np.array([[here], [target]])
        )
        command = self._motion.follow(trajectory)
        return target, command.start + duration, command

    def _outcome(self, kind: Any, instant: Instant, *, reached_goal: bool = False, stalled: bool = False) -> Any:
        """``GripperCommand.Result`` or ``Feedback`` at an instant."""
        return kind(
            position=2 * instant.positions[self._limits.joint],
            effort=abs(instant.efforts.get(self._limits.joint, math.nan)),
            stalled=stalled,
            reached_goal=reached_goal,
        )
