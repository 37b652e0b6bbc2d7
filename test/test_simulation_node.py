"""The live simulator in a process of its own, driven over topics, actions and services."""

import subprocess
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from action_msgs.msg import GoalStatus
from builtin_interfaces.msg import Time
from conftest import OtherProcess, node_command, ros_context, spinning
from control_msgs.action import FollowJointTrajectory, GripperCommand
from control_msgs.msg import JointTolerance
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.action import ActionClient
from rclpy.node import Node
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CameraInfo, Image, JointState
from std_msgs.msg import Float64MultiArray, String
from std_srvs.srv import SetBool, Trigger
from tf2_msgs.msg import TFMessage
from trajectory_msgs.msg import JointTrajectory

from fourd_ros.bridge.cameras import camera_from_info
from fourd_ros.bridge.images import depth_to_metres, image_to_rgb
from fourd_ros.bridge.qos import LATCHED, RESULT, static_transform_qos, transform_qos
from fourd_ros.bridge.tf import TransformBuffer
from fourd_ros.bridge.times import make_header, seconds_to_duration, stamp_to_ns
from fourd_ros.bridge.trajectories import trajectory_to_message
from fourd_ros.errors import TransformUnavailable
from fourd_ros.nodes.position_commands import POSITION_TOPIC
from fourd_ros.records import RobotTrajectory
from fourd_ros.robot.description import RobotDescription
from fourd_ros.robot.kinematics import Kinematics
from fourd_ros.simulation.model import ROBOT_ROOT

CAMERAS = ("front", "wrist")
FollowResult = FollowJointTrajectory.Result


@pytest.fixture(scope="module")
def simulation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OtherProcess]:
    """One simulator for all tests here, quicker than real time."""
    command = node_command(
        "fourd_ros.nodes.simulation:SimulationNode",
        cameras="[front, wrist]",
        image_width=64,
        image_height=48,
        real_time_factor=4.0,
        diagnostics_period=0.1,
    )
    process = OtherProcess(command, tmp_path_factory.mktemp("simulation") / "simulation.log", {})
    yield process
    try:
        assert process.interrupt() == 0
        assert "Traceback" not in process.output()
    except subprocess.TimeoutExpired:
        process.kill()
        raise
    finally:
        print(process.output())


class Stack:
    """What a robot stack keeps of the topics, and how it sends commands."""

    def __init__(self, node: Node, wait_for: Callable[..., Any]) -> None:
        self.node, self.wait_for = node, wait_for
        self.joints: list[JointState] = []
        self.clock: list[Clock] = []
        self.images: dict[str, dict[int, Any]] = {}
        self.description: list[str] = []
        self.counters: dict[str, str] = {}
        self.transforms = TransformBuffer()
        node.create_subscription(JointState, "joint_states", self.joints.append, RESULT)
        node.create_subscription(Clock, "/clock", self.clock.append, RESULT)
        node.create_subscription(String, "robot_description", lambda m: self.description.append(m.data), LATCHED)
        node.create_subscription(TFMessage, "/tf", lambda m: self._add(m, static=False), transform_qos())
        node.create_subscription(TFMessage, "/tf_static", lambda m: self._add(m, static=True), static_transform_qos())
        node.create_subscription(DiagnosticArray, "/diagnostics", self._diagnose, 10)
        for camera in CAMERAS:
            for kind, message in (("image", Image), ("depth", Image), ("camera_info", CameraInfo)):
                arrived = self.images.setdefault(f"{camera}/{kind}", {})
                node.create_subscription(
                    message, f"{camera}/{kind}", lambda m, a=arrived: a.update({stamp_to_ns(m.header.stamp): m}), RESULT
                )
        self.trajectory = node.create_publisher(JointTrajectory, "arm_controller/joint_trajectory", RESULT)
        self.positions = node.create_publisher(Float64MultiArray, POSITION_TOPIC, RESULT)
        self.arm = ActionClient(node, FollowJointTrajectory, "arm_controller/follow_joint_trajectory")
        self.resetting = node.create_client(Trigger, "simulation/reset")
        self.gripper = ActionClient(node, GripperCommand, "gripper_controller/gripper_cmd")

    def reset(self) -> None:
        """Back to the start, and forget what came before."""
        assert self.resetting.wait_for_service(timeout_sec=120)
        answer = self.resetting.call_async(Trigger.Request())
        self.wait_for(answer.done, "the reset")
        assert answer.result().success
        self.wait_for(lambda: self.trajectory.get_subscription_count() == 1, "the simulation")
        self.clock.clear()
        self.wait_for(lambda: len(self.clock) > 3, "what was on its way at the reset")
        for received in (self.joints, *self.images.values()):
            received.clear()

    def ask(self, kind: Any, name: str, request: Any) -> Any:
        """The response of another service of the simulation."""
        client = self.node.create_client(kind, f"simulation/{name}")
        assert client.wait_for_service(timeout_sec=120)
        answer = client.call_async(request)
        self.wait_for(answer.done, name)
        self.node.destroy_client(client)
        return answer.result()

    def _add(self, message: TFMessage, *, static: bool) -> None:
        for transform in message.transforms:
            self.transforms.add(transform, static=static)

    def _diagnose(self, message: DiagnosticArray) -> None:
        for status in message.status:
            if status.name.startswith("simulation"):
                self.counters = {pair.key: pair.value for pair in status.values}

    def position(self, joint: str) -> float:
        """The newest measured position."""
        self.wait_for(lambda: self.joints, "joint_states")
        newest = self.joints[-1]
        return float(newest.position[list(newest.name).index(joint)])

    def knows(self, target: str, source: str, stamp: int) -> bool:
        """TF of that stamp has arrived."""
        try:
            self.transforms.lookup(target, source, stamp)
        except TransformUnavailable:
            return False
        return True

    def send(self, trajectory: JointTrajectory, **options: Any) -> "Goal":
        """A FollowJointTrajectory goal that was accepted."""
        return Goal(self, self.arm, FollowJointTrajectory.Goal(trajectory=trajectory, **options))

    def grip(self, gap: float, effort: float = 0.0) -> "Goal":
        """A GripperCommand goal that was accepted."""
        goal = GripperCommand.Goal()
        goal.command.position, goal.command.max_effort = gap, effort
        return Goal(self, self.gripper, goal)

    def count(self, name: str) -> int:
        """A counter of the simulation's diagnostics."""
        self.wait_for(lambda: self.counters, "diagnostics")
        return int(self.counters.get(name, 0))


