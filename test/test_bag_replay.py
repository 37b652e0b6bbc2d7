"""A bag as a managed node: it plays while it is active, and a loop turns the clock back."""

from itertools import pairwise
from pathlib import Path
from typing import Any

from bag_rig import write_small_bag
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.node import Node
from rclpy.parameter import Parameter
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import Image

from fourd_ros.bridge.times import stamp_to_ns
from fourd_ros.nodes.bag_replay import BagReplayNode


def make_replay(bag: Path, **parameters: Any) -> BagReplayNode:
    overrides = {"bag": str(bag), "wait_for": ["/front/image"], **parameters}
    return BagReplayNode(parameter_overrides=[Parameter(name, value=value) for name, value in overrides.items()])


def test_it_loops_while_it_is_active_and_turns_the_clock_back(spin: Any, wait_for: Any, tmp_path: Path) -> None:
    listener = spin(Node("listener"))
    images: list[Image] = []
    clock: list[int] = []
    listener.create_subscription(Image, "/front/image", images.append, 100)
    listener.create_subscription(Clock, "/clock", lambda m: clock.append(stamp_to_ns(m.clock)), 100)
    node = spin(make_replay(write_small_bag(tmp_path / "bag"), rate=10.0, autostart=False))
    node.trigger_configure()
    assert not images
    node.trigger_activate()
    wait_for(lambda: any(later < earlier for earlier, later in pairwise(clock)), "a second pass")
    assert len(images) >= 15
    node.trigger_deactivate()
    wait_for(lambda: listener.count_publishers("/front/image") == listener.count_publishers("/clock") == 0)
    node.trigger_activate()
    heard = len(images)
    wait_for(lambda: len(images) > heard, "images after the second activation")


def test_a_bag_that_is_not_there_keeps_it_unconfigured(spin: Any, tmp_path: Path) -> None:
    node = spin(make_replay(tmp_path / "nothing", autostart=False))
    assert node.trigger_configure() == TransitionCallbackReturn.FAILURE
    assert node.state_label == "unconfigured"
    assert node.counters["invalid_bag"] == 1
