"""Policies that live elsewhere: over real sockets, in real processes, and everything that may go wrong there."""

import contextlib
import json
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from policy_kinds import JOINTS, Failing, Nodding
from rig import Rig

from fourd_ros.errors import (
    ContractViolated,
    InvalidConfig,
    InvalidInput,
    InvalidMessage,
    InvalidModel,
    MissingDependency,
    PolicyFailed,
    TooLarge,
)
from fourd_ros.policies.base import Assignment, Contract, Policy
from fourd_ros.policies.checked import CheckedPolicy
from fourd_ros.policies.joint_numbers import ActionRows, JointNumber, joint_numbers
from fourd_ros.policies.process_policy import ProcessPolicy
from fourd_ros.policies.registry import make_policy
from fourd_ros.policies.told_episode import hear_assignment, hear_views, tell_assignment
from fourd_ros.policies.wire_format import ImageInput, WireFormat
from fourd_ros.records import Observation, RobotTrajectory
from fourd_ros.robot.kinematics import Kinematics
from fourd_ros.robot.panda import PANDA_READY, panda_description
from fourd_ros.simulation.scene import sample_scene
from fourd_ros.simulation.tasks import TASK_KINDS, sample_task

msgpack = pytest.importorskip("msgpack")
sync_server = pytest.importorskip("websockets.sync.server")

from fourd_ros.policies import msgpack_arrays  # noqa: E402
from fourd_ros.policies.websocket_policy import WebsocketPolicy, websocket_policy  # noqa: E402
from fourd_ros.policies.websocket_server import PolicyServer, serve_policy  # noqa: E402

GRIPPER = {"joint": "panda_finger_joint1", "scale": -0.04, "zero": 0.04}
"""0 is open, 1 is closed."""

WIRE: dict[str, Any] = {
    "images": {"observation/image": {"camera": "front", "width": 32, "height": 32}},
    "states": {"observation/state": ["panda_joint1", GRIPPER]},
}
RATE, STEPS = 10.0, 5


@pytest.fixture(scope="module")
def observation() -> Observation:
    return Rig(48, width=64).observation()


@pytest.fixture(scope="module")
def kinematics() -> Kinematics:
    return Kinematics(panda_description())


def assignment(instruction: str = "push the cube", seed: int = 0) -> Assignment:
    return Assignment(task="push", instruction=instruction, goal=None, scene=None, seed=seed)


def rows(meaning: str = "position") -> ActionRows:
    numbers = joint_numbers([{"joint": "panda_joint1", "meaning": meaning}, GRIPPER | {"meaning": meaning}])
    return ActionRows(numbers=numbers, rate=RATE, steps=STEPS)


# Arrays as bytes


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


# Over sockets


@contextlib.contextmanager
def serving(policy: Policy, actions: ActionRows, wire: Mapping[str, Any] = WIRE) -> Iterator[PolicyServer]:
    with running(PolicyServer(policy, wire=WireFormat.from_options(**wire), actions=actions)) as server:
        yield server


@contextlib.contextmanager
def running(server: PolicyServer) -> Iterator[PolicyServer]:
    thread = threading.Thread(target=server.serve)
    thread.start()
    try:
        yield server
    finally:
        server.stop()
        thread.join()


@contextlib.contextmanager
def openpi_server(answer: Callable[[dict[str, Any]], Any], port: int = 0) -> Iterator[tuple[str, int]]:
    """A server as those of openpi, which remembers nothing: its URL and port. What is no map is sent as it is."""

    def converse(socket: Any) -> None:
        socket.send(msgpack_arrays.encode({"robot": "panda"}))
        for data in socket:
            said = answer(msgpack_arrays.decode(data))
            if said is None:
                return
            socket.send(msgpack_arrays.encode(said) if isinstance(said, dict) else said)

    with sync_server.serve(converse, "127.0.0.1", port, compression=None) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"ws://127.0.0.1:{server.socket.getsockname()[1]}", server.socket.getsockname()[1]
    thread.join()


def client(url: str, meaning: str = "position", **connection: Any) -> WebsocketPolicy:
    actions = [{"joint": "panda_joint1", "meaning": meaning}, GRIPPER | {"meaning": meaning}]
    limits = {"answer_limit": 20.0, "connect_limit": 20.0} | connection
    return websocket_policy("remote", url=url, actions=actions, rate=RATE, steps=STEPS, **WIRE, **limits)