class Goal:
    """A goal on its way."""

    def __init__(self, stack: Stack, client: ActionClient, goal: Any) -> None:
        self.wait_for = stack.wait_for
        self.feedback: list[Any] = []
        assert client.wait_for_server(timeout_sec=120)
        sent = client.send_goal_async(goal, feedback_callback=lambda m: self.feedback.append(m.feedback))
        stack.wait_for(sent.done, "acceptance")
        self.handle = sent.result()
        assert self.handle.accepted
        self._result = self.handle.get_result_async()

    def outcome(self) -> tuple[int, Any]:
        """Status and result at the end."""
        self.wait_for(self._result.done, "the result of the goal")
        answer = self._result.result()
        return answer.status, answer.result


@pytest.fixture(scope="module")
def ros(simulation: OtherProcess) -> Iterator[Callable[..., Any]]:
    """One context for all tests here (discovery takes seconds), and what spins nodes in it."""
    with ros_context(), spinning() as spin:
        yield spin


@pytest.fixture(scope="module")
def shared_stack(ros: Callable[..., Any], wait_for: Callable[..., Any]) -> Stack:
    return Stack(ros(Node("stack")), wait_for)


@pytest.fixture
def stack(shared_stack: Stack) -> Stack:
    """A stack beside a simulation that stands at its start."""
    shared_stack.reset()
    return shared_stack


def move(seconds: float = 1.0, stamp: Time | None = None, **targets: float) -> JointTrajectory:
    """A trajectory with one point."""
    trajectory = RobotTrajectory(
        joint_names=tuple(targets), times=np.array([seconds]), positions=np.array([list(targets.values())])
    )
    message = trajectory_to_message(trajectory, make_header(0, ""))
    if stamp is not None:
        message.header.stamp = stamp
    return message


def test_everything_of_an_instant_carries_its_stamp_and_fits_together(stack: Stack, wait_for: Any) -> None:
    def complete() -> list[int]:
        """Stamps of everything; subscriptions are matched one after another, and a busy machine may lose a message."""
        images = (set(images) for images in stack.images.values())
        joints = {stamp_to_ns(message.header.stamp) for message in stack.joints}
        ticks = {stamp_to_ns(message.clock) for message in stack.clock}
        whole = sorted(set.intersection(joints, ticks, *images))[1:]
        return [stamp for stamp in whole if all(stack.knows(ROBOT_ROOT, link, stamp) for link in moving)]

    moving = ("panda_hand", "panda_rightfinger")
    stamp = wait_for(complete, "an instant with images of all kinds, joints, TF and time")[-1]
    wait_for(lambda: stack.joints and stamp_to_ns(stack.joints[-1].header.stamp) > stamp, "later joint states")
    ticks = [stamp_to_ns(message.clock) for message in stack.clock]
    assert ticks == sorted(set(ticks))
    wait_for(lambda: stack.description, "robot_description")
    kinematics = Kinematics(RobotDescription.from_urdf(stack.description[0]))
    joints = next(m for m in stack.joints if stamp_to_ns(m.header.stamp) == stamp)
    poses = kinematics.link_poses(kinematics.positions_from(dict(zip(joints.name, joints.position, strict=True))))
    for link in moving:
        looked_up = stack.transforms.lookup(kinematics.root, link, stamp)
        np.testing.assert_allclose(looked_up, poses[link], atol=1e-6)
    for camera in CAMERAS:
        info = stack.images[f"{camera}/camera_info"][stamp]
        image = stack.images[f"{camera}/image"][stamp]
        depth = depth_to_metres(stack.images[f"{camera}/depth"][stamp])
        assert info.header.frame_id == image.header.frame_id == f"{camera}_optical_frame"
        assert (camera_from_info(info).height, camera_from_info(info).width) == depth.shape == (48, 64)
        assert image_to_rgb(image).std() > 5
        assert np.nanmin(depth) > 0.01
        frame = info.header.frame_id
        wait_for(lambda frame=frame: stack.knows(ROBOT_ROOT, frame, stamp), "TF of the camera")


