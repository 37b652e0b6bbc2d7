"""What nodes that stand in for a robot share: ticks of ROS time, the pace, commands, pause and single steps."""

import math
import time
from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from rclpy.callback_groups import ReentrantCallbackGroup
from std_srvs.srv import SetBool, Trigger

from fourd_ros.bridge.clock import CLOCK_TOPIC
from fourd_ros.bridge.parameters import parameter
from fourd_ros.errors import ClockConflict, FourdError, NotActive
from fourd_ros.nodes.arm_controller import ArmController, ArmLimits
from fourd_ros.nodes.base import FourdNode, NodeParameters
from fourd_ros.nodes.commanded_motion import CommandedMotion
from fourd_ros.nodes.gripper_controller import GripperController, GripperLimits
from fourd_ros.nodes.instants import Instants
from fourd_ros.nodes.position_commands import PositionArrays, PositionCommands
from fourd_ros.robot.kinematics import Kinematics

MAX_LATENESS = 0.2
"""A robot that is further behind its schedule than this does not hurry to catch up [s]."""

CLOCK_CHECK_PERIOD = 1.0


@dataclass(frozen=True, kw_only=True)
class RobotParameters(NodeParameters):
    """Parameters of a node that stands in for a robot."""

    state_rate: float = parameter(
        50.0,
        "ticks, joint_states, /tf and /clock per second of ROS time [Hz]",
        minimum=1.0,
        maximum=250.0,
        read_only=True,
    )
    image_rate: float = parameter(10.0, "images per second of ROS time [Hz]", minimum=0.1, maximum=250.0)
    real_time_factor: float = parameter(
        1.0, "seconds of ROS time per second, 0 for as fast as it goes", minimum=0.0, maximum=100.0
    )
    speed_tolerance: float = parameter(
        1.1, "factor on the joint speed limits of commands", minimum=0.1, maximum=10.0, fixed_while="active"
    )
    goal_tolerance: float = parameter(
        0.02, "of a goal that names none, per joint [rad]", minimum=1e-4, maximum=1.0, fixed_while="active"
    )
    goal_time_tolerance: float = parameter(
        1.0, "of a goal that names none [s]", minimum=0.0, maximum=60.0, fixed_while="active"
    )
    gripper_speed: float = parameter(0.1, "of each finger [m/s]", minimum=0.001, maximum=0.2, fixed_while="active")
    position_joints: tuple[str, ...] = parameter(
        (),
        "joints in the arrays of position commands; empty: all, in the order of joint_states",
        fixed_while="active",
    )