@pytest.mark.parametrize("meaning", ["position", "speed"])
def test_a_served_policy_drives_like_itself(observation: Observation, meaning: str) -> None:
    own, near = Nodding("0.3"), Nodding("0.3")
    with serving(own, rows(meaning)) as server, contextlib.closing(client(server.url, meaning)) as far:
        far.contract.check("remote", observation, scene=False)
        for seed in (4, 5):
            far.begin(assignment(seed=seed))
            near.begin(assignment(seed=seed))
            for elapsed in (0.0, 0.5, 1.5):
                told, expected = (p.act(observation, elapsed=elapsed) for p in (far, near))
                assert (told is None) == (expected is None) == (elapsed > 1.0)
                if told is not None and expected is not None:
                    np.testing.assert_allclose(told.positions[:, 0], expected.at(told.times)[:, 0], atol=1e-6)
                    np.testing.assert_allclose(told.positions[:, 1], 0.04, atol=1e-6)
    assert [(a.task, a.instruction, a.seed, a.scene) for a in own.assignments] == [
        ("push", "push the cube", seed, None) for seed in (4, 5)
    ]
    assert own.seen[0].views["front"].rgb.shape == (32, 32, 3)
    assert own.seen[0].joint_positions == pytest.approx({name: PANDA_READY[name] for name in JOINTS})


def test_a_served_policy_understands_any_client(observation: Observation) -> None:
    from websockets.sync.client import connect

    policy, wire = Nodding(), WireFormat.from_options(**WIRE)
    with serving(policy, rows()) as server, connect(server.url, compression=None) as socket:
        about = msgpack_arrays.decode(socket.recv(timeout=20.0))
        assert about["policy"] == "nodding 0.2" and about["client_options"] == server.client_options()
        for instruction in ("left", "left", "right"):
            socket.send(msgpack_arrays.encode(wire.message(observation, instruction)))
            assert msgpack_arrays.decode(socket.recv(timeout=20.0))["actions"].shape == (STEPS, 2)
        assert [told.instruction for told in policy.assignments] == ["left", "right"]


@pytest.mark.parametrize("message", [b"\xc1", "text", msgpack.packb([1]), msgpack.packb({"prompt": "x"})])
def test_a_server_survives_what_it_cannot_read(observation: Observation, message: bytes | str) -> None:
    from websockets.exceptions import ConnectionClosed
    from websockets.sync.client import connect

    with serving(Nodding(), rows()) as server:
        with connect(server.url) as socket:
            socket.recv(timeout=20.0)
            socket.send(message)
            assert "InvalidMessage" in socket.recv(timeout=20.0)
            with pytest.raises(ConnectionClosed):
                socket.recv(timeout=20.0)
        with contextlib.closing(client(server.url)) as far:
            far.begin(assignment())
            assert far.act(observation, elapsed=0.0) is not None


def test_what_goes_wrong_in_a_served_policy_is_told(observation: Observation) -> None:
    with serving(Failing("raises"), rows()) as server, contextlib.closing(client(server.url)) as far:
        for _ in range(2):
            far.begin(assignment())
            with pytest.raises(PolicyFailed, match="ValueError: no idea"):
                far.act(observation, elapsed=0.0)


def test_a_page_in_a_browser_may_not_ask() -> None:
    from websockets.exceptions import InvalidStatus
    from websockets.sync.client import connect

    with serving(Nodding(), rows()) as server, pytest.raises(InvalidStatus):
        connect(server.url, origin="http://evil.example")


