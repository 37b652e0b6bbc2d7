"""Policies over real sockets, and everything that may go wrong there."""

import contextlib
import json
import threading
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from policy_kinds import JOINTS, Failing, Nodding, assignment
from remote_rig import RATE, STEPS, WIRE, client, msgpack, openpi_server, rows, sync_server
from rig import Rig

from fourd_ros.errors import (
    ContractViolated,
    InvalidConfig,
    PolicyFailed,
)
from fourd_ros.policies import msgpack_arrays
from fourd_ros.policies.base import Assignment, Contract, Policy
from fourd_ros.policies.checked import CheckedPolicy
from fourd_ros.policies.joint_numbers import ActionRows
from fourd_ros.policies.registry import make_policy
from fourd_ros.policies.websocket_policy import websocket_policy
from fourd_ros.policies.websocket_server import PolicyServer, serve_policy
from fourd_ros.policies.wire_format import WireFormat
from fourd_ros.records import Observation
from fourd_ros.robot.kinematics import Kinematics
from fourd_ros.robot.panda import PANDA_READY, panda_description
from fourd_ros.simulation.scene import sample_scene
from fourd_ros.simulation.tasks import TASK_KINDS, sample_task


@pytest.fixture(scope="module")
def observation() -> Observation:
    return Rig(48, width=64).observation()


@pytest.fixture(scope="module")
def kinematics() -> Kinematics:
    return Kinematics(panda_description())


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
