"""The interfaces: what INTERFACES promises, type hashes, and every one of them across two processes."""

import importlib
import inspect
import json
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import rclpy
from action_msgs.msg import GoalStatus
from interface_echo import DEPTH, filled, interfaces, topic_of
from rclpy.action import ActionClient
from rclpy.node import Node
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

from fourd_ros import errors
from fourd_ros.nodes.executor import make_executor
from fourd_ros.records import RolloutFlags

HERE = Path(__file__).resolve().parent
MSG = HERE.parent / "msg"
SOURCES = {
    "fourd_msgs": MSG,
    "control_msgs": HERE.parent / "compat" / "control_msgs",
    "tf2_msgs": HERE.parent / "compat" / "tf2_msgs",
}
TIMEOUT = 90.0
RANGES = {
    "Imagine": (1000, 1049),
    "GetRolloutFrames": (1050, 1099),
    "PredictPartMotion": (1100, 1199),
    "QueryScene": (1200, 1299),
    "ReconstructObjects": (1300, 1399),
    "EvaluatePolicy": (1400, 1499),
    "ResetImagination": (1500, 1599),
    "MapFile": (1600, 1699),
}
# Types of control_msgs 6.3 to 6.7 (Kilted): names, types and order of all fields. Another hash is another wire format.
CONTROL_HASHES = {
    "msg/GripperCommand": "57eb8f326c9889ca8bb34ead82cc94cc09bf6bc5c3b6c09546dca3a00b589890",
    "msg/JointComponentTolerance": "739ea7566931944d33830fa10f1bf5e7a7fbdc3172bce7a7eaac642bd6e3ffa4",
    "msg/JointTolerance": "c254f9cece0f3b733017b6990fd46d1326e25242d6b8844398c97d9a88e7d648",
    "action/FollowJointTrajectory": "ff29901b2693f5deb847e96084a1c2cdb26e70b7c847be21859b70a55fb29cf0",
    "action/GripperCommand": "e17c0e644eccf14bea84a0a93e0977182872c2eb7873ca6694900059b46dbc84",
}


def _label(cls: Any) -> str:
    return f"{cls.__module__.partition('.')[0]}.{cls.__name__}"


def _answers() -> dict[str, Any]:
    """Result or response class of every fourd action and service."""
    found = {cls.__name__: cls.Response for cls in interfaces("srv")}
    found |= {cls.__name__: cls.Result for cls in interfaces("action")}
    return {name: cls for name, cls in found.items() if cls.__module__.startswith("fourd_msgs")}


def _codes(name: str, folder: str) -> dict[str, int]:
    text = (MSG / folder / f"{name}.{folder}").read_text()
    return {key: int(value) for key, value in re.findall(r"^uint16 ([A-Z_]+)=(\d+)", text, re.MULTILINE)}


def test_every_interface_is_there() -> None:
    assert {one.__name__ for one in interfaces("msg") if one.__module__.startswith("fourd")} == {
        *("Drag", "PolicyResult", "Rollout", "RolloutFrame", "SceneObject", "SceneObjectArray")
    }
    assert set(_answers()) == set(RANGES)


def test_every_answer_ends_with_an_error_of_its_own_range() -> None:
    for name, cls in _answers().items():
        assert list(cls.get_fields_and_field_types().items())[-2:] == [
            ("error_code", "uint16"),
            ("error_msg", "string"),
        ]
        codes = _codes(name, "srv" if (MSG / "srv" / f"{name}.srv").exists() else "action")
        first, last = RANGES[name]
        assert codes.pop("NONE") == cls.NONE == 0
        assert all(first <= value <= last for value in codes.values()), name
        assert len(set(codes.values())) == len(codes)
        assert all(getattr(cls, key) == value for key, value in codes.items())


@pytest.mark.parametrize("name", ["Imagine", "EvaluatePolicy"])
def test_error_codes_of_actions_are_named_like_the_exceptions(name: str) -> None:
    kinds = {one.kind.upper() for _, one in inspect.getmembers(errors, inspect.isclass) if issubclass(one, Exception)}
    assert set(_codes(name, "action")) - {"NONE", "INTERNAL"} <= kinds


def test_flags_and_labels_agree_with_the_code() -> None:
    from fourd_msgs.msg import Rollout

    text = (MSG / "msg" / "Rollout.msg").read_text()
    wire = {key: int(value) for key, value in re.findall(r"^uint32 ([A-Z_]+)=(\d+)", text, re.MULTILINE)}
    assert wire == {flag.name: flag.value for flag in RolloutFlags}
    assert all(getattr(Rollout, name) == value for name, value in wire.items())


def _installed_hashes(package: str, relative: str) -> dict[str, str]:
    """Type hashes that the generator wrote beside a built interface, by type name."""
    module = importlib.import_module(package)
    assert module.__file__ is not None
    share = next(one / "share" / package for one in Path(module.__file__).parents if (one / "share" / package).is_dir())
    description = json.loads((share / relative).read_text())
    return {one["type_name"]: one["hash_string"] for one in description["type_hashes"]}