@pytest.mark.parametrize(
    ("contract", "missing"),
    [
        (Contract(cameras=("top",)), "camera 'top'"),
        (Contract(joints=("panda_joint2",)), "joint 'panda_joint2'"),
        (Contract(cameras=("front",), size=(64, 64)), "images of 64 x 64"),
    ],
)
def test_policies_that_need_more_are_not_served(contract: Contract, missing: str) -> None:
    policy = Nodding()
    policy.contract = contract
    with pytest.raises(ContractViolated, match=missing):
        PolicyServer(policy, wire=WireFormat.from_options(**WIRE), actions=rows())


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ({"actions": np.full((5, 2), np.nan)}, "is nan"),
        ({"actions": np.zeros((5, 7))}, r"shape \[5, 7\]"),
        ({"actions": "left"}, "no array 'actions'"),
        ({"plan": np.zeros((5, 2))}, r"only \['plan'\]"),
        (b"\xc1", "cannot be read"),
        (b"\x93\x01\x02\x03", "is a list"),
        ("Traceback: out of memory", "out of memory"),
        (None, "connection .* was lost"),
    ],
)
def test_answers_of_a_server_that_make_no_sense(observation: Observation, answer: Any, reason: str) -> None:
    with openpi_server(lambda _: answer) as (url, _), contextlib.closing(client(url)) as far:
        far.begin(assignment())
        with pytest.raises(PolicyFailed, match=reason):
            far.act(observation, elapsed=0.0)


def test_a_late_answer_fails_and_is_not_taken_for_the_next(observation: Observation) -> None:
    held = threading.Event()
    angles = iter([0.5, 0.1])

    def answer(_: dict[str, Any]) -> dict[str, Any]:
        angle = next(angles)
        if angle == 0.5:
            held.wait(20.0)
        return {"actions": np.full((5, 2), angle)}

    with openpi_server(answer) as (url, _), contextlib.closing(client(url, answer_limit=1.5)) as far:
        far.begin(assignment())
        with pytest.raises(PolicyFailed, match=r"no answer .* within 1\.5 s"):
            far.act(observation, elapsed=0.0)
        held.set()
        far.begin(assignment())
        motion = far.act(observation, elapsed=0.0)
        assert motion is not None and motion.positions[0, 0] == pytest.approx(0.1)


def test_a_lost_connection_to_a_server_without_memory_is_made_again(observation: Observation) -> None:
    asked: list[Any] = []

    def answer(message: dict[str, Any]) -> dict[str, Any] | None:
        asked.append(message)
        return None if len(asked) == 1 else {"actions": np.full((9, 2), 0.1)}

    with openpi_server(answer) as (url, port), contextlib.closing(client(url)) as far:
        far.begin(assignment())
        assert far.act(observation, elapsed=0.0) is not None
        np.testing.assert_array_equal(asked[0]["observation/state"], asked[1]["observation/state"])
        assert set(asked[0]) == {"observation/image", "observation/state", "prompt"}
    with openpi_server(answer, port), contextlib.closing(far):
        far.begin(assignment())
        assert far.act(observation, elapsed=0.0) is not None
    with pytest.raises(PolicyFailed, match="no policy server answered"):
        client(url, connect_limit=0.2).begin(assignment())


def test_one_client_is_served_at_a_time(observation: Observation) -> None:
    with serving(Nodding(), rows()) as server, contextlib.closing(client(server.url)) as first:
        first.begin(assignment())
        with contextlib.closing(client(server.url)) as second, pytest.raises(PolicyFailed, match="busy"):
            second.begin(assignment())
        assert first.act(observation, elapsed=0.0) is not None


def test_the_key_of_a_server_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InvalidConfig, match="POLICY_KEY"):
        client("ws://127.0.0.1:1", api_key_variable="POLICY_KEY")
    monkeypatch.setenv("POLICY_KEY", "secret")
    seen: list[str] = []

    def look(connection: Any, request: Any) -> Any:
        seen.append(request.headers["Authorization"])
        return connection.respond(401, "no\n")

    with sync_server.serve(lambda _: None, "127.0.0.1", 0, process_request=look) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        url = f"ws://127.0.0.1:{server.socket.getsockname()[1]}"
        with pytest.raises(PolicyFailed, match="401"):
            client(url, api_key_variable="POLICY_KEY").begin(assignment())
    thread.join()
    assert seen == ["Api-Key secret"]


def test_remote_policies_are_made_of_files(tmp_path: Path) -> None:
    options = {**WIRE, "url": "ws://127.0.0.1:1", "actions": ["panda_joint1"], "rate": 10}
    path = tmp_path / "arm.json"
    path.write_text(json.dumps(options))
    policy = make_policy(f"websocket/{path}", task="push")
    assert policy.name == "websocket/arm" and policy.contract.period is None
    assert policy.contract.cameras == ("front",) and policy.contract.joints == JOINTS
    for wrong in ({"rate": "often"}, {"url": "http://127.0.0.1"}, {"speed": 1}, {"images": []}, {"actions": None}):
        path.write_text(json.dumps(options | wrong))
        with pytest.raises(InvalidConfig):
            make_policy(f"websocket/{path}", task="push")
    with pytest.raises(InvalidConfig, match="cannot be read"):
        make_policy("websocket/nowhere.json", task="push")