def test_the_topic_moves_the_robot(stack: Stack, wait_for: Any) -> None:
    start = stack.position("panda_joint1")
    stack.trajectory.publish(move(0.5, panda_joint1=start + 0.4, panda_finger_joint1=0.01))
    wait_for(lambda: abs(stack.position("panda_joint1") - start - 0.4) < 0.01, "the arm")
    wait_for(lambda: abs(stack.position("panda_finger_joint1") - 0.01) < 0.002, "the finger")


def test_an_array_of_positions_moves_every_joint(stack: Stack, wait_for: Any) -> None:
    wait_for(lambda: stack.joints, "joint_states")
    names, positions = list(stack.joints[-1].name), np.array(stack.joints[-1].position)
    goal = np.where(np.array(names) == "panda_finger_joint1", 0.015, positions + 0.1)
    stack.positions.publish(Float64MultiArray(data=goal.tolist()))
    for name, target in zip(names, goal.tolist(), strict=True):
        wait_for(lambda name=name, target=target: abs(stack.position(name) - target) < 0.01, name)


def test_time_can_be_held_and_let_go_by_images(stack: Stack, wait_for: Any) -> None:
    assert not stack.ask(Trigger, "step", Trigger.Request()).success
    assert stack.ask(SetBool, "pause", SetBool.Request(data=True)).success
    before = stamp_to_ns(stack.clock[-1].clock)
    assert stack.ask(Trigger, "step", Trigger.Request()).success
    stamp = wait_for(lambda: [one for one in stack.images["front/image"] if one > before], "an image")[0]
    assert stamp - before <= 100_000_000
    assert stack.ask(SetBool, "pause", SetBool.Request(data=False)).success
    wait_for(lambda: stamp_to_ns(stack.clock[-1].clock) > stamp + 200_000_000, "time to go on")


def test_an_action_succeeds_with_feedback(stack: Stack) -> None:
    target = stack.position("panda_joint1") - 0.3
    goal = stack.send(move(0.8, panda_joint1=target))
    status, result = goal.outcome()
    assert (status, result.error_code) == (GoalStatus.STATUS_SUCCEEDED, FollowResult.SUCCESSFUL)
    assert abs(stack.position("panda_joint1") - target) < 0.02
    assert len(goal.feedback) > 1
    assert list(goal.feedback[0].joint_names) == ["panda_joint1"]
    progress = [feedback.desired.positions[0] for feedback in goal.feedback]
    assert progress == sorted(progress, reverse=True)


def test_a_cancelled_action_holds_the_arm(stack: Stack, wait_for: Any) -> None:
    start = stack.position("panda_joint1")
    goal = stack.send(move(20.0, panda_joint1=start + 1.0))
    wait_for(lambda: stack.position("panda_joint1") > start + 0.05, "some motion")
    wait_for(goal.handle.cancel_goal_async().done, "the cancellation")
    status, _ = goal.outcome()
    assert status == GoalStatus.STATUS_CANCELED
    held = stack.counters["simulated_seconds"]
    wait_for(lambda: float(stack.counters["simulated_seconds"]) > float(held) + 1.0, "a second to pass")
    assert stack.position("panda_joint1") < start + 0.9
    assert abs(stack.joints[-1].velocity[0]) < 0.01


def test_a_newer_command_preempts(stack: Stack) -> None:
    start = stack.position("panda_joint1")
    older = stack.send(move(20.0, panda_joint1=start + 0.5))
    newer = stack.send(move(0.5, panda_joint1=start - 0.1))
    status, result = older.outcome()
    assert status == GoalStatus.STATUS_ABORTED
    assert "newer" in result.error_string
    assert newer.outcome()[0] == GoalStatus.STATUS_SUCCEEDED


