"""The simulated robot behind its ROS topics, actions and services."""

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Self, TypeVar

import numpy as np
import rclpy
from control_msgs.action import FollowJointTrajectory
from fourd_msgs.msg import SceneObjectArray
from rcl_interfaces.srv import SetParameters
from rclpy.action import ActionClient
from rclpy.node import Node
from rclpy.parameter import Parameter
from sensor_msgs.msg import CameraInfo, Image, JointState
from std_msgs.msg import String
from std_srvs.srv import Trigger

from fourd_ros.bridge.qos import LATCHED, RESULT
from fourd_ros.bridge.tf import TransformListener, make_transform_buffer
from fourd_ros.bridge.times import make_header, stamp_to_ns
from fourd_ros.bridge.trajectories import trajectory_to_message
from fourd_ros.data.episode_bag import OBJECTS_TOPIC
from fourd_ros.errors import FourdError
from fourd_ros.geometry.transforms import from_quaternion
from fourd_ros.nodes.executor import make_executor
from fourd_ros.nodes.observer import Observer, ObserverLimits
from fourd_ros.nodes.transport import use_large_messages
from fourd_ros.records import FloatArray, Observation, RobotTrajectory
from fourd_ros.robot.description import RobotDescription
from fourd_ros.robot.model import RobotModel

CAMERA = "front"
TIMEOUT = 60.0
"""Whatever is waited for comes sooner [s]."""

SLOW = 0.1
"""Simulated seconds per second while somebody thinks, whom every message would interrupt."""

SETTLE = 0.5
"""Simulated time after a reset until the scene is looked at [s]."""

STILL, PAUSE, LONGEST_ROLL = 5e-4, 0.4, 6.0
"""Objects are at rest that move less than this [m] in that time [s]; nobody waits longer for it than this [s]."""

NS = 1_000_000_000
Value = TypeVar("Value")


class RobotUnavailable(FourdError):
    """The simulation node did not do what it was asked for."""

    kind = "robot_unavailable"


