"""ROS nodes in a process of their own as policies of an evaluation: asked in lockstep, in both worlds."""

import contextlib
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rclpy
from conftest import OtherProcess
from policy_kinds import assignment
from rig import Rig
from ros_policy_nodes import BEHAVIOURS, JOINT, PERIOD, STEP
from rosgraph_msgs.msg import Clock

from fourd_ros.errors import InvalidConfig, InvalidJoints, NoSubscriber, PolicyFailed
from fourd_ros.evaluation.policy.starts import StartOptions
from fourd_ros.evaluation.policy.trials import Trials, try_start
from fourd_ros.nodes.ros_policy import ros_policy
from fourd_ros.policies.base import Policy
from fourd_ros.policies.registry import make_policy
from fourd_ros.records import Observation
from fourd_ros.world_model.base import ModelOptions

OPTIONS: dict[str, Any] = {
    "cameras": ["front"],
    "joints": [JOINT],
    "period": PERIOD,
    "position_joints": [JOINT],
    "reset_service": "policy/reset",
    "connect_limit": 20.0,
    "answer_limit": 20.0,
}


@pytest.fixture(scope="module")
def observation() -> Observation:
    return Rig(48, width=64).observation()


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OtherProcess]:
    log = tmp_path_factory.mktemp("nodes") / "log"
    process = OtherProcess([sys.executable, "-m", "ros_policy_nodes", *BEHAVIOURS], log, {})
    yield process
    process.terminate()
    print(process.output())


def heard(nodes: OtherProcess, policy: str) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in nodes.output().splitlines() if line.startswith("{")]
    return [line for line in lines if line["policy"] == policy]


def policy_file(folder: Path, behaviour: str, **changes: Any) -> str:
    path = folder / f"{behaviour}.json"
    path.write_text(json.dumps({**OPTIONS, "namespace": behaviour, **changes}), encoding="utf-8")
    return f"ros/{path}"


@pytest.fixture
def connected(tmp_path: Path, nodes: OtherProcess) -> Iterator[Callable[..., Policy]]:
    """``connected(behaviour, **options)``: the policy, closed at the end."""
    with contextlib.ExitStack() as stack:

        def make(behaviour: str, **changes: Any) -> Policy:
            policy = make_policy(policy_file(tmp_path, behaviour, **changes), task="push")
            stack.callback(policy.close)
            return policy

        yield make


def test_nodes_drive_both_worlds_and_bad_ones_cost_their_own_units(tmp_path: Path, nodes: OtherProcess) -> None:
    wrong = {"silent": "no answer within 0.5 s on /silent/arm_controller/joint_trajectory", "nan": "not finite"}
    names = {
        "turns": policy_file(tmp_path, "turns"),
        "silent": policy_file(tmp_path, "silent", answer_limit=0.5),
        "nan": policy_file(tmp_path, "nan"),
    }
    found = try_start(
        Trials(
            kind="push",
            number=0,
            options=StartOptions(width=64, height=48, shadows=False),
            policies=tuple(names.values()),
            seeds=(0,),
            backends=("kinematic",),
            model=ModelOptions(threads=1),
            truth=True,
            limit=1.5,
            answer_limit=30.0,
            judge=None,
            least_trust=0.0,
        )
    )
    results = dict(zip(names, found.results["kinematic"], strict=True))
    for name, reason in wrong.items():
        for outcome in (results[name].imagined, results[name].true):
            assert outcome is not None and not outcome.counts
            assert reason in outcome.invalid
    assert results["turns"].imagined.counts
    assert results["turns"].true is not None and results["turns"].true.counts

    told = heard(nodes, "turns")
    assert [line["episode"] for line in told] == [1, 1, 1, 2, 2, 2]
    for episode in (told[:3], told[3:]):
        np.testing.assert_allclose(np.diff([line["joint"] for line in episode]), STEP, atol=0.02)
        np.testing.assert_array_equal(np.diff([line["stamp_ns"] for line in episode]), PERIOD * 1e9)
    assert told[3]["stamp_ns"] > told[2]["stamp_ns"]
    for line in told:
        assert line["one_stamp"] and line["clock_ns"] == line["stamp_ns"]
        assert line["image"] == [48, 64] and "front_optical_frame" in line["frames"]
        assert line["instruction"].startswith("push") and line["goal_frame"] == "panda_link0"
        assert line["goal"][2] == 0.0


