"""A policy that is a ROS node running elsewhere: it is shown one instant after the other, and answers with commands."""

import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

from trajectory_msgs.msg import JointTrajectory

from fourd_ros.bridge.times import seconds_to_ns, stamp_to_ns
from fourd_ros.bridge.trajectories import trajectory_from_message
from fourd_ros.errors import InvalidConfig, InvalidInput, PolicyFailed
from fourd_ros.evaluation.policy.trial_setup import shared_robot
from fourd_ros.geometry.pointmap import depth_of
from fourd_ros.nodes.instants import Instant
from fourd_ros.nodes.policy_line import Command, LineNames, PolicyLine, open_line
from fourd_ros.nodes.position_commands import PositionArrays
from fourd_ros.nodes.robot_topics import Picture, mounted_cameras
from fourd_ros.policies.base import Assignment, Contract, Policy
from fourd_ros.policies.options_file import made_from_file
from fourd_ros.records import Observation, RobotTrajectory
from fourd_ros.robot.model import RobotModel
from fourd_ros.simulation.tasks import PickPlace, Push, Reach, Task


class RosPolicy(Policy):
    """Asks a ROS node, in lockstep: ROS time stands still until it has answered.

    What the world shows is published as a robot publishes it, all with one stamp; the first command after it is the
    answer. A trajectory may be stamped with 0 or with any ROS time from the observation on; older ones answer an
    earlier question and are passed over. A command without points, or an empty array, means that nothing more is to be
    done.

    Args:
        name: by which it is known in results.
        names: of topics and services.
        robot: that it drives.
        cameras: that the node listens to.
        joints: whose positions it needs from ``joint_states``.
        size: width and height of its images [px]; None for any.
        period: time from one answer to the next question [s]; None for one answer for the whole episode.
        position_joints: in the order of position arrays; empty for all, in the order of ``joint_states``.
        answer_limit: time for an answer [s].
        connect_limit: time until the node must be there, before each episode [s].

    Raises:
        InvalidConfig: the node would be told nothing, or a number is not positive.
        InvalidJoints: `position_joints` that the robot does not have.
    """

    def __init__(
        self,
        name: str,
        *,
        names: LineNames,
        robot: RobotModel,
        cameras: Sequence[str] = (),
        joints: Sequence[str] = (),
        size: tuple[int, int] | None = None,
        period: float | None = 0.5,
        position_joints: Sequence[str] = (),
        answer_limit: float = 10.0,
        connect_limit: float = 10.0,
    ) -> None:
        super().__init__(name)
        if not (cameras or joints):
            raise InvalidConfig(f"'{name}' names neither cameras nor joints, so nothing would tell it of the world")
        if period is not None and period <= 0:
            raise InvalidConfig(f"'{name}' has a period of {period:g} s; needed is more than 0, or null")
        self.contract = Contract(
            cameras=tuple(cameras), depth=bool(cameras), size=size, joints=tuple(joints), period=period
        )
        self._names, self._robot = names, robot
        self._arrays = PositionArrays(robot.kinematics, position_joints)
        self._answer_limit, self._connect_limit = answer_limit, connect_limit
        self._open = ExitStack()
        self._line: PolicyLine | None = None
        self._origin_ns = 0
        self._is_new = False

    def begin(self, assignment: Assignment) -> None:
        """Tells the node of a new episode, as soon as it is there.

        Raises:
            NoSubscriber: no node listens and commands.
            PolicyFailed: its reset service fails.
        """
        line = self._line = self._line or self._opened()
        line.wait_for_policy(limit=self._connect_limit)
        line.reset_policy(limit=self._connect_limit)
        self._origin_ns, self._is_new = _time.next_episode(), True
        line.tell(assignment.instruction, _place(assignment.goal), self._origin_ns)

    def act(self, observation: Observation, *, elapsed: float) -> RobotTrajectory | None:
        """Shows the node what there is now, and waits for its command.

        Raises:
            PolicyFailed: no command in time, or one that makes no sense.
        """
        if self._line is None:
            raise PolicyFailed(f"'{self.name}' is asked before an episode began")
        seen = replace(observation, views={name: observation.views[name] for name in self.contract.cameras})
        stamp_ns = _time.at(self._origin_ns, elapsed)
        if self._is_new:
            self._line.show_cameras(mounted_cameras(self._robot, seen), stamp_ns)
            self._is_new = False
        instant = Instant(
            stamp_ns=stamp_ns, positions=observation.joint_positions, velocities={}, efforts={}, setpoint={}
        )
        command = self._line.ask(instant, lambda camera: _picture(seen, camera), limit=self._answer_limit)
        try:
            return self._motion(command, seen, stamp_ns)
        except InvalidInput as error:
            raise PolicyFailed(f"its command makes no sense: {error}") from error

    def close(self) -> None:
        """Ends the line; the node goes on."""
        self._line = None
        self._open.close()

    def _opened(self) -> PolicyLine:
        line = open_line(robot=self._robot, names=self._names, cameras=self.contract.cameras)
        return self._open.enter_context(line)

    def _motion(self, command: Command, seen: Observation, stamp_ns: int) -> RobotTrajectory | None:
        if not isinstance(command, JointTrajectory):
            return self._arrays.motion(command.data, here=seen.joint_positions) if command.data else None
        if not command.points:
            return None
        motion = trajectory_from_message(command)
        start_ns = stamp_to_ns(command.header.stamp) or stamp_ns
        return replace(motion, times=motion.times + (start_ns - stamp_ns) * 1e-9)


