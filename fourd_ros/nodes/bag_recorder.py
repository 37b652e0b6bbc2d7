"""Records topics of a running system into a bag, as the bytes that were sent."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from rclpy.node import Node
from rclpy.subscription import Subscription

from fourd_ros.data.bags import BagWriter
from fourd_ros.errors import FourdError, InvalidBag
from fourd_ros.nodes.bag_profiles import recorded_profile, recorder_profile
from fourd_ros.nodes.message_class import message_class

DISCOVERY_PERIOD = 0.1


@dataclass(frozen=True, kw_only=True)
class RecordSettings:
    """What is recorded, and for how long.

    Args:
        topics: full names, empty for all; hidden ones (actions' inner topics) only when named.
        exclude: full names left out.
        max_bytes: stop after so many bytes of messages, 0 for no limit.
        max_duration: stop after so many seconds, 0 for no limit.
    """

    topics: Sequence[str] = ()
    exclude: Sequence[str] = ()
    max_bytes: int = 0
    max_duration: float = 0.0

    def __post_init__(self) -> None:
        if self.max_bytes < 0 or self.max_duration < 0:
            raise InvalidBag(f"limits must not be negative: {self.max_bytes} bytes, {self.max_duration} s")


@dataclass(kw_only=True)
class RecordReport:
    """What was recorded.

    Args:
        messages: number written.
        data_bytes: their serialised size.
        topics: names subscribed to.
        skipped: reason by name of a topic that could not be.
    """

    messages: int = 0
    data_bytes: int = 0
    topics: list[str] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)


class BagRecorder:
    """Subscribes to topics as they appear, with a profile that their publishers can serve.

    Args:
        node: spun by one thread; its clock gives the times of recording.
        writer: an open bag, empty so far.
        settings: what is recorded, and for how long.
    """

    def __init__(self, node: Node, writer: BagWriter, settings: RecordSettings) -> None:
        self._node, self._writer, self._settings = node, writer, settings
        self._subscriptions: dict[str, Subscription[Any]] = {}
        self._began = time.monotonic()
        self._skipped: dict[str, str] = {}
        self._failure: FourdError | None = None
        self._timer = node.create_timer(DISCOVERY_PERIOD, self._discover)
        self._discover()

    @property
    def finished(self) -> bool:
        """Whether a limit is reached.

        Raises:
            InvalidBag: the bag can no longer be written.
        """
        if self._failure is not None:
            raise self._failure
        settings = self._settings
        return bool(
            (settings.max_bytes and self.data_bytes >= settings.max_bytes)
            or (settings.max_duration and time.monotonic() - self._began >= settings.max_duration)
        )

    @property
    def data_bytes(self) -> int:
        """Serialised size of what was recorded so far."""
        return self._writer.byte_count

    def report(self) -> RecordReport:
        """What was recorded so far."""
        return RecordReport(
            messages=self._writer.message_count,
            data_bytes=self.data_bytes,
            topics=sorted(self._subscriptions),
            skipped=dict(self._skipped),
        )

    def close(self) -> None:
        """Unsubscribe; nothing is written after this returns."""
        self._node.destroy_timer(self._timer)
        for subscription in self._subscriptions.values():
            self._node.destroy_subscription(subscription)
        self._subscriptions.clear()

    def _discover(self) -> None:
        for topic, types in self._node.get_topic_names_and_types():
            if topic in self._subscriptions or not self._wanted(topic):
                continue
            try:
                self._subscribe(topic, types)
            except FourdError as error:
                self._skip(topic, str(error))

    def _wanted(self, topic: str) -> bool:
        if topic in self._settings.exclude:
            return False
        if self._settings.topics:
            return topic in self._settings.topics
        return not any(part.startswith("_") for part in topic.split("/"))

    def _subscribe(self, topic: str, types: Sequence[str]) -> None:
        offered = [info.qos_profile for info in self._node.get_publishers_info_by_topic(topic)]
        if not offered:
            return
        if len(types) > 1:
            raise InvalidBag(f"several types: {sorted(types)}")
        kind = message_class(types[0])
        self._writer.declare(topic, types[0], qos=recorded_profile(offered[0]))
        self._subscriptions[topic] = self._node.create_subscription(
            kind, topic, partial(self._write, topic, types[0]), recorder_profile(offered), raw=True
        )

    def _write(self, topic: str, typename: str, data: bytes) -> None:
        if self._failure is not None or self.finished:
            return
        try:
            self._writer.write_raw(topic, typename, data, self._node.get_clock().now().nanoseconds)
        except FourdError as error:
            self._failure = error

    def _skip(self, topic: str, reason: str) -> None:
        if topic not in self._skipped:
            self._node.get_logger().warning(f"'{topic}' is not recorded: {reason}")
        self._skipped[topic] = reason