@pytest.mark.parametrize(
    ("behaviour", "end"), [("turns", PERIOD), ("waits", 1.0 + PERIOD), ("arrays", None), ("done", None)]
)
def test_what_commands_mean(
    connected: Callable[..., Policy], observation: Observation, behaviour: str, end: float | None
) -> None:
    policy = connected(behaviour)
    policy.contract.check("node", observation, scene=False)
    for elapsed in (0.0, PERIOD):
        policy.begin(assignment())
        motion = policy.act(observation, elapsed=elapsed)
        assert (motion is None) == (behaviour == "done")
        if motion is not None:
            assert motion.joint_names == (JOINT,)
            assert motion.positions[-1, 0] == pytest.approx(observation.joint_positions[JOINT] + STEP)
            assert end is None or motion.times[-1] == pytest.approx(end)


def test_an_answer_to_an_earlier_question_is_none(connected: Callable[..., Policy], observation: Observation) -> None:
    policy = connected("outdated", answer_limit=0.5)
    policy.begin(assignment())
    with pytest.raises(PolicyFailed, match=r"within 0.5 s .*; 1 were stamped before the observation"):
        policy.act(observation, elapsed=0.0)


def test_a_node_that_cannot_begin_ends_the_episode(connected: Callable[..., Policy]) -> None:
    with pytest.raises(PolicyFailed, match="/refuses/policy/reset failed: out of order"):
        connected("refuses").begin(assignment())


def test_nobody_else_may_talk_to_the_node(connected: Callable[..., Policy], rclpy_context: Any) -> None:
    stranger = rclpy.create_node("stranger", namespace="turns")
    stranger.create_publisher(Clock, "clock", 1)
    with pytest.raises(NoSubscriber, match=r"\['stranger'\] must not publish /turns/clock too"):
        connected("turns", connect_limit=2.0).begin(assignment())
    stranger.destroy_node()
    for policy in (connected("turns"), connected("turns")):
        policy.begin(assignment())


def test_nobody_listens(connected: Callable[..., Policy]) -> None:
    policy = connected("turns", namespace="desert", connect_limit=0.2)
    with pytest.raises(NoSubscriber, match=r"/desert/front/image or /desert/front/depth.*/desert/arm_con"):
        policy.begin(assignment())


def test_the_contract_follows_from_the_options() -> None:
    contract = ros_policy("node", cameras=["front"], joints=[JOINT], size=[64, 48], period=None).contract
    assert contract.cameras == ("front",) and contract.joints == (JOINT,)
    assert contract.size == (64, 48) and contract.period is None and contract.depth and not contract.scene


@pytest.mark.parametrize(
    ("options", "error", "reason"),
    [
        ({}, InvalidConfig, "neither cameras nor joints"),
        ({"cameras": ["front"], "period": 0.0}, InvalidConfig, "period of 0 s"),
        ({"cameras": ["front"], "namespace": "a b"}, InvalidConfig, "a b"),
        ({"cameras": ["front"], "command_topic": "arm//x"}, InvalidConfig, "arm//x"),
        ({"cameras": ["front"], "position_joints": ["tail"]}, InvalidJoints, "tail"),
        ({"cameras": ["front"], "speed": 3}, InvalidConfig, "speed"),
    ],
)
def test_bad_options_are_refused(tmp_path: Path, options: dict[str, Any], error: type[Exception], reason: str) -> None:
    path = tmp_path / "node.json"
    path.write_text(json.dumps(options), encoding="utf-8")
    with pytest.raises(error, match=reason):
        make_policy(f"ros/{path}", task="push")
