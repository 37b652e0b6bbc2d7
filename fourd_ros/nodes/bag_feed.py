"""Feeds a bag to a node up to an instant, and not one image further."""

import time
from collections import deque
from collections.abc import Iterator, Mapping

from fourd_ros.data.bag_inputs import WorldModelInputs
from fourd_ros.data.bags import BagReader, RawMessage
from fourd_ros.data.cdr_stamps import first_stamp_ns, header_stamp_ns
from fourd_ros.nodes.bag_publishers import BagPublishers

NS = 1_000_000_000
LOOKBACK = 1.0
PATIENCE = 0.5


class BagFeed:
    """Publishes what a world model needs in order to see one instant after the other.

    Everything but images is sent in full. Of the images, those around the next instant are sent; later ones are
    held back, so that a queue of one keeps the instant's.

    Args:
        reader: an open bag.
        inputs: its topics.
        publishers: of those topics.
        sync_slop: images of one instant differ by less than this [s].
        rate: recorded seconds per second at most, 0 as fast as it goes.
    """

    def __init__(
        self,
        reader: BagReader,
        inputs: WorldModelInputs,
        publishers: BagPublishers,
        *,
        sync_slop: float,
        rate: float,
    ) -> None:
        self._publishers, self._rate = publishers, rate
        self._slop_ns = round(sync_slop * NS)
        self._images = {topic for camera in inputs.cameras for topic in (camera.image, camera.depth) if topic}
        self._transforms = inputs.tf
        self._paced_by = {*self._images, *(name for name in (inputs.joint_states, inputs.tf) if name)}
        self._messages: Iterator[RawMessage] = reader.raw(inputs.topics())
        self._held: deque[RawMessage] = deque()
        self._seen: dict[str, int] = {}
        self._began: tuple[float, int] | None = None

    def advance(self, stamp_ns: int, recorded_ns: int) -> None:
        """Send everything up to an instant.

        Args:
            stamp_ns: stamp of the images of the instant [ns].
            recorded_ns: when the first of them was recorded [ns].
        """
        held, self._held = self._held, deque()
        for message in held:
            self._take(message, stamp_ns, recorded_ns)
        while not self._complete(stamp_ns):
            following = next(self._messages, None)
            if following is None:
                return
            self._take(following, stamp_ns, recorded_ns)
            if following.stamp_ns > recorded_ns + round(PATIENCE * NS):
                return

    def _take(self, message: RawMessage, stamp_ns: int, recorded_ns: int) -> None:
        if message.topic in self._images:
            own_ns = header_stamp_ns(message.data) or message.stamp_ns
            if own_ns > stamp_ns + self._slop_ns:
                self._seen[message.topic] = own_ns
                self._held.append(message)
                return
            if self._rate == 0 and message.stamp_ns < recorded_ns - round(LOOKBACK * NS):
                return
        self._seen[message.topic] = self._own_stamp(message)
        self._wait(message.stamp_ns)
        self._publishers.publish_safely(message, timeout=PATIENCE)

    def _own_stamp(self, message: RawMessage) -> int:
        read = first_stamp_ns if message.topic == self._transforms else header_stamp_ns
        return read(message.data) or message.stamp_ns

    def _complete(self, stamp_ns: int) -> bool:
        """Whether every input that has a stamp has reached the instant."""
        slop: Mapping[str, int] = dict.fromkeys(self._images, self._slop_ns)
        return all(self._seen.get(topic, -1) >= stamp_ns - slop.get(topic, 0) for topic in self._paced_by)

    def _wait(self, recorded_ns: int) -> None:
        if self._rate == 0:
            return
        if self._began is None:
            self._began = (time.monotonic(), recorded_ns)
        began, first_ns = self._began
        time.sleep(max(began + (recorded_ns - first_ns) / NS / self._rate - time.monotonic(), 0.0))
