"""Publishers for the topics of a bag; messages leave as the bytes that were recorded."""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from rclpy.duration import Duration
from rclpy.node import Node
from rclpy.publisher import Publisher
from rosgraph_msgs.msg import Clock

from fourd_ros.bridge.times import ns_to_stamp
from fourd_ros.data.bags import RawMessage, Topic
from fourd_ros.errors import ClockConflict, MissingDependency, NoSubscriber
from fourd_ros.nodes.bag_profiles import CLOCK, player_profile
from fourd_ros.nodes.message_class import message_class

CLOCK_TOPIC = "/clock"
POLL_PERIOD = 0.01
CLOCK_CHECK_PERIOD = 0.1
CONFLICT_PATIENCE = 1.0


class BagPublishers:
    """One publisher per topic, and perhaps the one of ``/clock``.

    Args:
        node: owns the publishers; need not be spun.
        topics: what will be published. A recorded ``/clock`` is left out: it would contradict the player's.
        remaps: other names by recorded name.
        clock: publish ``/clock``.

    Attributes:
        skipped: type names that have no Python class here, by topic.
    """

    def __init__(
        self, node: Node, topics: Iterable[Topic], *, remaps: Mapping[str, str] | None = None, clock: bool = True
    ) -> None:
        self._node = node
        self._publishers: dict[str, Publisher[Any]] = {}
        self._unacknowledged: Counter[str] = Counter()
        self.skipped: dict[str, str] = {}
        for topic in topics:
            if topic.name == CLOCK_TOPIC:
                continue
            try:
                kind = message_class(topic.typename)
            except MissingDependency:
                self.skipped[topic.name] = topic.typename
                continue
            name = (remaps or {}).get(topic.name, topic.name)
            self._publishers[topic.name] = node.create_publisher(kind, name, player_profile(topic))
        self._clock = node.create_publisher(Clock, CLOCK_TOPIC, CLOCK) if clock else None
        self._clock_checked = 0.0
        self._conflict_since: float | None = None

    def destroy(self) -> None:
        """Give the publishers back."""
        for publisher in self._publishers.values():
            self._node.destroy_publisher(publisher)
        if self._clock is not None:
            self._node.destroy_publisher(self._clock)

    @property
    def topics(self) -> tuple[str, ...]:
        """Recorded names of what can be published."""
        return tuple(self._publishers)

    def publish(self, message: RawMessage) -> None:
        """Send one recorded message."""
        self._publishers[message.topic].publish(message.data)

    def publish_safely(self, message: RawMessage, *, timeout: float) -> None:
        """Send one message; first let reliable subscribers catch up when the queue is full of unread ones.

        Args:
            message: what to send.
            timeout: longest wait for the subscribers [s].
        """
        publisher = self._publishers[message.topic]
        if self._unacknowledged[message.topic] >= publisher.qos_profile.depth:
            publisher.wait_for_all_acked(Duration(seconds=timeout))
            self._unacknowledged[message.topic] = 0
        publisher.publish(message.data)
        self._unacknowledged[message.topic] += 1

    def flush(self, *, timeout: float) -> bool:
        """Wait until every reliable subscriber has everything; False when some did not within `timeout` [s]."""
        give_up = time.monotonic() + timeout
        for publisher in self._publishers.values():
            left = max(give_up - time.monotonic(), 0.0)
            if not publisher.wait_for_all_acked(Duration(seconds=left)):
                return False
        self._unacknowledged.clear()
        return True

    def publish_clock(self, stamp_ns: int) -> None:
        """Send the time, if this player owns the clock.

        Raises:
            ClockConflict: somebody else has published ``/clock`` too for `CONFLICT_PATIENCE`.
        """
        if self._clock is None:
            return
        self.check_clock(patience=CONFLICT_PATIENCE)
        self._clock.publish(Clock(clock=ns_to_stamp(stamp_ns)))

    def check_clock(self, *, patience: float = 0.0) -> None:
        """Look for another publisher of ``/clock``, at most every `CLOCK_CHECK_PERIOD`.

        Args:
            patience: it may stay for so long [s]; a newcomer that notices us goes by itself.

        Raises:
            ClockConflict: there is one.
        """
        now = time.monotonic()
        if self._clock is None or now - self._clock_checked < CLOCK_CHECK_PERIOD:
            return
        self._clock_checked = now
        infos = self._node.get_publishers_info_by_topic(CLOCK_TOPIC)
        if len(infos) <= 1:
            self._conflict_since = None
            return
        self._conflict_since = self._conflict_since or now
        if now - self._conflict_since >= patience:
            raise ClockConflict(
                f"{self._strangers(infos)} already publishes /clock; stop it, or play without a clock (--no-clock)"
            )

    def wait_for_subscribers(self, topics: Iterable[str], *, timeout: float, stopped: Callable[[], bool]) -> None:
        """Wait until each of `topics` has somebody listening.

        Args:
            topics: recorded names.
            timeout: longest wait [s].
            stopped: ends the wait early when it becomes true.

        Raises:
            NoSubscriber: some have no subscriber in time, or are not played.
        """
        waiting = list(topics)
        unknown = sorted(set(waiting) - self._publishers.keys())
        if unknown:
            raise NoSubscriber(f"{unknown} are not played; played: {sorted(self._publishers)}")
        give_up = time.monotonic() + timeout
        while waiting and not stopped():
            waiting = [topic for topic in waiting if not self._publishers[topic].get_subscription_count()]
            if waiting and time.monotonic() > give_up:
                raise NoSubscriber(f"nobody subscribed to {waiting} within {timeout} s")
            time.sleep(POLL_PERIOD)

    def _strangers(self, infos: Iterable[Any]) -> str:
        """Names of the other publishers' nodes, as far as they are known yet."""
        names = {f"{info.node_namespace.rstrip('/')}/{info.node_name}" for info in infos}
        names -= {self._node.get_fully_qualified_name()}
        return ", ".join(sorted(name for name in names if "UNKNOWN" not in name)) or "another node"
