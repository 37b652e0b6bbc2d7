"""Policies of LeRobot, from their folders."""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from policy_kinds import JOINTS, assignment
from rig import Rig

from fourd_ros.errors import (
    InvalidConfig,
    InvalidModel,
    MissingDependency,
)
from fourd_ros.policies.base import Contract
from fourd_ros.policies.registry import make_policy
from fourd_ros.records import Observation
from fourd_ros.robot.panda import PANDA_READY


@pytest.fixture(scope="module")
def observation() -> Observation:
    return Rig(48, width=64).observation()


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