@pytest.mark.parametrize("package", SOURCES)
def test_built_types_hash_like_their_text_does_in_bags(package: str) -> None:
    store = get_typestore(Stores.ROS2_KILTED)
    files = sorted((SOURCES[package] / "msg").glob("*.msg"))
    types: dict[str, Any] = {}
    for file in files:
        types |= get_types_from_msg(file.read_text(), f"{package}/msg/{file.stem}")
    store.register({name: fields for name, fields in types.items() if name.startswith(package)})
    for file in files:
        name = f"{package}/msg/{file.stem}"
        assert _installed_hashes(package, f"msg/{file.stem}.json")[name] == store.hash_rihs01(name)


def test_tf_is_that_of_kilted() -> None:
    kilted = get_typestore(Stores.ROS2_KILTED).hash_rihs01("tf2_msgs/msg/TFMessage")
    assert _installed_hashes("tf2_msgs", "msg/TFMessage.json")["tf2_msgs/msg/TFMessage"] == kilted


@pytest.mark.parametrize(("name", "hash_string"), CONTROL_HASHES.items())
def test_commands_are_those_of_kilted(name: str, hash_string: str) -> None:
    built = _installed_hashes("control_msgs", f"{name}.json")
    assert built[f"control_msgs/{name}"] == f"RIHS01_{hash_string}"


@pytest.fixture(scope="module")
def echo() -> Iterator[None]:
    """Another process that sends everything back."""
    process = subprocess.Popen([sys.executable, str(HERE / "interface_echo.py")], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline().startswith("ready")
    yield
    process.terminate()
    process.wait(240)


@pytest.fixture(scope="module")
def node(echo: None) -> Iterator[Node]:
    """A node of this process that is spun in the background."""
    context = rclpy.Context()
    context.init([])
    node = rclpy.create_node("other_side", context=context)
    executor = make_executor(context=context)  # rclpy's own ends where a client is made while it spins
    executor.add_node(node)
    thread = threading.Thread(target=executor.spin, daemon=True)
    thread.start()
    yield node
    executor.shutdown()
    thread.join(20)
    node.destroy_node()
    context.shutdown()


@pytest.mark.parametrize("cls", interfaces("msg"), ids=_label)
def test_a_message_crosses_processes_unchanged(cls: Any, node: Node, wait_for: Callable[..., Any]) -> None:
    received: list[Any] = []
    node.create_subscription(cls, topic_of(cls, "back"), received.append, DEPTH)
    publisher = node.create_publisher(cls, topic_of(cls, "there"), DEPTH)
    wait_for(lambda: publisher.get_subscription_count() and node.count_publishers(topic_of(cls, "back")))
    message = filled(cls)
    publisher.publish(message)
    wait_for(lambda: received or publisher.publish(message), f"{cls.__name__} comes back")
    assert received[0] == message
    assert message != cls()


@pytest.mark.parametrize("cls", interfaces("srv"), ids=_label)
def test_a_service_answers_across_processes(cls: Any, node: Node, wait_for: Callable[..., Any]) -> None:
    client = node.create_client(cls, topic_of(cls))
    assert client.wait_for_service(TIMEOUT)
    future = client.call_async(filled(cls.Request))
    wait_for(future.done)
    assert future.result() == filled(cls.Response)


@pytest.mark.parametrize("cls", interfaces("action"), ids=_label)
def test_an_action_runs_across_processes(cls: Any, node: Node, wait_for: Callable[..., Any]) -> None:
    client = ActionClient(node, cls, topic_of(cls))
    assert client.wait_for_server(TIMEOUT)
    feedback: list[Any] = []
    sent = client.send_goal_async(filled(cls.Goal), feedback_callback=lambda message: feedback.append(message.feedback))
    wait_for(sent.done)
    ended = sent.result().get_result_async()
    wait_for(ended.done)
    assert ended.result().status == GoalStatus.STATUS_SUCCEEDED
    assert ended.result().result == filled(cls.Result)
    wait_for(lambda: feedback)
    assert feedback == [filled(cls.Feedback)]
    client.destroy()


@pytest.mark.parametrize("cls", interfaces("action"), ids=_label)
def test_an_action_is_cancelled_across_processes(cls: Any, node: Node, wait_for: Callable[..., Any]) -> None:
    client = ActionClient(node, cls, topic_of(cls, "until_cancelled"))
    assert client.wait_for_server(TIMEOUT)
    sent = client.send_goal_async(filled(cls.Goal))
    wait_for(sent.done)
    ended = sent.result().get_result_async()
    answered = sent.result().cancel_goal_async()
    wait_for(answered.done)
    assert [info.goal_id for info in answered.result().goals_canceling] == [sent.result().goal_id]
    wait_for(ended.done)
    assert ended.result().status == GoalStatus.STATUS_CANCELED
    assert ended.result().result == filled(cls.Result)
    client.destroy()
