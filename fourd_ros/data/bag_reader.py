"""Reading rosbag2 folders and plain MCAP files, with bounds on what is read into memory."""

import struct
import sys
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from rosbags.interfaces import Connection, ConnectionExtRosbag2, MessageDefinitionFormat
from rosbags.rosbag2 import Reader, ReaderError
from rosbags.rosbag2.storage_mcap import McapReader

from fourd_ros.data.bag_qos import Qos, is_latched
from fourd_ros.data.bag_salvage import MAX_CHUNK_BYTES, is_mcap, is_whole, readable_extent
from fourd_ros.data.message_types import MessageTypes
from fourd_ros.errors import InvalidBag

MAX_MESSAGE_BYTES = 256 * 1024 * 1024
NS = 1_000_000_000

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

_ENCODINGS = {MessageDefinitionFormat.MSG: "ros2msg", MessageDefinitionFormat.IDL: "ros2idl"}
_MALFORMED = (
    ReaderError,
    OSError,
    ArithmeticError,
    AssertionError,
    LookupError,
    MemoryError,
    RuntimeError,
    TypeError,
    ValueError,
    struct.error,
    zstd.ZstdError,
)


@dataclass(frozen=True, kw_only=True)
class Topic:
    """One topic of a bag.

    Args:
        name: full name.
        typename: like ``sensor_msgs/msg/Image``.
        count: number of messages.
        qos: profiles of its publishers, empty where the recorder did not say.
    """

    name: str
    typename: str
    count: int
    qos: tuple[Qos, ...]

    @property
    def latched(self) -> bool:
        """Whether late subscribers get the last messages."""
        return is_latched(self.name, self.qos)


@dataclass(frozen=True, slots=True)
class RawMessage:
    """A serialised message: topic, time of recording [ns], CDR bytes."""

    topic: str
    typename: str
    stamp_ns: int
    data: bytes


@dataclass(frozen=True, slots=True)
class BagMessage:
    """A decoded message: topic, time of recording [ns], instance of ``types[typename]``."""

    topic: str
    typename: str
    stamp_ns: int
    message: Any


