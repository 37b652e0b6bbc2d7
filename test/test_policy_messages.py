"""Messages of remote policies: arrays as bytes, numbers and joints, images, what is told of an episode."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from remote_rig import msgpack, rows
from rig import Rig

from fourd_ros.errors import (
    InvalidConfig,
    InvalidMessage,
    PolicyFailed,
    TooLarge,
)
from fourd_ros.policies import msgpack_arrays
from fourd_ros.policies.base import Assignment
from fourd_ros.policies.joint_numbers import ActionRows, JointNumber, joint_numbers
from fourd_ros.policies.told_episode import hear_assignment, hear_views, tell_assignment
from fourd_ros.policies.wire_format import ImageInput, WireFormat
from fourd_ros.records import Observation
from fourd_ros.robot.panda import PANDA_READY
from fourd_ros.simulation.scene import sample_scene
from fourd_ros.simulation.tasks import TASK_KINDS, sample_task


@pytest.fixture(scope="module")
def observation() -> Observation:
    return Rig(48, width=64).observation()


@pytest.mark.parametrize("dtype", ["u1", "<i8", ">f4", "<f2", "?", "<u2"])
@pytest.mark.parametrize("shape", [(), (0, 7), (2, 3, 4)])
def test_arrays_come_back_as_they_were(dtype: str, shape: tuple[int, ...]) -> None:
    array = np.arange(np.prod(shape, dtype=int)).astype(dtype).reshape(shape)
    found = msgpack_arrays.decode(msgpack_arrays.encode({"deep": [{"in": array.T}]}))["deep"][0]["in"]
    assert found.dtype == array.dtype
    np.testing.assert_array_equal(found, array.T)


def test_bytes_are_those_of_openpi_client() -> None:
    array, scalar = np.arange(6, dtype=np.float32).reshape(2, 3), np.float32(2.5)
    told = {
        "actions": {b"__ndarray__": True, b"data": array.tobytes(), b"dtype": "<f4", b"shape": [2, 3]},
        "time": {b"__npgeneric__": True, b"data": 2.5, b"dtype": "<f4"},
        "prompt": "go",
    }
    assert msgpack_arrays.encode({"actions": array, "time": scalar, "prompt": "go"}) == msgpack.packb(told)
    found = msgpack_arrays.decode(msgpack.packb(told))
    np.testing.assert_array_equal(found["actions"], array)
    assert found["time"] == 2.5 and found["time"].dtype == np.float32


def array_of(data: bytes = b"1234", dtype: object = "<f4", shape: object = (1,)) -> bytes:
    packed: bytes = msgpack.packb({b"__ndarray__": True, b"data": data, b"dtype": dtype, b"shape": shape})
    return packed


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xc1",
        b"\x01\x01",
        b"\xdd\xff\xff\xff\xff",
        b"\x91" * 5000,
        msgpack.packb([[0] * 60_000] * 2),
        msgpack.packb([{}] * 60_000),
        msgpack.packb(msgpack.ExtType(5, b"x")),
        array_of(dtype="|O8"),
        array_of(dtype="<c8", data=bytes(8)),
        array_of(dtype="(1000000000,)f8"),
        array_of(dtype=7),
        array_of(shape=(2,)),
        array_of(shape=(-1,)),
        array_of(shape=(0, 2**62, 2**62), data=b""),
        array_of(shape=(1,) * 40),
        array_of(shape=7),
        array_of(data=[1, 2]),  # type: ignore[arg-type]
        msgpack.packb({b"__npgeneric__": True, b"data": 300, b"dtype": "|u1"}),
        msgpack.packb({b"__npgeneric__": True, b"data": "x", b"dtype": "<f4"}),
    ],
)
def test_other_bytes_are_no_message(data: bytes) -> None:
    with pytest.raises(InvalidMessage):
        msgpack_arrays.decode(data)


def test_a_message_is_bounded() -> None:
    with pytest.raises(TooLarge):
        msgpack_arrays.decode(bytes(101), max_bytes=100)


@pytest.mark.parametrize("value", [np.array([{}]), np.zeros(2, complex), np.zeros(2, "U3"), {1, 2}, 2**70])
def test_other_values_are_not_sent(value: object) -> None:
    with pytest.raises(InvalidMessage):
        msgpack_arrays.encode({"value": value})


# Numbers and joints


@pytest.mark.parametrize(
    ("meaning", "expected"),
    [
        ("position", [[1.0, 0.02], [2.0, 0.0]]),
        ("offset", [[1.5, 0.02], [2.5, 0.0]]),
        ("step", [[1.5, 0.02], [3.5, -0.02]]),
        ("speed", [[0.6, 0.038], [0.8, 0.034]]),
    ],
)
def test_what_actions_mean(meaning: str, expected: list[list[float]]) -> None:
    positions = {"panda_joint1": 0.5, "panda_finger_joint1": 0.04}
    motion = rows(meaning).motion(np.array([[1.0, 0.5], [2.0, 1.0], *[[0.0, 0.0]] * 3]), positions)
    assert motion is not None
    np.testing.assert_allclose(motion.times, np.arange(1, 6) / 10)
    np.testing.assert_allclose(motion.positions[:2], expected)
    np.testing.assert_allclose(rows(meaning).rows(motion, positions)[:2], [[1.0, 0.5], [2.0, 1.0]], atol=1e-12)


@pytest.mark.parametrize(
    ("actions", "reason"),
    [
        (np.zeros((5, 3)), r"shape \[5, 3\]"),
        (np.zeros(2), r"shape \[2\]"),
        (np.zeros((4, 2)), "4 actions; 5"),
        (np.array([[0, 0]] * 3 + [[0, np.nan]] + [[0, 0]]), "action 3 of joint 'panda_finger_joint1' is nan"),
        (np.full((5, 2), np.inf, np.float32), "is inf"),
    ],
)
def test_actions_that_make_no_sense(actions: Any, reason: str) -> None:
    with pytest.raises(PolicyFailed, match=reason):
        rows().motion(actions, PANDA_READY)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: joint_numbers([]),
        lambda: joint_numbers(["a", "a"]),
        lambda: joint_numbers([{"joint": "a", "speed": 1}]),
        lambda: JointNumber(joint="a", scale=0.0),
        lambda: JointNumber(joint="a", meaning="torque"),  # type: ignore[arg-type]
        lambda: ActionRows(numbers=joint_numbers(["a"]), rate=0.0),
        lambda: ActionRows(numbers=joint_numbers(["a"]), rate=10.0, steps=0),
        lambda: ImageInput(camera="front", width=0),
        lambda: WireFormat.from_options(images={"x": {"view": "front"}}, states={}),
    ],
)
def test_options_that_make_no_sense(wrong: Callable[[], object]) -> None:
    with pytest.raises(InvalidConfig):
        wrong()


def test_images_are_padded_to_the_size_asked_for(observation: Observation) -> None:
    image = ImageInput(camera="front", width=32, height=32).image(observation.views["front"].rgb)
    assert image.shape == (32, 32, 3) and image.dtype == np.uint8
    assert not image[:4].any() and not image[-4:].any() and image[4:28].mean() > 50
    stretched = ImageInput(camera="front", width=20, height=30, padded=False, channels_first=True)
    assert stretched.image(observation.views["front"].rgb).shape == (3, 30, 20)
    assert stretched.image(observation.views["front"].rgb)[:, -1].any()


def test_names_may_lead_into_maps_of_maps(observation: Observation) -> None:
    images = {"images/high": {"camera": "front", "channels_first": True, "width": 64, "height": 48}}
    wire = WireFormat.from_options(images=images, states={"state": ["panda_joint1"]}, separator="/")
    message = wire.message(observation, "go")
    assert message["images"]["high"].shape == (3, 48, 64) and message["prompt"] == "go"
    told, instruction = wire.read(message, stamp_ns=7)
    assert instruction == "go" and told.joint_positions == {"panda_joint1": PANDA_READY["panda_joint1"]}
    np.testing.assert_array_equal(told.views["front"].rgb, observation.views["front"].rgb)
    assert np.isnan(told.views["front"].points).all() and np.isnan(told.views["front"].T_world_camera).all()


@pytest.mark.parametrize("kind", sorted(TASK_KINDS))
def test_what_is_told_of_an_episode_comes_back(kind: str) -> None:
    spec = sample_scene(5, TASK_KINDS[kind].options)
    goal = sample_task(kind, spec, seed=5)
    knows = Assignment(task=kind, instruction=goal.instruction, goal=goal, scene=spec, seed=11)
    told = msgpack_arrays.decode(msgpack_arrays.encode(tell_assignment(knows, elapsed=0.5, scene=True)))
    assert hear_assignment(told, goal.instruction) == knows
    assert hear_assignment(told | {"goal": None}, "x").goal is None
    wrong: list[dict[str, Any]] = [
        {"seed": "1"},
        {"seed": True},
        {"task": None},
        {"goal": {"Dance": {}}},
        {"goal": {type(goal).__name__: {"target": "x"}}},
        {"scene": told["scene"] | {"seed": 1.5}},
        {"scene": told["scene"] | {"table": told["scene"]["table"] | {"size": [1.0]}}},
        {"scene": {}},
    ]
    for change in wrong:
        with pytest.raises(InvalidMessage):
            hear_assignment(told | change, "x")
    with pytest.raises(InvalidMessage):
        hear_views({"front": {"rgb": np.zeros((2, 2, 3), np.uint8)}})
