"""The live simulator node: a tabletop with a Panda behind the topics and actions of a real robot."""

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from rclpy.callback_groups import ReentrantCallbackGroup
from std_srvs.srv import Trigger

from fourd_ros.bridge.parameters import parameter
from fourd_ros.errors import ClockConflict, FourdError
from fourd_ros.nodes.arm_controller import ArmController, ArmLimits
from fourd_ros.nodes.base import FourdNode, NodeParameters, run
from fourd_ros.nodes.commanded_motion import CommandedMotion
from fourd_ros.nodes.gripper_controller import GripperController, GripperLimits
from fourd_ros.nodes.instants import Instant, Instants
from fourd_ros.nodes.simulated_topics import CLOCK_TOPIC, SimulatedTopics
from fourd_ros.robot.kinematics import Kinematics
from fourd_ros.robot.panda import panda_description
from fourd_ros.simulation.cameras import CAMERA_NAMES
from fourd_ros.simulation.controller import ARM_JOINTS, FINGER_OPEN
from fourd_ros.simulation.model import FINGER_JOINT, SERVOS
from fourd_ros.simulation.scene import SceneSpec, sample_scene
from fourd_ros.simulation.simulator import Simulator
from fourd_ros.simulation.tasks import TASK_KINDS, sample_task, task_kind

MAX_LATENESS = 0.2
"""A simulation that is further behind than this does not hurry to catch up [s]."""

CLOCK_CHECK_PERIOD = 1.0


