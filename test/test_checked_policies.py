"""Policies that are checked, and policies in real processes: whatever goes wrong ends an episode and nothing else."""

import contextlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from policy_kinds import Failing, Nodding, assignment
from rig import Rig

from fourd_ros.errors import (
    InvalidInput,
    PolicyFailed,
)
from fourd_ros.policies.base import Policy
from fourd_ros.policies.checked import CheckedPolicy
from fourd_ros.policies.process_policy import ProcessPolicy
from fourd_ros.policies.registry import make_policy
from fourd_ros.records import Observation, RobotTrajectory
from fourd_ros.robot.kinematics import Kinematics
from fourd_ros.robot.panda import panda_description


@pytest.fixture(scope="module")
def observation() -> Observation:
    return Rig(48, width=64).observation()


@pytest.fixture(scope="module")
def kinematics() -> Kinematics:
    return Kinematics(panda_description())


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
