"""The imagined robot, driven over topics, actions and services as a robot would be."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from action_msgs.msg import GoalStatus
from conftest import OtherProcess, node_command, ros_context, spinning
from control_msgs.action import FollowJointTrajectory, GripperCommand
from fourd_msgs.srv import ResetImagination
from rclpy.action import ActionClient
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.node import Node
from rclpy.parameter import Parameter
from sensor_msgs.msg import CameraInfo, Image, JointState
from std_msgs.msg import Float64MultiArray
from std_srvs.srv import SetBool, Trigger
from trajectory_msgs.msg import JointTrajectory

pytest.importorskip("mujoco")

from fourd_ros.bridge.images import depth_to_metres, image_to_rgb
from fourd_ros.bridge.qos import RESULT
from fourd_ros.bridge.times import make_header, ns_to_stamp, stamp_to_ns
from fourd_ros.bridge.trajectories import trajectory_to_message
from fourd_ros.data.episode import Episode, save_episode
from fourd_ros.nodes.imagined_robot import ImaginedRobotNode
from fourd_ros.nodes.position_commands import POSITION_TOPIC
from fourd_ros.records import RobotTrajectory
from fourd_ros.simulation.recording import record, scene_options
from fourd_ros.simulation.scene import sample_scene
from fourd_ros.simulation.simulator import Simulator

Reset = ResetImagination.Request
Answer = ResetImagination.Response
SEED, NAME = 4, "push_start"
TICKS_PER_IMAGE = 4


@pytest.fixture(scope="module")
def episode() -> Episode:
    """The beginning of a push, as the simulator saw it."""
    options = scene_options(["push"], cameras=("front", "wrist"))
    with Simulator(sample_scene(SEED, options), width=64, height=64) as simulator:
        return record(simulator, ["push"], policy="expert", seed=SEED, rate=5.0, max_duration=1.0)


@pytest.fixture(scope="module")
def folder(episode: Episode, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where it is saved."""
    folder = tmp_path_factory.mktemp("starts")
    save_episode(episode, folder / f"{NAME}.npz")
    return folder


@pytest.mark.parametrize("robot", ["imagined", "simulated"])
def test_one_policy_drives_either_robot(robot: str, folder: Path, other_process: Any, wait_for: Any) -> None:
    brought_up = other_process(
        *("-m", "fourd_ros.cli", "bringup", "robot"),
        *("--set", f"robot:={robot}", "--set", "cameras:=[front]", "--set", "real_time_factor:=2"),
        *("--set", f"seed:={SEED}", "--set", "backend:=points"),
        *("--set", f"start:={NAME}", "--set", f"start_folders:=[{folder}]"),
        *(("--set", "simulation.image_width:=64") if robot == "simulated" else ()),
    )
    wait_for(lambda: "Control-C" in brought_up.output() or brought_up.process.poll() is not None, "the robot")
    policy = other_process(str(Path(__file__).parent / "policy_process.py"))
    assert policy.process.wait(240) == 0, policy.output()
    # rclpy may have a word of its own about what was still pending at the end.
    told = json.loads(next(line for line in policy.output().splitlines() if line.startswith("{")))
    assert told["images"] >= 3 and told["change"] > 1.0
    assert told["code"] == FollowJointTrajectory.Result.SUCCESSFUL and abs(told["away"]) < 0.03
    assert brought_up.interrupt() == 0
    assert "Traceback" not in brought_up.output()


@pytest.fixture(scope="module")
def ros() -> Iterator[Callable[..., Any]]:
    """One context for all tests here (discovery takes seconds), and what spins nodes in it."""
    with ros_context(), spinning() as spin:
        yield spin