@dataclass(frozen=True, kw_only=True)
class SimulationParameters(NodeParameters):
    """Parameters of the simulation node."""

    task: str = parameter("push", "what the scene is made for; takes effect at ~/reset", choices=tuple(TASK_KINDS))
    seed: int = parameter(0, "of the scene; takes effect at ~/reset", minimum=0, maximum=2**31 - 1)
    cameras: tuple[str, ...] = parameter(
        CAMERA_NAMES, "cameras of the scene", choices=CAMERA_NAMES, fixed_while="configured"
    )
    image_width: int = parameter(128, "columns of the images", minimum=8, maximum=2048, fixed_while="configured")
    image_height: int = parameter(128, "rows of the images", minimum=8, maximum=2048, fixed_while="configured")
    shadows: bool = parameter(True, "cast shadows in the images", fixed_while="configured")
    state_rate: float = parameter(
        50.0,
        "ticks, joint_states, /tf and /clock per simulated second [Hz]",
        minimum=1.0,
        maximum=250.0,
        read_only=True,
    )
    image_rate: float = parameter(10.0, "images per simulated second [Hz]", minimum=0.1, maximum=250.0)
    real_time_factor: float = parameter(
        1.0, "simulated seconds per second, 0 for as fast as it goes", minimum=0.0, maximum=100.0
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


class SimulationNode(FourdNode):
    """Lifecycle node ``simulation``: a tabletop in MuJoCo with the topics, actions and frames of a real robot.

    The worker thread owns the physics and the OpenGL context; every tick is one of its jobs.
    ROS time goes on over resets and deactivation.
    """

    Parameters = SimulationParameters
    parameters: SimulationParameters

    def __init__(self, **options: Any) -> None:
        super().__init__("simulation", **options)
        self._instruction = ""
        self._tick_ns = round(1e9 / self.parameters.state_rate)
        self._ticks = 0
        self._speed = math.nan
        self._clock_conflict = False

    def load(self) -> None:
        settings = self.parameters
        self._description = panda_description()
        self._kinematics = Kinematics(self._description)
        self._simulator = Simulator(
            self._scene(), width=settings.image_width, height=settings.image_height, shadows=settings.shadows
        )

    def start(self) -> None:
        self._motion = CommandedMotion(
            (ARM_JOINTS, (FINGER_JOINT,)), self._simulator.commanded_positions(), now=self._now_ns * 1e-9
        )
        self._instants = Instants(self._look())
        self._topics = SimulatedTopics(
            self, description=self._description, kinematics=self._kinematics, cameras=self._simulator.camera_names
        )
        self._accept_commands()
        self.serve(Trigger, "~/reset", self._on_reset, group=ReentrantCallbackGroup())
        self.every(CLOCK_CHECK_PERIOD, self._check_clock)
        self._physics = self.worker("physics")
        self._physics.call(self._open)

    def stop(self) -> None:
        self._instants.close()
        self._physics.call(self._simulator.close)
        self._physics.stop()

    def unload(self) -> None:
        del self._simulator, self._description, self._kinematics

    def status(self) -> Mapping[str, object]:
        return {
            "task": self._instruction,
            "simulated_seconds": f"{self._now_ns * 1e-9:.2f}",
            "real_time_factor": f"{self._speed:.2f}",
        }

    # On the worker's thread.

    def _open(self) -> None:
        """See that images can be rendered, and begin to tick."""
        self._simulator.render(self._simulator.camera_names[0])
        self._topics.publish_still(self._simulator, self._now_ns)
        self._due = time.monotonic()
        self._physics.submit(self._tick)

    def _tick(self) -> None:
        try:
            self._ticks += 1
            self._simulator.command(*self._motion.setpoint(self._now_ns * 1e-9))
            self._simulator.step(self._tick_ns * 1e-9)
            instant = self._look()
            self._topics.publish_state(instant)
            if self._images_are_due():
                self._topics.publish_views(self._simulator, instant.stamp_ns)
                self._topics.publish_objects(self._simulator, instant.stamp_ns)
            self._instants.put(instant)
        finally:
            self._keep_pace()
            self._physics.submit(self._tick)

    def _look(self) -> Instant:
        return Instant(
            stamp_ns=self._now_ns,
            positions=self._simulator.joint_positions(),
            velocities=self._simulator.joint_velocities(),
            efforts=self._simulator.joint_efforts(),
            setpoint=self._simulator.commanded_positions(),
        )

    def _images_are_due(self) -> bool:
        ticks = max(round(self.parameters.state_rate / self.parameters.image_rate), 1)
        return self._ticks % ticks == 0

    def _keep_pace(self) -> None:
        """Wait until the next tick is due; one that comes much too late moves the whole schedule."""
        factor, began = self.parameters.real_time_factor, self._due
        if factor > 0:
            self._due += self._tick_ns * 1e-9 / factor
            self._physics.wait(max(self._due - time.monotonic(), 0.0))
        now = time.monotonic()
        if factor == 0 or now - self._due > MAX_LATENESS:
            self._due = now
        self._speed = self._smoothed(self._tick_ns * 1e-9 / max(self._due - began, 1e-6))

    def _smoothed(self, speed: float) -> float:
        return speed if math.isnan(self._speed) else self._speed + 0.02 * (speed - self._speed)

    def _reset(self, spec: SceneSpec) -> None:
        self._simulator.reset(None if spec == self._simulator.spec else spec)
        self._motion.reset(self._simulator.commanded_positions())
        self._topics.publish_still(self._simulator, self._now_ns)

    def _limit_finger_effort(self, effort: float) -> None:
        greatest = min(effort, SERVOS[FINGER_JOINT][2])
        self._simulator.model.actuator(FINGER_JOINT).forcerange[:] = (-greatest, greatest)

    # On threads of the executor.

    @property
    def _now_ns(self) -> int:
        """ROS time; 0 means unset there, so the first tick is at one period."""
        return self._ticks * self._tick_ns

    def _scene(self) -> SceneSpec:
        settings = self.parameters
        options = replace(task_kind(settings.task).options, cameras=settings.cameras)
        spec = sample_scene(settings.seed, options)
        self._instruction = sample_task(settings.task, spec, seed=settings.seed).instruction
        return spec

    def _accept_commands(self) -> None:
        settings = self.parameters
        ArmController(
            self,
            self._motion,
            self._instants,
            kinematics=self._kinematics,
            limits=ArmLimits(
                speed_tolerance=settings.speed_tolerance,
                goal_tolerance=settings.goal_tolerance,
                goal_time_tolerance=settings.goal_time_tolerance,
            ),
        )
        GripperController(
            self,
            self._motion,
            self._instants,
            limits=GripperLimits(joint=FINGER_JOINT, opening=FINGER_OPEN, speed=settings.gripper_speed),
            limit_effort=lambda effort: self._physics.call(partial(self._limit_finger_effort, effort)),
        )

    def _on_reset(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        try:
            spec = self._scene()
            self._physics.call(lambda: self._reset(spec))
            response.success, response.message = True, self._instruction
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
            self.report(ClockConflict(f"{CLOCK_TOPIC} is also published by {others or 'a second simulation'}; stop it"))
        self._clock_conflict = conflict


def main(args: list[str] | None = None) -> int:
    """Entry point of ``ros2 run fourd_ros simulation``."""
    return run(SimulationNode, args)
