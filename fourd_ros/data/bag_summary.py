"""What is in a bag, in a form for tables and for scripts."""

from dataclasses import asdict, dataclass
from typing import Any

from fourd_ros.data.bag_inputs import WorldModelInputs, find_inputs
from fourd_ros.data.bag_reader import BagReader, Topic

NS = 1_000_000_000


@dataclass(frozen=True, kw_only=True)
class TopicSummary:
    """One topic.

    Args:
        name: full name.
        typename: like ``sensor_msgs/msg/Image``.
        count: messages.
        rate: messages a second between the first and the last [Hz], 0 for fewer than two.
        longest_gap: between two messages [s].
        reliability: of its publisher, empty where the bag does not say (as the next).
        durability: of its publisher.
        latched: late subscribers get the last messages.
    """

    name: str
    typename: str
    count: int
    rate: float
    longest_gap: float
    reliability: str
    durability: str
    latched: bool


@dataclass(frozen=True, kw_only=True)
class BagSummary:
    """A whole bag.

    Args:
        path: where it is.
        start_ns: time of the first message [ns].
        duration: to the last message [s].
        message_count: of all topics.
        file_bytes: size on disk.
        topics: by name.
        inputs: what a world model would be fed with, and what is missing.
    """

    path: str
    start_ns: int
    duration: float
    message_count: int
    file_bytes: int
    topics: tuple[TopicSummary, ...]
    inputs: WorldModelInputs

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


def summarize(reader: BagReader) -> BagSummary:
    """Look through the indexes of an open bag; the messages stay unread where the file has an index."""
    files = [reader.path] if reader.path.is_file() else [file for file in reader.path.iterdir() if file.is_file()]
    return BagSummary(
        path=str(reader.path),
        start_ns=reader.start_ns,
        duration=reader.duration,
        message_count=reader.message_count,
        file_bytes=sum(file.stat().st_size for file in files),
        topics=tuple(_summarize_topic(reader, topic) for _, topic in sorted(reader.topics.items())),
        inputs=find_inputs(reader.topics),
    )


def _summarize_topic(reader: BagReader, topic: Topic) -> TopicSummary:
    stamps = reader.stamps(topic.name)
    span = (int(stamps[-1]) - int(stamps[0])) / NS if len(stamps) > 1 else 0.0
    first = topic.qos[0] if topic.qos else None
    return TopicSummary(
        name=topic.name,
        typename=topic.typename,
        count=topic.count,
        rate=(len(stamps) - 1) / span if span else 0.0,
        longest_gap=float((stamps[1:] - stamps[:-1]).max()) / NS if len(stamps) > 1 else 0.0,
        reliability=first.reliability.name.lower() if first else "",
        durability=first.durability.name.lower() if first else "",
        latched=topic.latched,
    )