class BagReader:
    """An existing bag: a rosbag2 folder, or a single ``.mcap`` or ``.db3`` file.

    Args:
        path: the folder or file.
        max_message_bytes: larger messages are an error, not an allocation.

    Attributes:
        types: message classes, those defined inside the bag included.
        topics: what is in it, by topic name.
        start_ns: time of the first message [ns], 0 when there is none.
        end_ns: time of the last message [ns].
        custom_data: key-value pairs of its metadata.

    Raises:
        InvalidBag: not a bag, truncated, without its metadata, or larger than the bounds.
            The message says how far a truncated file is readable and how to recover it.
    """

    def __init__(self, path: Path | str, *, max_message_bytes: int = MAX_MESSAGE_BYTES) -> None:
        self.path = Path(path)
        self.types = MessageTypes()
        self.topics: dict[str, Topic] = {}
        self.start_ns = self.end_ns = 0
        self.custom_data: dict[str, str] = {}
        self._max_message_bytes = max_message_bytes
        self._reader = _find(self.path)
        with self._typed_errors():
            self._reader.open()
        try:
            self._check_sizes()
            with self._typed_errors():
                self._describe()
        except InvalidBag:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give the files back."""
        if self._reader.is_open:
            self._reader.close()

    @property
    def duration(self) -> float:
        """Seconds from the first to the last message."""
        return (self.end_ns - self.start_ns) / NS

    @property
    def message_count(self) -> int:
        """Messages of all topics."""
        return sum(topic.count for topic in self.topics.values())

    def raw(
        self, topics: Collection[str] | None = None, *, start_ns: int | None = None, stop_ns: int | None = None
    ) -> Iterator[RawMessage]:
        """Serialised messages in the order of recording.

        Args:
            topics: names, None for all.
            start_ns: first time of recording [ns], inclusive.
            stop_ns: end of the range [ns], exclusive.

        Raises:
            InvalidBag: a topic is not there, or the file is damaged.
        """
        connections = self._connections(topics)
        if not connections:
            return
        with self._typed_errors():
            for connection, stamp_ns, data in self._reader.messages(connections, start_ns, stop_ns):
                if len(data) > self._max_message_bytes:
                    raise InvalidBag(
                        f"a message of {len(data)} bytes on '{connection.topic}'; allowed: {self._max_message_bytes}"
                    )
                yield RawMessage(connection.topic, connection.msgtype, stamp_ns, data)

    def messages(
        self, topics: Collection[str] | None = None, *, start_ns: int | None = None, stop_ns: int | None = None
    ) -> Iterator[BagMessage]:
        """Decoded messages; arguments as in `raw`.

        Raises:
            UnknownMessageType: the bag does not define a type and no definition is at hand.
        """
        for raw in self.raw(topics, start_ns=start_ns, stop_ns=stop_ns):
            yield BagMessage(raw.topic, raw.typename, raw.stamp_ns, self.types.deserialize(raw.data, raw.typename))

    def first(self, topic: str) -> BagMessage:
        """The first message of a topic.

        Raises:
            InvalidBag: the topic is not there or empty.
        """
        for message in self.messages([topic]):
            return message
        raise InvalidBag(f"'{self.path}' holds no message on '{topic}'")

    def stamps(self, topic: str) -> NDArray[np.int64]:
        """Times of recording of all messages of a topic [ns], sorted, shape [count].

        Read from the index of the MCAP file where it has one, without touching the messages.
        """
        connections = self._connections([topic])
        storages = [self._reader.storage, *getattr(self._reader.storage, "storages", ())]
        indexed = [storage for storage in storages if isinstance(storage, McapReader) and storage.chunks]
        with self._typed_errors():
            if indexed:
                blocks = [_indexed_stamps(storage, topic) for storage in indexed]
                return np.sort(np.concatenate(blocks))
            found = [stamp for _, stamp, _ in self._reader.messages(connections)] if connections else []
        return np.sort(np.array(found, dtype=np.int64))

    def _connections(self, topics: Collection[str] | None) -> list[Connection]:
        if topics is None:
            return list(self._reader.connections)
        missing = sorted(set(topics) - self.topics.keys())
        if missing:
            raise InvalidBag(f"'{self.path}' has no topic {missing}; it has {sorted(self.topics)}")
        return [connection for connection in self._reader.connections if connection.topic in topics]

    def _check_sizes(self) -> None:
        storage = self._reader.storage
        for part in (storage, *getattr(storage, "storages", ())):
            for chunk in getattr(part, "chunks", ()):
                if chunk.uncompressed_size > MAX_CHUNK_BYTES:
                    raise InvalidBag(
                        f"'{self.path}' has a chunk of {chunk.uncompressed_size} bytes; allowed: {MAX_CHUNK_BYTES}"
                    )

    def _describe(self) -> None:
        for name, info in self._reader.topics.items():
            if info.msgtype is None:
                types = sorted({connection.msgtype for connection in info.connections})
                raise InvalidBag(f"'{name}' has several types in '{self.path}': {types}")
            profiles = [
                profile
                for connection in info.connections
                if isinstance(connection.ext, ConnectionExtRosbag2)
                for profile in connection.ext.offered_qos_profiles
            ]
            self.topics[name] = Topic(name=name, typename=info.msgtype, count=info.msgcount, qos=tuple(profiles))
            if info.msgdef.format in _ENCODINGS:
                self.types.offer(info.msgtype, info.msgdef.data, _ENCODINGS[info.msgdef.format])
        self.custom_data |= {
            str(key): str(value) for key, value in (self._reader.storage.metadata.custom or {}).items()
        }
        if self._reader.message_count:
            self.start_ns, self.end_ns = self._reader.start_time, self._reader.end_time - 1

    @contextmanager
    def _typed_errors(self) -> Iterator[None]:
        try:
            yield
        except InvalidBag:
            raise
        except _MALFORMED as error:
            raise InvalidBag(f"'{self.path}' cannot be read: {error or type(error).__name__}") from error


def _find(path: Path) -> Reader:
    """The reader of a bag whose files are whole."""
    if not path.exists():
        raise InvalidBag(f"there is no '{path}'; needed: a rosbag2 folder or an .mcap file")
    if path.is_dir() and not (path / "metadata.yaml").is_file():
        raise InvalidBag(_without_metadata(path))
    for file in path.glob("*.mcap") if path.is_dir() else [path]:
        if file.suffix == ".mcap" and not is_whole(file):
            raise InvalidBag(_damage(file, path))
    try:
        return Reader(path)
    except (ReaderError, OSError) as error:
        raise InvalidBag(f"'{path}' is not a bag: {error}") from error


def _damage(file: Path, bag: Path) -> str:
    if not is_mcap(file):
        return f"'{file}' is not an MCAP file"
    return (
        f"'{file}' is truncated; {readable_extent(file)}. "
        f"Save that much with: fourd bag recover {bag} NEW_BAG (or: mcap recover)"
    )


def _without_metadata(path: Path) -> str:
    files = sorted(file.name for file in path.glob("*.mcap"))
    if not files:
        return f"'{path}' holds neither metadata.yaml nor .mcap files; it is not a bag"
    return (
        f"'{path}' has no metadata.yaml (was its recorder killed?), but {files}; "
        f"read such a file by its own name, or: fourd bag recover {path} NEW_BAG"
    )


def _indexed_stamps(storage: McapReader, topic: str) -> NDArray[np.int64]:
    """Times of a topic from the message index records that follow every chunk."""
    ids = {connection.id for connection in storage.connections if connection.topic == topic}
    blocks = [np.zeros(0, dtype=np.int64)]
    assert storage.bio is not None
    for chunk in storage.chunks:
        for channel, offset in chunk.message_index_offsets.items():
            if channel not in ids:
                continue
            storage.bio.seek(offset)
            _, _, _, size = struct.unpack("<BQHI", storage.bio.read(15))
            if size > chunk.message_index_length:
                raise InvalidBag(f"'{storage.path}' has a message index of {size} bytes where {offset} leaves less")
            pairs = np.frombuffer(storage.bio.read(size), dtype="<u8").reshape(-1, 2)
            blocks.append(pairs[:, 0].astype(np.int64))
    return np.concatenate(blocks)
