"""Parameters of a real node: declared from a dataclass, checked at start and at every change."""

from dataclasses import dataclass

import pytest
from rclpy.node import Node
from rclpy.parameter import Parameter

from fourd_ros.bridge.parameters import declare, parameter, table
from fourd_ros.errors import InvalidParameter


@dataclass(frozen=True, kw_only=True)
class Settings:
    rate: float = parameter(10.0, "images a second [Hz]", minimum=0.0, maximum=100.0)
    depth: int = parameter(3, "messages kept", minimum=1)
    mode: str = parameter("fast", "how to work", choices=("fast", "exact"))
    cameras: tuple[str, ...] = parameter((), "camera names")
    gains: tuple[float, ...] = parameter((1.0, 2.0), "of the joints", minimum=0.0)
    device: str = parameter("cpu", "where to compute", read_only=True)
    enabled: bool = parameter(True, "work at all")
    weights: int = parameter(1, "to load", minimum=1, maximum=9, fixed_while="configured")

    def __post_init__(self) -> None:
        if self.mode == "exact" and self.rate > 50:
            raise InvalidParameter("exact mode keeps up with 50 Hz only")


@pytest.fixture
def make_node(rclpy_context):
    nodes = []

    def make(**overrides):
        values = [Parameter(name, value=value) for name, value in overrides.items()]
        nodes.append(Node("parameters", parameter_overrides=values, use_global_arguments=False))
        return nodes[-1]

    yield make
    for node in nodes:
        node.destroy_node()


def test_defaults_and_overrides(make_node):
    assert declare(make_node(), Settings) == Settings()
    settings = declare(make_node(rate=5.5, cameras=["left", "right"], device="cuda"), Settings)
    assert settings == Settings(rate=5.5, cameras=("left", "right"), device="cuda")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("rate", 1000.0),
        ("rate", float("nan")),
        ("rate", 7),
        ("depth", 0),
        ("mode", "slow"),
        ("cameras", [1, 2]),
        ("gains", [-1.0]),
        ("enabled", "yes"),
    ],
)
def test_wrong_value_at_start_is_told_by_name(make_node, name, value):
    with pytest.raises(InvalidParameter, match=name):
        declare(make_node(**{name: value}), Settings)


def test_change_arrives_as_a_new_instance(make_node):
    node, changes = make_node(), []
    first = declare(node, Settings, on_change=changes.append)
    (result,) = node.set_parameters([Parameter("rate", value=20.0)])
    assert result.successful
    node.set_parameters([Parameter("cameras", value=["front"])])
    assert changes == [Settings(rate=20.0), Settings(rate=20.0, cameras=("front",))]
    assert first == Settings()
    assert declare(node, Settings) == changes[-1]


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("rate", 1000.0, "rate"),
        ("rate", 1, "type"),
        ("mode", "slow", "fast"),
        ("gains", [-1.0], "gains"),
        ("device", "cuda", "device|read-only"),
    ],
)
def test_wrong_change_is_refused_with_a_reason(make_node, name, value, told):
    import re

    node, changes = make_node(), []
    declare(node, Settings, on_change=changes.append)
    (result,) = node.set_parameters([Parameter(name, value=value)])
    assert not result.successful
    assert re.search(told, result.reason)
    assert not changes
    assert declare(node, Settings) == Settings()


def test_a_fixed_parameter_follows_the_state_of_the_node(make_node):
    node, states = make_node(), ["unconfigured"]
    declare(node, Settings, state=lambda: states[-1])
    assert node.describe_parameter("weights").additional_constraints == "while unconfigured"
    for state, accepted in (("unconfigured", True), ("configuring", False), ("active", False), ("unconfigured", True)):
        states.append(state)
        (result,) = node.set_parameters([Parameter("weights", value=len(states))])
        assert result.successful is accepted, state
        assert accepted or state in result.reason
    assert declare(node, Settings).weights == len(states)


def test_values_that_contradict_each_other_are_refused_together(make_node):
    node = make_node()
    declare(node, Settings)
    changes = [Parameter("mode", value="exact"), Parameter("rate", value=60.0)]
    result = node.set_parameters_atomically(changes)
    assert not result.successful
    assert "50 Hz" in result.reason
    assert declare(node, Settings) == Settings()


def test_descriptors_carry_range_and_description(make_node):
    node = make_node()
    declare(node, Settings)
    rate = node.describe_parameter("rate")
    assert rate.description == "images a second [Hz]"
    assert (rate.floating_point_range[0].from_value, rate.floating_point_range[0].to_value) == (0.0, 100.0)
    assert node.describe_parameter("depth").integer_range[0].from_value == 1
    assert node.describe_parameter("device").read_only
    assert "exact" in node.describe_parameter("mode").additional_constraints


def test_table_for_the_documentation():
    rows = {row.name: row for row in table(Settings)}
    assert list(rows) == ["rate", "depth", "mode", "cameras", "gains", "device", "enabled", "weights"]
    assert (rows["rate"].type, rows["rate"].default, rows["rate"].range) == ("float", "10", "0 .. 100")
    assert (rows["cameras"].type, rows["cameras"].default) == ("str[]", "[]")
    assert rows["mode"].range == "'fast' | 'exact'"
    assert rows["device"].range == "at start only"
    assert rows["weights"].range == "1 .. 9, while unconfigured"