class PushRobot:
    """What a robot stack keeps of the topics of a running simulation, and how it sends commands.

    Args:
        node: that somebody spins in another thread.
        real_time_factor: simulated seconds per second, 0 for as fast as it goes.
    """

    def __init__(self, node: Node, *, real_time_factor: float) -> None:
        self._node, self._real_time_factor = node, real_time_factor
        self._description: list[str] = []
        self._objects: SceneObjectArray | None = None
        transforms = make_transform_buffer()
        self._observer = Observer(cameras=(CAMERA,), use_depth=True, transforms=transforms, limits=ObserverLimits())
        self._listener = TransformListener(node, transforms)
        for kind in ("image", "depth"):
            node.create_subscription(Image, f"{CAMERA}/{kind}", partial(self._observer.add_image, CAMERA, kind), RESULT)
        node.create_subscription(CameraInfo, f"{CAMERA}/camera_info", partial(self._observer.add_info, CAMERA), RESULT)
        node.create_subscription(JointState, "joint_states", self._observer.add_joints, RESULT)
        node.create_subscription(SceneObjectArray, OBJECTS_TOPIC, self._take_objects, RESULT)
        node.create_subscription(String, "robot_description", lambda m: self._description.append(m.data), LATCHED)
        self._parameters: Any = node.create_client(SetParameters, "simulation/set_parameters")
        self._reset: Any = node.create_client(Trigger, "simulation/reset")
        self._arm: Any = ActionClient(node, FollowJointTrajectory, "arm_controller/follow_joint_trajectory")

    @classmethod
    @contextmanager
    def simulated(cls, *, real_time_factor: float, log: Path) -> Iterator[Self]:
        """The robot of a simulation node in a process of its own.

        Args:
            real_time_factor: simulated seconds per second, 0 for as fast as it goes.
            log: where that process writes to.
        """
        use_large_messages()
        settings = {
            "cameras": f"[{CAMERA}]",
            "task": "push",
            "real_time_factor": str(real_time_factor),
            "simulation.image_rate": "5.0",
        }
        words = [word for name, value in settings.items() for word in ("--set", f"{name}:={value}")]
        command = [sys.executable, "-m", "fourd_ros.cli", "bringup", "simulation", *words]
        with log.open("wb") as output, _running(command, output), rclpy.init(args=[]):
            use_sim_time = Parameter("use_sim_time", value=True)
            node = Node("push_planner", parameter_overrides=[use_sim_time], use_global_arguments=False)
            robot = cls(node, real_time_factor=real_time_factor)  # before spinning: rclpy looks into half-made clients
            with _spinning(node):
                yield robot

    def model(self) -> RobotModel:
        """The robot that is described."""
        self._wait(lambda: self._description, "robot_description")
        return RobotModel(RobotDescription.from_urdf(self._description[-1]))

    def show(self, seed: int) -> None:
        """Begin with the scene of `seed`."""
        self._wait(self._now, "/clock")
        self._set("seed", seed)
        answer = self._call(self._reset, Trigger.Request())
        if not answer.success:
            raise RobotUnavailable(f"no scene of seed {seed}: {answer.message}")
        self._objects = None
        began = self._now()
        self._wait(lambda: self._now() > began + SETTLE * NS, "time to pass")

    @contextmanager
    def slowed(self) -> Iterator[None]:
        """The simulation takes its time."""
        self._set("real_time_factor", SLOW)
        try:
            yield
        finally:
            self._set("real_time_factor", self._real_time_factor)

    def observe(self, robot: RobotModel) -> Observation:
        """What the camera sees from now on."""
        now = self._now()
        stamps = self._wait(lambda: [s for s in self._observer.stamps() if s >= now], f"images of {CAMERA}")
        return self._observer.observe(robot, stamp_ns=stamps[0], timeout=TIMEOUT)

    def carry_out(self, motion: RobotTrajectory) -> None:
        """Move so, and wait until the arm stands still, wherever it got to."""
        if not self._arm.wait_for_server(TIMEOUT):
            raise RobotUnavailable("nobody offers arm_controller/follow_joint_trajectory")
        message = trajectory_to_message(motion, make_header(0, ""))
        handle = self._result(self._arm.send_goal_async(FollowJointTrajectory.Goal(trajectory=message)), "acceptance")
        if not handle.accepted:
            raise RobotUnavailable("the arm controller did not accept the motion")
        result = self._result(handle.get_result_async(), "the end of the motion").result
        if result.error_code not in (result.SUCCESSFUL, result.GOAL_TOLERANCE_VIOLATED):
            raise RobotUnavailable(f"the arm controller refused the motion: {result.error_string}")

    def objects_at_rest(self) -> dict[str, FloatArray]:
        """``T_world_object`` by name, where each truly is once nothing moves any more."""
        give_up = self._now() + LONGEST_ROLL * NS
        before = self.objects()
        while True:
            after = self.objects(later=PAUSE)
            ways = [np.linalg.norm((after[name] - before[name])[:3, 3]) for name in after]
            if max(ways, default=0.0) < STILL or self._now() > give_up:
                return after
            before = after

    def objects(self, *, later: float = 0.0) -> dict[str, FloatArray]:
        """``T_world_object`` by name, where each truly is, so much later than now [s]."""
        due = self._now() + later * NS
        message = self._wait(lambda: self._objects_since(due), OBJECTS_TOPIC)
        return {item.id: _pose(item.pose.pose) for item in message.objects}

    def _take_objects(self, message: SceneObjectArray) -> None:
        self._objects = message

    def _objects_since(self, stamp_ns: float) -> SceneObjectArray | None:
        newest = self._objects
        return newest if newest is not None and stamp_to_ns(newest.header.stamp) >= stamp_ns else None

    def _now(self) -> int:
        return int(self._node.get_clock().now().nanoseconds)

    def _set(self, name: str, value: float) -> None:
        parameter = Parameter(name, value=value).to_parameter_msg()
        answer = self._call(self._parameters, SetParameters.Request(parameters=[parameter])).results[0]
        if not answer.successful:
            raise RobotUnavailable(f"the simulation does not take {name} {value}: {answer.reason}")

    def _call(self, client: Any, request: Any) -> Any:
        if not client.wait_for_service(TIMEOUT):
            raise RobotUnavailable(f"nobody offers {client.srv_name}")
        return self._result(client.call_async(request), client.srv_name)

    def _result(self, future: Any, what: str) -> Any:
        self._wait(future.done, what)
        return future.result()

    def _wait(self, condition: Callable[[], Value | None], what: str) -> Value:
        give_up = time.monotonic() + TIMEOUT
        while not (value := condition()):
            if time.monotonic() > give_up:
                raise RobotUnavailable(f"no {what} within {TIMEOUT:.0f} s; the log of the simulation may say why")
            time.sleep(0.005)
        return value


@contextmanager
def _running(command: list[str], output: Any) -> Iterator[None]:
    process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
    try:
        yield
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(TIMEOUT)
        except subprocess.TimeoutExpired:
            process.kill()


@contextmanager
def _spinning(node: Node) -> Iterator[None]:
    """The node is served by another thread, and gone in the end."""
    executor = make_executor()
    executor.add_node(node)
    thread = threading.Thread(target=executor.spin, daemon=True)
    thread.start()
    try:
        yield
    finally:
        executor.shutdown(5.0)
        thread.join(5.0)
        node.destroy_node()


def _pose(pose: Any) -> FloatArray:
    at, turned = pose.position, pose.orientation
    return from_quaternion(np.array([at.x, at.y, at.z]), np.array([turned.x, turned.y, turned.z, turned.w]))