def test_the_gripper_does_not_disturb_the_arm(stack: Stack) -> None:
    start = stack.position("panda_joint1")
    arm = stack.send(move(2.0, panda_joint1=start + 0.3))
    assert stack.grip(0.0).outcome()[0] == GoalStatus.STATUS_SUCCEEDED
    assert arm.outcome()[0] == GoalStatus.STATUS_SUCCEEDED


@pytest.mark.parametrize(
    ("trajectory", "code", "counter"),
    [
        (move(1.0, elbow=0.1), FollowResult.INVALID_JOINTS, "invalid_joints"),
        (move(1.0, panda_joint1=9.0), FollowResult.INVALID_GOAL, "joint_limit_exceeded"),
        (move(0.01, panda_joint1=2.0), FollowResult.INVALID_GOAL, "joint_limit_exceeded"),
        (JointTrajectory(), FollowResult.INVALID_GOAL, "invalid_trajectory"),
        (move(0.1, Time(nanosec=1), panda_joint1=0.0), FollowResult.OLD_HEADER_TIMESTAMP, "trajectory_too_old"),
    ],
)
def test_bad_goals_are_refused_with_a_code_and_a_counter(
    stack: Stack, wait_for: Any, trajectory: JointTrajectory, code: int, counter: str
) -> None:
    before = stack.count(counter)
    status, result = stack.send(trajectory).outcome()
    assert (status, result.error_code) == (GoalStatus.STATUS_ABORTED, code)
    assert result.error_string
    wait_for(lambda: stack.count(counter) == before + 1, f"the counter {counter}")


def test_tolerances_are_kept(stack: Stack) -> None:
    start = stack.position("panda_joint2")
    tight = [JointTolerance(name="panda_joint2", position=1e-7)]
    _, result = stack.send(move(2.0, panda_joint2=start + 0.5), path_tolerance=tight).outcome()
    assert result.error_code == FollowResult.PATH_TOLERANCE_VIOLATED
    late = seconds_to_duration(0.1)
    _, result = stack.send(
        move(0.5, panda_joint2=start + 0.1), goal_tolerance=tight, goal_time_tolerance=late
    ).outcome()
    assert result.error_code == FollowResult.GOAL_TOLERANCE_VIOLATED
    assert "panda_joint2" in result.error_string
    _, result = stack.send(move(0.5, panda_joint2=start), path_tolerance=[JointTolerance(name="x")]).outcome()
    assert result.error_code == FollowResult.INVALID_JOINTS


def test_the_gripper_closes_opens_and_refuses(stack: Stack, wait_for: Any) -> None:
    status, result = stack.grip(0.0).outcome()
    assert (status, result.reached_goal, result.stalled) == (GoalStatus.STATUS_SUCCEEDED, True, False)
    assert abs(result.position) < 0.005
    goal = stack.grip(0.08, effort=20.0)
    status, result = goal.outcome()
    assert (status, result.reached_goal) == (GoalStatus.STATUS_SUCCEEDED, True)
    assert abs(result.position - 0.08) < 0.005
    assert goal.feedback
    before = stack.count("joint_limit_exceeded")
    assert stack.grip(0.5).outcome()[0] == GoalStatus.STATUS_ABORTED
    wait_for(lambda: stack.count("joint_limit_exceeded") == before + 1)


def test_a_bad_message_is_counted_and_the_next_one_followed(stack: Stack, wait_for: Any) -> None:
    before = stack.count("invalid_trajectory")
    stack.trajectory.publish(JointTrajectory(joint_names=["panda_joint1"]))
    wait_for(lambda: stack.count("invalid_trajectory") == before + 1)
    target = stack.position("panda_joint1") + 0.2
    stack.trajectory.publish(move(0.5, panda_joint1=target))
    wait_for(lambda: abs(stack.position("panda_joint1") - target) < 0.02)


def test_reset_goes_back_to_the_start_while_the_clock_goes_on(stack: Stack, wait_for: Any) -> None:
    start = stack.position("panda_joint1")
    goal = stack.send(move(10.0, panda_joint1=start + 1.0))
    wait_for(lambda: stack.position("panda_joint1") > start + 0.05)
    before = stamp_to_ns(stack.clock[-1].clock)
    stack.reset()
    assert goal.outcome()[0] == GoalStatus.STATUS_ABORTED
    wait_for(lambda: abs(stack.position("panda_joint1") - start) < 1e-3, "the start")
    assert stamp_to_ns(stack.clock[0].clock) > before


def test_a_second_clock_is_reported(stack: Stack, ros: Callable[..., Any], wait_for: Any) -> None:
    before = stack.count("clock_conflict")
    rival = ros(Node("rival"))
    rival.create_publisher(Clock, "/clock", 10)
    wait_for(lambda: stack.count("clock_conflict") == before + 1)
    assert "rival" in stack.counters["last_error"]
