"""Bad input to running nodes: a typed error, a counter on /diagnostics, the node alive, nothing lost afterwards.

A world model node in another process watches the rig; every test spoils one thing and then asks again.
Goals and images have their own tests in ``test_imagine.py``. No node takes point clouds, so the empty one is read
through the bridge.
"""

import re
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bag_rig import write_small_bag
from conftest import OtherProcess, node_command, ros_context, spinning
from diagnostic_msgs.msg import DiagnosticArray
from fourd_msgs.action import Imagine
from geometry_msgs.msg import Quaternion
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState, GetState
from rclpy.node import Node
from rig import Rig
from rig_ros import RigPublisher
from std_msgs.msg import String
from test_imagine import Stage, listen_to_diagnostics

from fourd_ros.bridge.clouds import ROBOT_LABEL, make_cloud, read_cloud
from fourd_ros.bridge.joints import make_joint_state
from fourd_ros.bridge.rollouts import read_frame
from fourd_ros.bridge.times import make_header
from fourd_ros.client import ImagineFailed, WorldModelClient
from fourd_ros.robot.panda import panda_description

Result = Imagine.Result
SECOND = 1_000_000_000
ONE_LINK = '<robot name="r"><link name="a"/>{}</robot>'
CYCLE = ONE_LINK.format(
    '<link name="b"/>'
    '<joint name="ab" type="fixed"><parent link="a"/><child link="b"/></joint>'
    '<joint name="ba" type="fixed"><parent link="b"/><child link="a"/></joint>'
)
MESH = '<robot name="r"><link name="a"><visual><geometry><mesh filename="{}"/></geometry></visual></link></robot>'


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory, wait_for: Callable[..., Any]) -> Iterator[Stage]:
    with ros_context(), spinning() as spin:
        node = spin(Node("test_client", use_global_arguments=False))
        server = OtherProcess(
            node_command(
                "fourd_ros.nodes.world_model:WorldModelNode",
                "-p", "cameras:=[front, wrist]",
                diagnostics_period=0.2, image_reliability="reliable", observation_timeout=0.5,
            ),
            tmp_path_factory.mktemp("server") / "log",
            {},
        )  # fmt: skip
        client = WorldModelClient(node)
        client.wait(timeout=30.0)
        publisher = RigPublisher(node, Rig(size=64))
        stage = Stage(
            node=node,
            client=client,
            publisher=publisher,
            server=server,
            start_server=lambda: server,
            wait_for=wait_for,
            counters=listen_to_diagnostics(node),
        )
        stage.observed()
        yield stage
        client.destroy()
        server.kill()
        print(server.output())


_instants = count(10, 30)


@pytest.fixture
def now(stage: Stage) -> Iterator[int]:
    """An instant that everything is known of; after the test a later one must be answered as well [ns]."""
    stamp_ns = next(_instants) * SECOND
    stage.observed(stamp_ns)
    yield stamp_ns
    stage.observed(stamp_ns + 20 * SECOND)
    assert stage.server.process.poll() is None


def counts(stage: Stage, kind: str, spoil: Callable[[], object]) -> None:
    """Do something bad once; this counter rises."""
    before = stage.counters.get(kind, 0)
    spoil()
    stage.wait_for(lambda: stage.counters.get(kind, 0) > before, f"counter {kind}: {stage.counters}")


def robot_is_shown(stage: Stage) -> bool:
    """Whether imagined clouds hold points of the robot."""
    rollout = stage.ask(backend="kinematic").result(timeout=10.0)[0]
    return any(ROBOT_LABEL in read_frame(frame).cloud["label"] for frame in stage.client.frames(rollout.rollout_id))


def test_a_singular_calibration_is_refused_and_the_former_stays(stage: Stage, now: int) -> None:
    for k in ([0.0] * 8 + [1.0], [100.0, 0, 32, 0, 0, 32, 0, 0, 1], [100.0, 0, 32, 0, 100, 32, 0, 0, 0]):
        info = stage.publisher.messages(now + 1)["front/camera_info"]
        info.k = k
        counts(stage, "invalid_camera", lambda info=info: stage.publisher.infos["front"].publish(info))
        assert stage.ask(backend="kinematic", observation_stamp_ns=now).result(timeout=10.0)


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("<robot name='r'><link", "invalid_robot_description"),
        ("", "invalid_robot_description"),
        (CYCLE, "invalid_robot_description"),
        (MESH.format("file:///etc/hostname.stl"), "path_not_allowed"),
        (MESH.format("/etc/passwd"), "path_not_allowed"),
    ],
    ids=["malformed", "empty", "cycle", "mesh by URL outside", "mesh by path outside"],
)
def test_a_bad_robot_description_is_counted_and_the_former_robot_stays(
    stage: Stage, now: int, text: str, kind: str
) -> None:
    counts(stage, kind, lambda: stage.publisher.description.publish(String(data=text)))
    assert robot_is_shown(stage)


def test_a_robot_without_meshes_is_legal(stage: Stage, now: int) -> None:
    text = panda_description().text
    bare = re.sub(r"<(visual|collision)\b.*?</\1>", "", text, flags=re.DOTALL)
    assert "<mesh" not in bare
    stage.publisher.description.publish(String(data=bare))
    stage.wait_for(lambda: not robot_is_shown(stage), "a robot that cannot be seen")
    stage.publisher.description.publish(String(data=text))
    stage.wait_for(lambda: robot_is_shown(stage), "the robot as it was")