def test_a_policy_is_served_and_asked_without_a_configuration(tmp_path: Path, observation: Observation) -> None:
    server = serve_policy(Nodding("0.3"), list(PANDA_READY), rate=RATE, port=0)
    (tmp_path / "served.json").write_text(json.dumps(server.client_options()))
    with running(server), contextlib.closing(make_policy(f"websocket/{tmp_path}/served.json", task="push")) as far:
        assert far.contract == Contract(cameras=("front",), joints=tuple(PANDA_READY), period=0.5)
        far.begin(assignment())
        motion = far.act(observation, elapsed=0.0)
        assert motion is not None
        np.testing.assert_allclose(motion.positions[-1] - list(PANDA_READY.values()), [0.3, *[0.0] * 7], atol=1e-6)


def test_a_scripted_policy_is_served_with_all_that_it_has_to_know(observation: Observation) -> None:
    spec = sample_scene(3, TASK_KINDS["push"].options)
    goal = sample_task("push", spec, seed=3)
    knows = Assignment(task="push", instruction=goal.instruction, goal=goal, scene=spec, seed=11)
    near = make_policy("scripted/aim_30mm", task="push")
    server = serve_policy(make_policy("scripted/aim_30mm", task="push"), list(PANDA_READY), rate=50.0, port=0)
    with running(server), contextlib.closing(websocket_policy("far", **server.client_options())) as far:
        near.begin(knows)
        expected = near.act(observation, elapsed=0.0)
        far.begin(knows)
        motion = far.act(observation, elapsed=0.0)
        assert motion is not None and expected is not None
        columns = [motion.joint_names.index(name) for name in expected.joint_names]
        np.testing.assert_allclose(motion.positions[:, columns], expected.at(motion.times), atol=1e-5)
        far.begin(assignment())
        with pytest.raises(PolicyFailed, match="needs to know where everything truly is"):
            far.act(observation, elapsed=0.0)


def test_a_policy_that_needs_depth_sees_the_views_as_they_are(observation: Observation) -> None:
    policy = Nodding()
    policy.contract = replace(Nodding.contract, depth=True)
    with serving(policy, rows()) as server:
        with contextlib.closing(client(server.url, depth=True)) as far:
            far.begin(assignment())
            far.act(observation, elapsed=0.0)
        with contextlib.closing(client(server.url)) as far:
            far.begin(assignment())
            with pytest.raises(PolicyFailed, match="needs depth"):
                far.act(observation, elapsed=0.0)
    told, seen = observation.views["front"], policy.seen[0].views["front"]
    assert seen.camera == told.camera and seen.mounted_on == told.mounted_on
    for name in ("rgb", "points", "T_world_camera"):
        np.testing.assert_array_equal(getattr(seen, name), getattr(told, name))
    with (
        openpi_server(lambda _: None) as (url, _),
        contextlib.closing(client(url, scene=True)) as far,
        pytest.raises(PolicyFailed, match="understands neither"),
    ):
        far.begin(assignment())


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


# Checked


@pytest.mark.parametrize(
    ("way", "reason"),
    [
        ("raises", "ValueError: no idea"),
        ("nan", "panda_joint1.* not finite"),
        ("strange", "answers with a dict"),
        ("unknown joint", "'tail'"),
    ],
)
def test_bad_answers_fail(observation: Observation, kinematics: Kinematics, way: str, reason: str) -> None:
    with contextlib.closing(CheckedPolicy(Failing(way), kinematics)) as policy:
        policy.begin(assignment())
        with pytest.raises(PolicyFailed, match=reason):
            policy.act(observation, elapsed=0.0)


def test_too_fast_commands_fail_also_from_afar(observation: Observation, kinematics: Kinematics) -> None:
    limit = kinematics.limits.velocity[0]
    with openpi_server(lambda _: {"actions": np.array([[fast[0] * (k + 1) / RATE, 0.0] for k in range(5)])}) as (
        url,
        _,
    ):
        policy = CheckedPolicy(client(url), kinematics, speed_tolerance=1.5, targets=JOINTS[1:])
        with contextlib.closing(policy):
            policy.begin(assignment())
            fast = [limit * 1.45]
            motion = policy.act(observation, elapsed=0.0)
            assert motion is not None and motion.positions[-1, 1] == pytest.approx(0.04)
            fast[0] = limit * 1.55
            with pytest.raises(PolicyFailed, match="would move at"):
                policy.act(observation, elapsed=0.0)


