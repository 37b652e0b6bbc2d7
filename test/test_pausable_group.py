"""A callback group that can be held back, under the executor of this package's nodes."""

from collections.abc import Callable
from typing import Any

from rclpy.node import Node
from std_msgs.msg import Int32

from fourd_ros.bridge.qos import RESULT, sensor_qos
from fourd_ros.nodes.pausable_group import PausableGroup


def test_messages_wait_while_the_group_is_paused_and_only_the_newest_are_kept(
    spin: Callable[..., Any], wait_for: Any
) -> None:
    sender, hearer = spin(Node("sender")), Node("hearer")
    group = PausableGroup()
    paused: list[int] = []
    free: list[int] = []
    qos = sensor_qos(reliability="reliable", depth=2)
    hearer.create_subscription(Int32, "numbers", lambda one: paused.append(one.data), qos, callback_group=group)
    hearer.create_subscription(Int32, "numbers", lambda one: free.append(one.data), RESULT)
    spin(hearer)
    publisher = sender.create_publisher(Int32, "numbers", RESULT)
    wait_for(lambda: publisher.get_subscription_count() == 2, "both subscriptions")
    publisher.publish(Int32(data=1))
    wait_for(lambda: paused == free == [1], "the first number")
    group.pause()
    for number in range(2, 6):
        publisher.publish(Int32(data=number))
        wait_for(lambda number=number: free[-1] == number, f"number {number}")
    assert paused == [1]
    group.resume()
    hearer.executor.wake()
    wait_for(lambda: sorted(paused) == [1, 4, 5], "the newest two")
