"""What the world model node makes of its parameters, without a robot."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.parameter import Parameter
from test_store import make_rollout

from fourd_ros.nodes.world_model import WorldModelNode
from fourd_ros.records import RolloutFlags

SUCCESS, FAILURE = TransitionCallbackReturn.SUCCESS, TransitionCallbackReturn.FAILURE


@pytest.fixture
def make_node(rclpy_context: Any) -> Iterator[Callable[..., WorldModelNode]]:
    """A node with these parameters that nobody started."""
    nodes: list[WorldModelNode] = []

    def make(**parameters: Any) -> WorldModelNode:
        values = {"autostart": False, **parameters}
        overrides = [Parameter(name, value=value) for name, value in values.items()]
        nodes.append(WorldModelNode(parameter_overrides=overrides, use_global_arguments=False))
        return nodes[-1]

    yield make
    for node in nodes:
        node.destroy_node()


def test_a_node_without_the_weights_of_a_rung_says_so_and_offers_the_others(make_node: Any) -> None:
    node = make_node(backends=["kinematic", "test_ladder:Weighty"], compact_model="no_such_model")
    assert node.trigger_configure() == SUCCESS
    assert node.status()["backends"] == "kinematic"
    assert "no backend 'test_ladder:Weighty'" in node.warning() and "no_such_model" in node.warning()
    assert node.counters["unknown_model"] == 1
    assert node.trigger_cleanup() == SUCCESS and node.warning() == ""


def test_a_node_without_any_rung_is_not_configured(make_node: Any) -> None:
    node = make_node(backends=["test_ladder:Weighty"], compact_model="no_such_model")
    assert node.trigger_configure() == FAILURE


def test_options_reach_the_rungs(make_node: Any) -> None:
    node = make_node(backends=["kinematic", "test_ladder:Weighty"], compact_model="depth_completion")
    assert node.trigger_configure() == SUCCESS
    assert node.status()["backends"] == "kinematic, weighty" and node.warning() == ""


def test_rungs_are_timed_when_the_node_is_configured(make_node: Any) -> None:
    node = make_node(backends=["kinematic"], rehearsal_seconds=20.0)
    assert node.trigger_configure() == SUCCESS
    assert node.ladder.rungs[0].cost.is_rehearsed and node.status()["cost_kinematic_ms"] > 0


def test_answers_that_are_not_to_be_trusted_are_counted(make_node: Any) -> None:
    node = make_node(backends=["kinematic"], rehearsal_seconds=0.0, low_trust=0.4)
    assert node.trigger_configure() == node.trigger_activate() == SUCCESS
    assert "newest_trust" not in node.status()
    doubtful = RolloutFlags.OUTSIDE_WORKSPACE | RolloutFlags.TRUNCATED
    node.present([("a", replace(make_rollout(), trust=0.9)), ("b", replace(make_rollout(), trust=0.2, flags=doubtful))])
    assert node.status()["newest_trust"] == "0.20"
    counted = {name: node.counters[name] for name in ("low_trust", "outside_workspace", "truncated", "camera_unseen")}
    assert counted == {"low_trust": 1, "outside_workspace": 1, "truncated": 1, "camera_unseen": 0}