class Stack:
    """What a robot stack keeps of the topics, how it sends commands, and how the test lets time pass."""

    def __init__(self, node: ImaginedRobotNode, client: Node, wait_for: Callable[..., Any]) -> None:
        self.robot, self.client, self.wait_for = node, client, wait_for
        self.images: dict[int, Image] = {}
        self.depths: dict[int, Image] = {}
        self.infos: dict[int, CameraInfo] = {}
        self.joints: dict[int, JointState] = {}
        for kept, kind, topic in (
            (self.images, Image, "front/image"),
            (self.depths, Image, "front/depth"),
            (self.infos, CameraInfo, "front/camera_info"),
            (self.joints, JointState, "joint_states"),
        ):
            client.create_subscription(kind, topic, lambda m, k=kept: k.update({stamp_to_ns(m.header.stamp): m}), 100)
        self.trajectory = client.create_publisher(JointTrajectory, "arm_controller/joint_trajectory", RESULT)
        self.positions = client.create_publisher(Float64MultiArray, POSITION_TOPIC, RESULT)
        self.arm = ActionClient(client, FollowJointTrajectory, "arm_controller/follow_joint_trajectory")
        self.gripper = ActionClient(client, GripperCommand, "gripper_controller/gripper_cmd")

    def call(self, kind: Any, name: str, request: Any) -> Any:
        """The response of a service of the robot."""
        service = self.client.create_client(kind, f"imagined_robot/{name}")
        assert service.wait_for_service(timeout_sec=120)
        answer = service.call_async(request)
        self.wait_for(answer.done, f"an answer of {name}")
        self.client.destroy_client(service)
        return answer.result()

    def reset(self, **request: Any) -> Any:
        """From the saved episode unless something else is said."""
        return self.call(ResetImagination, "reset", Reset(**({"source": Reset.EPISODE, "name": NAME} | request)))

    def begin(self, **request: Any) -> None:
        """A new scene in which time stands still; the topics of the robot are connected."""
        assert self.call(SetBool, "pause", SetBool.Request(data=True)).success
        answer = self.reset(**request)
        assert answer.error_code == Answer.NONE, answer.error_msg
        front = (f"/front/{kind}" for kind in ("image", "depth", "camera_info"))
        for topic in (*front, "/joint_states"):
            self.wait_for(lambda topic=topic: self._is_heard(topic), topic)
        self.wait_for(lambda: self.trajectory.get_subscription_count() and self.positions.get_subscription_count())
        assert self.reset(**request).error_code == Answer.NONE

    def _is_heard(self, topic: str) -> bool:
        return bool(self.client.count_publishers(topic) and self.robot.count_subscribers(topic))

    def step(self, count: int = 1) -> list[int]:
        """Let images come; their stamps."""
        stamps = []
        for _ in range(count):
            answer = self.call(Trigger, "step", Trigger.Request())
            assert answer.success, answer.message
            stamps.append(self.robot.now_ns)
        self.wait_for(lambda: stamps[-1] in self.joints, "the state of the last step")
        return stamps

    def told(self, publish: Callable[[], None]) -> None:
        """Send a command that is taken before time goes on."""
        before = self.robot.status()["commands"]
        publish()
        self.wait_for(lambda: self.robot.status()["commands"] != before, "the command")

    def picture(self, stamp: int) -> np.ndarray:
        """The image of a stamp."""
        self.wait_for(lambda: stamp in self.images and stamp in self.depths, "the images")
        return image_to_rgb(self.images[stamp])

    def position(self, joint: str, stamp: int) -> float:
        """Measured at a stamp."""
        self.wait_for(lambda: stamp in self.joints, "joint_states")
        return float(self.joints[stamp].position[list(self.joints[stamp].name).index(joint)])


def move(seconds: float = 1.0, **targets: float) -> JointTrajectory:
    """A trajectory with one point."""
    trajectory = RobotTrajectory(
        joint_names=tuple(targets), times=np.array([seconds]), positions=np.array([list(targets.values())])
    )
    return trajectory_to_message(trajectory, make_header(0, ""))


def spoilt(message: JointTrajectory, value: float) -> JointTrajectory:
    """The same with a position that is no number."""
    message.points[0].positions[0] = value
    return message


@pytest.fixture(scope="module")
def stack(ros: Callable[..., Any], folder: Path, wait_for: Callable[..., Any]) -> Stack:
    """A stack beside an imagined robot; tests begin their own scenes."""
    parameters = {
        "backend": "points",
        "state_rate": 20.0,
        "start": "",
        "start_folders": [str(folder)],
        "real_time_factor": 0.0,
        "source_cameras": ["front"],
        "live_timeout": 20.0,
    }
    overrides = [Parameter(name, value=value) for name, value in parameters.items()]
    node = ros(ImaginedRobotNode(parameter_overrides=overrides))
    wait_for(lambda: node.state_label == "active", "the node")
    return Stack(node, ros(Node("stack")), wait_for)


def start_of(episode: Episode, joint: str) -> float:
    return float(episode.measured[0, episode.joint_names.index(joint)])


def test_it_waits_for_a_start_and_says_what_it_cannot_start_from(stack: Stack) -> None:
    assert "~/reset" in stack.robot.warning()
    assert not stack.call(Trigger, "step", Trigger.Request()).success
    for request, code in (
        ({"name": "nothing"}, Answer.UNKNOWN_EPISODE),
        ({"name": f"../{NAME}"}, Answer.UNKNOWN_EPISODE),
        ({"stamp": ns_to_stamp(10**9)}, Answer.UNKNOWN_OBSERVATION),
        ({"source": Reset.ROLLOUT, "name": "1"}, Answer.UNKNOWN_ROLLOUT),
        ({"source": 9}, Answer.UNKNOWN_SOURCE),
    ):
        answer = stack.reset(**request)
        assert answer.error_code == code and answer.error_msg, request