def test_a_gap_in_tf_is_not_bridged(stage: Stage, now: int) -> None:
    inside = now + 2 * SECOND
    stage.publisher.publish(inside, **{"/tf": None})
    stage.publisher.transforms.publish(stage.publisher.transform_message(now + 4 * SECOND))

    def refused() -> str:
        try:
            stage.ask(backend="kinematic", observation_stamp_ns=inside).result(timeout=10.0)
        except ImagineFailed as error:
            assert error.code in (Result.TRANSFORM_UNAVAILABLE, Result.NO_OBSERVATION), str(error)
            return str(error) if "in a gap of 4.000 s" in str(error) else ""
        raise AssertionError("a gap of 4 s was bridged")

    counts(stage, "transform_unavailable", lambda: stage.wait_for(refused, "the gap in an error message"))


def test_an_instant_in_the_future_is_not_made_up_from_tf(stage: Stage, now: int) -> None:
    """TF reaches as far as that, images do not."""
    future = now + 5 * SECOND
    stage.publisher.transforms.publish(stage.publisher.transform_message(future))
    code = Result.UNKNOWN_OBSERVATION
    counts(stage, "unknown_observation", lambda: stage.fails(code, observation_stamp_ns=future))


@pytest.mark.parametrize("topic", ["/tf", "joint_states", "front/image", "front/depth", "front/camera_info"])
def test_one_message_from_the_future_loses_nothing(stage: Stage, now: int, topic: str) -> None:
    stage.publisher.publisher(topic).publish(stage.publisher.messages(now + 15 * SECOND)[topic])
    assert stage.ask(backend="kinematic", observation_stamp_ns=now).result(timeout=10.0)
    stage.observed(now + SECOND)


def test_a_quaternion_of_zeros_is_refused(stage: Stage, now: int) -> None:
    message = stage.publisher.transform_message(now + SECOND)
    message.transforms[0].transform.rotation = Quaternion(x=0.0, y=0.0, z=0.0, w=0.0)
    counts(stage, "invalid_transform", lambda: stage.publisher.transforms.publish(message))
    assert stage.ask(backend="kinematic", observation_stamp_ns=now).result(timeout=10.0)


def test_joints_that_the_robot_does_not_have_are_counted_and_left_out(stage: Stage, now: int) -> None:
    message = make_joint_state(make_header(now + SECOND, ""), ["left_antenna"], [0.5])
    counts(stage, "unknown_joints", lambda: stage.publisher.joints.publish(message))
    rollout = stage.ask(backend="kinematic").result(timeout=10.0)[0]
    assert "left_antenna" not in rollout.joints.joint_names


def test_an_empty_cloud_is_legal() -> None:
    columns = read_cloud(make_cloud(make_header(SECOND, "map"), np.zeros((0, 3), np.float32)))
    assert {name: column.shape for name, column in columns.items()} == {
        "points": (0, 3),
        "rgb": (0, 3),
        "sigma": (0,),
        "label": (0,),
    }


def test_a_truncated_bag_leaves_the_replay_node_unconfigured(
    stage: Stage, call_in: Callable[..., Any], tmp_path: Path
) -> None:
    bag = write_small_bag(tmp_path / "bag")
    file = next(bag.glob("*.mcap"))
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    counters: dict[str, int] = {}

    def take(message: DiagnosticArray) -> None:
        for status in (status for status in message.status if "bag_replay" in status.name):
            counters.update({v.key: int(v.value) for v in status.values if v.value.isdigit()})

    subscription = stage.node.create_subscription(DiagnosticArray, "/diagnostics", take, 10)
    replay = OtherProcess(
        node_command("fourd_ros.nodes.bag_replay:BagReplayNode", bag=bag, autostart=False, diagnostics_period=0.2),
        tmp_path / "replay.log",
        {},
    )
    configure = ChangeState.Request(transition=Transition(id=Transition.TRANSITION_CONFIGURE))
    try:
        assert not call_in(stage.node, ChangeState, "bag_replay/change_state", configure).success
        assert call_in(stage.node, GetState, "bag_replay/get_state", GetState.Request()).current_state.label == (
            "unconfigured"
        )
        stage.wait_for(lambda: counters.get("invalid_bag", 0) == 1, f"the counter of the replay node: {counters}")
        assert "fourd bag recover" in replay.output()
        file.write_bytes(whole)
        assert call_in(stage.node, ChangeState, "bag_replay/change_state", configure).success
    finally:
        stage.node.destroy_subscription(subscription)
        replay.kill()


@pytest.fixture
def call_in(wait_for: Callable[..., Any]) -> Callable[..., Any]:
    """``call_in(node, srv_type, name, request)``: the response of a service, through a node that spins."""

    def ask(node: Node, srv_type: Any, name: str, request: Any) -> Any:
        client = node.create_client(srv_type, name)
        try:
            assert client.wait_for_service(timeout_sec=120.0), f"no service {name}"
            future = client.call_async(request)
            wait_for(future.done, f"an answer of {name}")
            return future.result()
        finally:
            node.destroy_client(client)

    return ask
