"""The live simulator node: a tabletop with a Panda behind the topics and actions of a real robot."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from rclpy.callback_groups import ReentrantCallbackGroup
from std_srvs.srv import Trigger

from fourd_ros.bridge.parameters import parameter
from fourd_ros.errors import FourdError
from fourd_ros.nodes.base import run
from fourd_ros.nodes.commanded_motion import CommandedMotion
from fourd_ros.nodes.instants import Instant, Instants
from fourd_ros.nodes.robot_node import RobotNode, RobotParameters
from fourd_ros.nodes.robot_topics import MountedCamera, Picture, RobotTopics
from fourd_ros.nodes.true_objects import TrueObjects
from fourd_ros.robot.kinematics import Kinematics
from fourd_ros.robot.panda import panda_description
from fourd_ros.simulation.cameras import CAMERA_NAMES
from fourd_ros.simulation.controller import ARM_JOINTS, FINGER_OPEN
from fourd_ros.simulation.model import FINGER_JOINT, SERVOS
from fourd_ros.simulation.scene import SceneSpec, sample_scene
from fourd_ros.simulation.simulator import Simulator
from fourd_ros.simulation.tasks import TASK_KINDS, sample_task, task_kind


@dataclass(frozen=True, kw_only=True)
class SimulationParameters(RobotParameters):
    """Parameters of the simulation node."""

    task: str = parameter("push", "what the scene is made for; takes effect at ~/reset", choices=tuple(TASK_KINDS))
    seed: int = parameter(0, "of the scene; takes effect at ~/reset", minimum=0, maximum=2**31 - 1)
    cameras: tuple[str, ...] = parameter(
        CAMERA_NAMES, "cameras of the scene", choices=CAMERA_NAMES, fixed_while="configured"
    )
    image_width: int = parameter(128, "columns of the images", minimum=8, maximum=2048, fixed_while="configured")
    image_height: int = parameter(128, "rows of the images", minimum=8, maximum=2048, fixed_while="configured")
    shadows: bool = parameter(True, "cast shadows in the images", fixed_while="configured")


class SimulationNode(RobotNode):
    """Lifecycle node ``simulation``: a tabletop in MuJoCo with the topics, actions and frames of a real robot.

    The worker thread owns the physics and the OpenGL context; every tick is one of its jobs.
    """

    Parameters = SimulationParameters
    parameters: SimulationParameters

    def __init__(self, **options: Any) -> None:
        super().__init__("simulation", **options)
        self._instruction = ""

    def load(self) -> None:
        settings = self.parameters
        self._description = panda_description()
        self._kinematics = Kinematics(self._description)
        self._simulator = Simulator(
            self._scene(), width=settings.image_width, height=settings.image_height, shadows=settings.shadows
        )

    def start(self) -> None:
        self._motion = CommandedMotion(
            (ARM_JOINTS, (FINGER_JOINT,)), self._simulator.commanded_positions(), now=self.now_ns * 1e-9
        )
        self._instants = Instants(self._measure())
        self._topics = RobotTopics(self, description=self._description, kinematics=self._kinematics)
        self._objects = TrueObjects(self)
        self.accept_commands(
            self._motion,
            self._instants,
            kinematics=self._kinematics,
            gripper=(FINGER_JOINT, FINGER_OPEN),
            limit_effort=lambda effort: self.world.call(partial(self._limit_finger_effort, effort)),
        )
        self.serve(Trigger, "~/reset", self._on_reset, group=ReentrantCallbackGroup())
        self.make_time()
        self.world.call(self._open)

    def stop(self) -> None:
        self._instants.close()
        self.world.call(self._simulator.close)
        self.world.stop()

    def unload(self) -> None:
        del self._simulator, self._description, self._kinematics

    def status(self) -> Mapping[str, object]:
        return {"task": self._instruction, **self.times}

    # On the worker's thread.

    def tick(self) -> None:
        self._simulator.command(*self._motion.setpoint(self.now_ns * 1e-9))
        self._simulator.step(self.period)
        instant = self._measure()
        self._topics.publish_state(instant)
        if self.images_are_due:
            self._topics.publish_views(self._look, instant.stamp_ns)
            self._objects.publish(self._simulator, instant.stamp_ns)
        self._instants.put(instant)

    def _open(self) -> None:
        """See that images can be rendered, and begin to tick."""
        self._simulator.render(self._simulator.camera_names[0])
        self._topics.publish_still(self._cameras(), self.now_ns)
        self.run_time()

    def _measure(self) -> Instant:
        return Instant(
            stamp_ns=self.now_ns,
            positions=self._simulator.joint_positions(),
            velocities=self._simulator.joint_velocities(),
            efforts=self._simulator.joint_efforts(),
            setpoint=self._simulator.commanded_positions(),
        )

    def _look(self, camera: str) -> Picture:
        image = self._simulator.render(camera)
        return Picture(rgb=image.rgb, depth=image.depth)

    def _cameras(self) -> dict[str, MountedCamera]:
        specs = {name: self._simulator.camera_spec(name) for name in self._simulator.camera_names}
        return {
            name: MountedCamera(
                camera=self._simulator.camera(name), T_mount_camera=spec.pose, mounted_on=spec.mounted_on
            )
            for name, spec in specs.items()
        }

    def _reset(self, spec: SceneSpec) -> None:
        self._simulator.reset(None if spec == self._simulator.spec else spec)
        self._motion.reset(self._simulator.commanded_positions())
        self._topics.publish_still(self._cameras(), self.now_ns)

    def _limit_finger_effort(self, effort: float) -> None:
        greatest = min(effort, SERVOS[FINGER_JOINT][2])
        self._simulator.model.actuator(FINGER_JOINT).forcerange[:] = (-greatest, greatest)

    # On threads of the executor.

    def _scene(self) -> SceneSpec:
        settings = self.parameters
        options = replace(task_kind(settings.task).options, cameras=settings.cameras)
        spec = sample_scene(settings.seed, options)
        self._instruction = sample_task(settings.task, spec, seed=settings.seed).instruction
        return spec

    def _on_reset(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        try:
            spec = self._scene()
        except FourdError as error:
            self.report(error)
            response.success, response.message = False, str(error)
            return response
        return self.answer(response, lambda: self._reset(spec), self._instruction)


def main(args: list[str] | None = None) -> int:
    """Entry point of ``ros2 run fourd_ros simulation``."""
    return run(SimulationNode, args)