def test_it_starts_with_the_saved_frame_and_follows_a_trajectory(stack: Stack, episode: Episode) -> None:
    stack.begin()
    first = stack.robot.now_ns
    np.testing.assert_array_equal(stack.picture(first), episode.views["front"].rgb[0])
    np.testing.assert_allclose(depth_to_metres(stack.depths[first]), episode.views["front"].depth[0], atol=1e-4)
    assert stack.infos[first].header.frame_id == "front_optical_frame"
    start = start_of(episode, "panda_joint1")
    stack.told(lambda: stack.trajectory.publish(move(0.4, panda_joint1=start + 0.3)))
    stamps = stack.step(3)
    assert np.diff([first, *stamps]).tolist() == [200_000_000] * 3
    assert stack.position("panda_joint1", stamps[0]) == pytest.approx(start + 0.15, abs=1e-3)
    assert stack.position("panda_joint1", stamps[2]) == pytest.approx(start + 0.3, abs=1e-6)
    assert np.abs(stack.picture(stamps[1]).astype(int) - stack.picture(first)).mean() > 1.0
    assert len([stamp for stamp in stack.joints if first < stamp <= stamps[-1]]) == 3 * TICKS_PER_IMAGE


def test_a_later_instant_of_the_episode(stack: Stack, episode: Episode) -> None:
    stack.begin(stamp=ns_to_stamp(episode.start_ns + round(episode.times[3] * 1e9)))
    np.testing.assert_array_equal(stack.picture(stack.robot.now_ns), episode.views["front"].rgb[3])


def test_the_same_commands_in_the_same_ticks_give_the_same_images(stack: Stack, episode: Episode) -> None:
    start = start_of(episode, "panda_joint2")

    def images(goal: float) -> list[bytes]:
        stack.begin(seed=5)
        first = stack.robot.now_ns
        stamps = stack.step(2)
        stack.told(lambda: stack.trajectory.publish(move(0.6, panda_joint2=goal)))
        stamps += stack.step(3)
        stack.told(lambda: stack.positions.publish(Float64MultiArray(data=episode.measured[0].tolist())))
        stamps += stack.step(2)
        seen = [stack.picture(stamp).tobytes() + bytes(stack.depths[stamp].data) for stamp in (first, *stamps)]
        return [*seen, np.array([stack.joints[stamp].position for stamp in stamps]).tobytes()]

    once, again, other = images(start + 0.2), images(start + 0.2), images(start + 0.1)
    assert once == again
    assert once[:3] == other[:3] and once[4] != other[4]


def test_actions_are_carried_out_while_time_goes_on(stack: Stack, episode: Episode, wait_for: Any) -> None:
    stack.begin()
    assert stack.call(SetBool, "pause", SetBool.Request(data=False)).success
    refused = stack.call(Trigger, "step", Trigger.Request())
    assert not refused.success and "pause" in refused.message

    def outcome(client: ActionClient, goal: Any) -> tuple[int, Any]:
        sent = client.send_goal_async(goal)
        wait_for(sent.done, "acceptance")
        result = sent.result().get_result_async()
        wait_for(result.done, "the result")
        return result.result().status, result.result().result

    target = start_of(episode, "panda_joint1") - 0.2
    status, result = outcome(stack.arm, FollowJointTrajectory.Goal(trajectory=move(0.5, panda_joint1=target)))
    assert (status, result.error_code) == (GoalStatus.STATUS_SUCCEEDED, 0)
    goal = GripperCommand.Goal()
    goal.command.position = 0.02
    status, result = outcome(stack.gripper, goal)
    assert status == GoalStatus.STATUS_SUCCEEDED and result.reached_goal
    assert result.position == pytest.approx(0.02, abs=0.005)