def test_a_policy_that_hangs_ends_only_its_episode(
    observation: Observation, kinematics: Kinematics, wait_for: Callable[..., Any]
) -> None:
    inner = Failing("hangs")
    policy = CheckedPolicy(inner, kinematics, answer_limit=1.0)
    policy.begin(assignment())
    with pytest.raises(PolicyFailed, match=r"no answer within 1 s"):
        policy.act(observation, elapsed=0.0)
    with pytest.raises(PolicyFailed, match="still busy"):
        policy.begin(assignment())
    inner.released.set()
    wait_for(lambda: has_begun(policy))
    motion = policy.act(observation, elapsed=0.0)
    assert isinstance(motion, RobotTrajectory)
    policy.close()


def has_begun(policy: Policy) -> bool:
    try:
        policy.begin(assignment())
    except PolicyFailed:
        return False
    return True


# In processes


def test_a_policy_that_dies_begins_anew(observation: Observation) -> None:
    with contextlib.closing(ProcessPolicy("p", "policy_kinds:Failing/killed", task="push")) as policy:
        assert policy.contract == Nodding.contract
        for _ in range(2):
            policy.begin(assignment())
            with pytest.raises(PolicyFailed, match=r"died with exit code -9 \(SIGKILL\)"):
                policy.act(observation, elapsed=0.0)
            with pytest.raises(PolicyFailed, match="is gone"):
                policy.act(observation, elapsed=0.5)


def test_a_policy_that_hangs_is_killed(observation: Observation) -> None:
    policy = ProcessPolicy("p", "policy_kinds:Failing/hangs", task="push", answer_limit=1.5)
    policy.begin(assignment())
    with pytest.raises(PolicyFailed, match=r"no answer within 1\.5 s; its process was killed"):
        policy.act(observation, elapsed=0.0)
    policy.close()


def test_a_policy_in_a_process_answers_like_itself(observation: Observation) -> None:
    near = Nodding("0.3")
    with contextlib.closing(make_policy("process/policy_kinds:Nodding/0.3", task="push")) as far:
        far.begin(assignment())
        told, expected = (policy.act(observation, elapsed=0.0) for policy in (far, near))
        assert told is not None and expected is not None
        np.testing.assert_array_equal(told.positions, expected.positions)
        assert far.act(observation, elapsed=2.0) is None


def test_errors_of_making_a_policy_come_through() -> None:
    with pytest.raises(InvalidInput, match="not registered"):
        ProcessPolicy("p", "nothing/at all", task="push")
    with pytest.raises(PolicyFailed, match="died with exit code 5"):
        ProcessPolicy("p", "policy_kinds:unmakeable", task="push")


# LeRobot

IMAGE = "observation.images.front"
CONFIG: dict[str, Any] = {
    "type": "act",
    "input_features": {
        "observation.state": {"type": "STATE", "shape": [2]},
        IMAGE: {"type": "VISUAL", "shape": [3, 48, 64]},
    },
    "output_features": {"action": {"type": "ACTION", "shape": [2]}},
    "n_obs_steps": 1,
    "n_action_steps": 4,
}


def lerobot_options(tmp_path: Path, config: Mapping[str, Any] = CONFIG, **changed: Any) -> str:
    (tmp_path / "policy").mkdir(exist_ok=True)
    (tmp_path / "policy" / "config.json").write_text(json.dumps(config))
    options = {"folder": "policy", "state": list(JOINTS), "actions": list(JOINTS), "rate": 10.0} | changed
    (tmp_path / "act.json").write_text(json.dumps(options))
    return f"lerobot/{tmp_path}/act.json"


@pytest.fixture
def lerobot_stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """The few calls that the adapter makes; lerobot itself cannot be installed beside this package (docs/data.md)."""
    for name in (
        "lerobot",
        "lerobot.configs",
        "lerobot.configs.policies",
        "lerobot.policies",
        "lerobot.policies.factory",
    ):
        monkeypatch.setitem(sys.modules, name, __import__("lerobot_stand_in"))