def ros_policy(
    name: str,
    *,
    namespace: str = LineNames.namespace,
    command_topic: str = LineNames.command_topic,
    position_topic: str = LineNames.position_topic,
    reset_service: str = LineNames.reset_service,
    size: Sequence[int] | None = None,
    **options: Any,
) -> RosPolicy:
    """A `RosPolicy` from plain options, as they stand in a configuration: arguments of `LineNames` and `RosPolicy`.

    Raises:
        InvalidConfig: an option is unknown or wrong.
    """
    names = LineNames(
        namespace=namespace, command_topic=command_topic, position_topic=position_topic, reset_service=reset_service
    )
    if size is not None:
        width, height = size
        options["size"] = (width, height)
    return RosPolicy(name, names=names, robot=shared_robot(), **options)


def make_policy(detail: str, *, task: str) -> Policy:
    """``ros/FILE.json``: the arguments of `ros_policy` in a file."""
    return made_from_file(ros_policy, "ros", detail)


class _RosTime:
    """Stamps of all episodes of this process.

    Nodes outlive episodes and evaluations, so time never goes back: every episode begins at the time of day, or after
    the former one if that ran ahead of it.
    """

    _GAP_NS = seconds_to_ns(1.0)

    def __init__(self) -> None:
        self._newest_ns = 0

    def next_episode(self) -> int:
        """The first stamp of a new one [ns]."""
        self._newest_ns = max(time.time_ns(), self._newest_ns + self._GAP_NS)
        return self._newest_ns

    def at(self, origin_ns: int, elapsed: float) -> int:
        """The stamp `elapsed` [s] after the first one of an episode [ns]."""
        stamp_ns = origin_ns + seconds_to_ns(elapsed)
        self._newest_ns = max(self._newest_ns, stamp_ns)
        return stamp_ns


_time = _RosTime()


def _picture(observation: Observation, camera: str) -> Picture:
    view = observation.views[camera]
    return Picture(rgb=view.rgb, depth=depth_of(view.points))


def _place(goal: Task | None) -> tuple[float, ...] | None:
    """Where a task shall end [m], shape [3]; None where it has no place. What has only x and y lies on the table."""
    return (*goal.goal, 0.0)[:3] if isinstance(goal, (Reach, Push, PickPlace)) else None