def test_bad_commands_are_counted_and_change_nothing(stack: Stack, episode: Episode, wait_for: Any) -> None:
    stack.begin()
    start = start_of(episode, "panda_joint1")
    counters = stack.robot.counters
    array = episode.measured[0].tolist()
    for publish, kind in (
        (lambda: stack.trajectory.publish(spoilt(move(panda_joint1=0.0), float("nan"))), "invalid_joints"),
        (lambda: stack.trajectory.publish(move(0.01, panda_joint1=start + 1.5)), "joint_limit_exceeded"),
        (lambda: stack.positions.publish(Float64MultiArray(data=[float("nan"), *array[1:]])), "invalid_joints"),
        (lambda: stack.positions.publish(Float64MultiArray(data=array[1:])), "invalid_joints"),
        (lambda: stack.positions.publish(Float64MultiArray(data=[9.0, *array[1:]])), "joint_limit_exceeded"),
    ):
        before = counters[kind]
        publish()
        wait_for(lambda kind=kind, before=before: counters[kind] == before + 1, kind)
    (stamp,) = stack.step()
    assert stack.position("panda_joint1", stamp) == pytest.approx(start, abs=1e-9)
    stack.told(lambda: stack.positions.publish(Float64MultiArray(data=[start + 0.1, *array[1:]])))
    (stamp,) = stack.step()
    assert stack.position("panda_joint1", stamp) == pytest.approx(start + 0.1, abs=1e-6)


def test_drift_is_bounded(stack: Stack, episode: Episode, wait_for: Any) -> None:
    stack.robot.set_parameters([Parameter("horizon", value=0.6), Parameter("max_anchors", value=1)])
    start = start_of(episode, "panda_joint1")
    stack.begin()
    stack.told(lambda: stack.trajectory.publish(move(9.0, panda_joint1=start + 0.9)))
    stamps = stack.step(6)
    assert "holds still" in stack.robot.warning() and stack.robot.status()["anchors"] == 1
    wait_for(lambda: stack.robot.counters["drift_too_large"] == 1)
    ended, *after = stack.step(3)
    held = stack.position("panda_joint1", stamps[-1])
    assert start + 0.05 < held < start + 0.3
    for stamp in (ended, *after):
        assert stack.position("panda_joint1", stamp) == held
        assert stamp not in stack.images
    stack.trajectory.publish(move(1.0, panda_joint1=start))
    wait_for(lambda: stack.robot.counters["drift_too_large"] == 2, "the refusal")
    stack.robot.set_parameters([Parameter("horizon", value=20.0)])
    stack.begin()
    assert stack.robot.warning() == ""
    stack.told(lambda: stack.trajectory.publish(move(0.1, panda_joint1=start + 0.1)))
    assert stack.position("panda_joint1", stack.step()[0]) == pytest.approx(start + 0.1)


def test_it_can_be_deactivated_in_the_middle_of_a_goal_and_begin_anew(
    stack: Stack, episode: Episode, wait_for: Any
) -> None:
    stack.begin()
    target = start_of(episode, "panda_joint1") + 0.5
    sent = stack.arm.send_goal_async(FollowJointTrajectory.Goal(trajectory=move(9.0, panda_joint1=target)))
    wait_for(sent.done, "acceptance")
    before = stack.robot.now_ns
    assert stack.robot.trigger_deactivate() == TransitionCallbackReturn.SUCCESS
    assert stack.robot.trigger_activate() == TransitionCallbackReturn.SUCCESS
    stack.begin()
    (stamp,) = stack.step()
    assert stamp > before, "ROS time goes on"
    assert stack.position("panda_joint1", stamp) == pytest.approx(start_of(episode, "panda_joint1"))


def test_it_goes_on_from_a_live_robot(stack: Stack, tmp_path: Path, wait_for: Any) -> None:
    away = [word for name in ("clock", "tf", "tf_static") for word in ("-r", f"/{name}:=/source/{name}")]
    command = node_command(
        "fourd_ros.nodes.simulation:SimulationNode",
        *("-r", "__ns:=/source", *away),
        cameras="[front]",
        image_width=48,
        image_height=32,
        seed=SEED,
        real_time_factor=0.5,
    )
    live: dict[int, Image] = {}
    stack.client.create_subscription(
        Image, "source/front/image", lambda m: live.update({stamp_to_ns(m.header.stamp): m}), RESULT
    )
    simulation = OtherProcess(command, tmp_path / "live.log", {})
    try:
        wait_for(lambda: len(live) > 2, "the live robot")
        stack.begin(source=Reset.LIVE, name="")
        stamp = sorted(live)[-1]
        stack.begin(source=Reset.LIVE, name="", stamp=ns_to_stamp(stamp))
        np.testing.assert_array_equal(stack.picture(stack.robot.now_ns), image_to_rgb(live[stamp]))
        stamps = stack.step(2)
        assert stack.picture(stamps[-1]).shape == (32, 48, 3)
        stack.robot.set_parameters([Parameter("live_timeout", value=0.1)])
        unknown = stack.reset(source=Reset.LIVE, name="", stamp=ns_to_stamp(1))
        assert unknown.error_code == Answer.UNKNOWN_OBSERVATION
        assert simulation.interrupt() == 0
    finally:
        if simulation.process.poll() is None:
            simulation.kill()
        print(simulation.output())