def test_a_policy_of_lerobot_tells_its_contract(
    tmp_path: Path, observation: Observation, lerobot_stand_in: None
) -> None:
    pytest.importorskip("torch")
    policy = make_policy(lerobot_options(tmp_path), task="push")
    assert policy.contract == Contract(cameras=("front",), size=(64, 48), joints=JOINTS, period=0.4)
    policy.begin(assignment())
    motion = policy.act(observation, elapsed=0.0)
    assert motion is not None
    brightness = observation.views["front"].rgb[..., 0].mean() / 255  # the stand-in tells what it was shown
    np.testing.assert_allclose(motion.positions[:, 0], brightness + np.arange(4), rtol=1e-5)
    np.testing.assert_allclose(motion.positions[:, 1], PANDA_READY[JOINTS[1]], rtol=1e-5)


@pytest.mark.parametrize(
    ("config", "changed", "error"),
    [
        ({"output_features": {}}, {}, InvalidModel),
        ({"input_features": {"observation.environment_state": {"type": "ENV", "shape": [2]}}}, {}, InvalidModel),
        ({}, {"state": ["panda_joint1"]}, InvalidConfig),
        ({}, {"actions": ["panda_joint1"]}, InvalidConfig),
        ({"n_obs_steps": 2}, {"steps": 2}, InvalidConfig),
        ({}, {"speed": 1}, InvalidConfig),
    ],
)
def test_policies_of_lerobot_that_do_not_fit(
    tmp_path: Path, config: dict[str, Any], changed: dict[str, Any], error: type[Exception], lerobot_stand_in: None
) -> None:
    with pytest.raises(error):
        make_policy(lerobot_options(tmp_path, CONFIG | config, **changed), task="push")


def test_lerobot_is_missing_with_a_way_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lerobot", None)
    with pytest.raises(MissingDependency, match="pip install lerobot"):
        make_policy(lerobot_options(tmp_path), task="push")


def test_the_real_lerobot_is_asked(tmp_path: Path, observation: Observation) -> None:
    pytest.importorskip("lerobot", reason="it cannot be installed beside this package (docs/data.md)")
    from lerobot.configs.types import FeatureType, PolicyFeature
    from lerobot.policies.act.configuration_act import ACTConfig
    from lerobot.policies.act.modeling_act import ACTPolicy
    from lerobot.policies.factory import make_pre_post_processors
    from torch import full, ones, zeros

    config = ACTConfig(
        input_features={
            "observation.state": PolicyFeature(FeatureType.STATE, (2,)),
            IMAGE: PolicyFeature(FeatureType.VISUAL, (3, 48, 64)),
        },
        output_features={"action": PolicyFeature(FeatureType.ACTION, (2,))},
        **{"chunk_size": 10, "n_action_steps": 8, "device": "cpu", "pretrained_backbone_weights": None},
        **{"dim_model": 32, "n_heads": 2, "dim_feedforward": 64},
    )
    ACTPolicy(config).save_pretrained(tmp_path / "policy")
    spread = {"mean": zeros(2), "std": ones(2)}
    statistics = {"observation.state": spread, "action": {"mean": full((2,), 0.5), "std": full((2,), 0.01)}}
    statistics[IMAGE] = {"mean": zeros(3, 1, 1), "std": ones(3, 1, 1)}
    for processor in make_pre_post_processors(config, dataset_stats=statistics):
        processor.save_pretrained(tmp_path / "policy")
    options = {"folder": "policy", "state": list(JOINTS), "actions": list(JOINTS), "rate": 10.0}
    (tmp_path / "act.json").write_text(json.dumps(options))
    policy = make_policy(f"lerobot/{tmp_path}/act.json", task="push")
    assert policy.contract == Contract(cameras=("front",), size=(64, 48), joints=JOINTS, period=0.8)
    motions = []
    for _ in range(2):
        policy.begin(assignment())
        motions.append(policy.act(observation, elapsed=0.0))
        assert policy.act(observation, elapsed=0.8) is not None
    first, second = motions
    assert first is not None and second is not None
    np.testing.assert_array_equal(first.positions, second.positions)
    np.testing.assert_allclose(first.positions, 0.5, atol=0.1)