class RobotNode(FourdNode):
    """A node that stands in for a robot and makes ROS time.

    Its worker thread runs one tick after the other. ROS time goes on over resets and deactivation.
    """

    Parameters = RobotParameters
    parameters: RobotParameters

    def __init__(self, name: str, **options: Any) -> None:
        super().__init__(name, **options)
        self._tick_ns = round(1e9 / self.parameters.state_rate)
        self._ticks = self._first_tick = 0
        self._speed = math.nan
        self._clock_conflict = False

    # Hook.

    @abstractmethod
    def tick(self) -> None:
        """It is `now_ns`: move the robot there and publish what is measured (on the worker's thread)."""

    # What subclasses use.

    @property
    def period(self) -> float:
        """Of a tick [s]."""
        return self._tick_ns * 1e-9

    @property
    def now_ns(self) -> int:
        """ROS time; 0 means unset there, so the first tick is at one period."""
        return self._ticks * self._tick_ns

    @property
    def ticks_per_image(self) -> int:
        """Ticks from one image to the next."""
        return max(round(self.parameters.state_rate / self.parameters.image_rate), 1)

    @property
    def elapsed(self) -> float:
        """Time since the first tick after a restart [s]."""
        return (self._ticks - self._first_tick) * self.period

    @property
    def images_are_due(self) -> bool:
        """Whether this tick has images; the first one after a restart does."""
        return (self._ticks - self._first_tick) % self.ticks_per_image == 0

    def make_time(self) -> None:
        """Prepare the worker `world` and what controls it; nothing ticks before `run_time`."""
        self._runs = self._paused = False
        self.world = self.worker("world")
        group = ReentrantCallbackGroup()
        self.serve(SetBool, "~/pause", self._on_pause, group=group)
        self.serve(Trigger, "~/step", self._on_step, group=group)
        self.every(CLOCK_CHECK_PERIOD, self._check_clock)

    def run_time(self) -> None:
        """Tick from now on, unless it is paused (on the worker's thread)."""
        self._runs = True
        self._due = time.monotonic()
        if not self._paused:
            self.world.submit(self._go_on)

    def restart(self) -> None:
        """Tick at once, the first time in a new scene (on the worker's thread)."""
        self._first_tick = self._ticks + 1
        self._advance()

    def accept_commands(
        self,
        motion: CommandedMotion,
        instants: Instants,
        *,
        kinematics: Kinematics,
        gripper: tuple[str, float] | None,
        limit_effort: Callable[[float], None] = lambda effort: None,
    ) -> None:
        """Take trajectories, gripper commands and position commands.

        Args:
            motion: takes what was commanded.
            instants: tell what became of it.
            kinematics: of the robot.
            gripper: its finger joint and greatest position [m]; None for a robot without a gripper that is known.
            limit_effort: sets the greatest effort of the finger servo [N].
        """
        settings = self.parameters
        arm = ArmLimits(
            speed_tolerance=settings.speed_tolerance,
            goal_tolerance=settings.goal_tolerance,
            goal_time_tolerance=settings.goal_time_tolerance,
        )
        ArmController(self, motion, instants, kinematics=kinematics, limits=arm)
        PositionCommands(self, motion, instants, arrays=PositionArrays(kinematics, settings.position_joints))
        if gripper is not None:
            joint, opening = gripper
            limits = GripperLimits(joint=joint, opening=opening, speed=settings.gripper_speed)
            GripperController(self, motion, instants, limits=limits, limit_effort=limit_effort)

    @property
    def times(self) -> Mapping[str, object]:
        """Key-values about time, for ``status``."""
        return {"simulated_seconds": f"{self.now_ns * 1e-9:.2f}", "real_time_factor": f"{self._speed:.2f}"}

    # On the worker's thread.

    def _go_on(self) -> None:
        if self._paused:
            return
        try:
            self._advance()
        finally:
            self._keep_pace()
            self.world.submit(self._go_on)

    def _advance(self) -> None:
        self._ticks += 1
        self.tick()

    def _keep_pace(self) -> None:
        """Wait until the next tick is due; one that comes much too late moves the whole schedule."""
        factor, began = self.parameters.real_time_factor, self._due
        if factor > 0:
            self._due += self.period / factor
            self.world.wait(max(self._due - time.monotonic(), 0.0))
        now = time.monotonic()
        if factor == 0 or now - self._due > MAX_LATENESS:
            self._due = now
        self._speed = self._smoothed(self.period / max(self._due - began, 1e-6))

    def _smoothed(self, speed: float) -> float:
        return speed if math.isnan(self._speed) else self._speed + 0.02 * (speed - self._speed)

    def _set_paused(self, paused: bool) -> None:
        resumes = self._runs and self._paused and not paused
        self._paused = paused
        if resumes:
            self.run_time()

    def _step(self) -> None:
        """All ticks up to the next images."""
        if not (self._runs and self._paused):
            raise NotActive("single steps are made while it is paused, after the first reset; call ~/pause first")
        self._advance()
        while not self.images_are_due:
            self._advance()

    # On threads of the executor.

    def _on_pause(self, request: SetBool.Request, response: SetBool.Response) -> SetBool.Response:
        return self.answer(response, lambda: self._set_paused(request.data), "paused" if request.data else "runs")

    def _on_step(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        return self.answer(response, self._step, "stepped")

    def answer(self, response: Any, job: Callable[[], object], message: str) -> Any:
        """`response` with ``success`` and ``message`` after the worker has done `job`."""
        try:
            self.world.call(job)
            response.success, response.message = True, message
        except FourdError as error:
            self.report(error)
            response.success, response.message = False, str(error)
        return response

    def _check_clock(self) -> None:
        """There must be one publisher of ``/clock``, and that is this node."""
        publishers = self.get_publishers_info_by_topic(CLOCK_TOPIC)
        others = sorted(p.node_name for p in publishers if p.node_name != self.get_name())
        conflict = len(publishers) > 1
        if conflict and not self._clock_conflict:
            self.report(ClockConflict(f"{CLOCK_TOPIC} is also published by {others or 'a second robot'}; stop it"))
        self._clock_conflict = conflict
