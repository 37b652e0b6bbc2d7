"""Writing rosbag2 folders (MCAP, metadata version 9) that either exist whole or not at all."""

import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

from rosbags.interfaces import Connection
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer, WriterError

from fourd_ros.data.bag_qos import LATCHED_TOPICS, Qos, offered_qos
from fourd_ros.data.message_types import MessageTypes
from fourd_ros.errors import InvalidBag

METADATA_VERSION: Literal[9] = 9


class BagWriter:
    """A new bag; it appears under its name only when the ``with`` block ends well.

    Type hashes and the publishers' QoS are written as rosbag2 expects them. Stamps may come in any order.

    Args:
        path: folder to create.
        compression: ``zstd`` or ``""``; applies to the chunks of the MCAP file.
        overwrite: replace an existing bag at `path` (when the new one is whole) instead of refusing.
        custom_data: key-value pairs for the ``custom_data`` of the metadata.
        types: of the reader whose messages are copied, so that its types are known here too.

    Attributes:
        types: message classes by type name, for the messages given to `write`.
        message_count: messages written so far.
        byte_count: bytes of serialised messages written so far.

    Raises:
        InvalidBag: `path` exists already, or cannot be created.

    Example:
        >>> with BagWriter("out/reach") as bag:                             # doctest: +SKIP
        ...     text = bag.types["std_msgs/msg/String"](data="<robot .../>")
        ...     bag.write("/robot_description", "std_msgs/msg/String", text, 0, latched=True)
    """

    def __init__(
        self,
        path: Path | str,
        *,
        compression: Literal["zstd", ""] = "zstd",
        overwrite: bool = False,
        custom_data: Mapping[str, str] | None = None,
        types: MessageTypes | None = None,
    ) -> None:
        self.path = Path(path)
        self.types = types or MessageTypes()
        self.message_count = 0
        self.byte_count = 0
        self._compression = compression
        self._overwrite = overwrite
        self._custom_data = dict(custom_data or {})
        self._connections: dict[str, Connection] = {}
        self._writer: Writer | None = None
        if self.path.exists() and not overwrite:
            raise InvalidBag(f"'{self.path}' exists already; name another folder or ask to overwrite it")

    def __enter__(self) -> Self:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._nest = Path(tempfile.mkdtemp(prefix=f".{self.path.name}.", suffix=".partial", dir=self.path.parent))
        except OSError as error:
            raise InvalidBag(f"no bag can be written at '{self.path}': {error}") from error
        writer = Writer(self._nest / self.path.name, version=METADATA_VERSION, storage_plugin=StoragePlugin.MCAP)
        if self._compression:
            writer.set_compression(CompressionMode.STORAGE, CompressionFormat[self._compression.upper()])
        for key, value in self._custom_data.items():
            writer.set_custom_data(key, value)
        writer.open()
        self._writer = writer
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        writer, self._writer = self._writer, None
        assert writer is not None
        try:
            if exc_type is None:
                writer.close()
                self._publish()
            else:
                writer.abort()
        finally:
            shutil.rmtree(self._nest, ignore_errors=True)

    def declare(
        self, topic: str, typename: str, *, qos: Qos | None = None, latched: bool = False, reliable: bool = True
    ) -> None:
        """Announce a topic with its profile before (or without) its first message.

        Args:
            topic: full name.
            typename: like ``sensor_msgs/msg/Image``.
            qos: the profile as recorded; the other options are then of no account.
            latched: transient local, as `LATCHED_TOPICS` always are.
            reliable: otherwise best effort.

        Raises:
            InvalidBag: the topic was declared with another type.
            UnknownMessageType: no definition of the type is at hand.
        """
        known = self._connections.get(topic)
        if known is not None:
            if known.msgtype != typename:
                raise InvalidBag(f"'{topic}' holds '{known.msgtype}', not '{typename}'; a topic has one type")
            return
        profile = qos or offered_qos(latched=latched or topic.rsplit("/", 1)[-1] in LATCHED_TOPICS, reliable=reliable)
        self._connections[topic] = self._open_writer.add_connection(
            topic,
            typename,
            msgdef=self.types.definition(typename),
            rihs01=self.types.hash(typename),
            offered_qos_profiles=[profile],
        )

    def write(self, topic: str, typename: str, message: object, stamp_ns: int, *, latched: bool = False) -> None:
        """Append a message made of `types`.

        Args:
            topic: full name; declared with a default profile when it is new.
            typename: like ``sensor_msgs/msg/Image``.
            message: instance of ``types[typename]``.
            stamp_ns: time of recording [ns].
            latched: late subscribers get it too (``/tf_static`` and ``/robot_description`` always are).
        """
        self.write_raw(topic, typename, self.types.serialize(message, typename), stamp_ns, latched=latched)

    def write_raw(
        self,
        topic: str,
        typename: str,
        data: bytes | memoryview,
        stamp_ns: int,
        *,
        qos: Qos | None = None,
        latched: bool = False,
    ) -> None:
        """Append a message that is serialised already; arguments as in `write` and `declare`."""
        if topic not in self._connections:
            self.declare(topic, typename, qos=qos, latched=latched)
        elif self._connections[topic].msgtype != typename:
            self.declare(topic, typename)
        try:
            self._open_writer.write(self._connections[topic], stamp_ns, data)
        except (WriterError, OSError) as error:
            raise InvalidBag(f"'{self.path}' cannot be written: {error}") from error
        self.message_count += 1
        self.byte_count += len(data)

    @property
    def _open_writer(self) -> Writer:
        if self._writer is None:
            raise InvalidBag(f"the bag '{self.path}' is not open; write inside its 'with' block")
        return self._writer

    def _publish(self) -> None:
        """Put the whole bag under its name; an old one goes only after the new one is there."""
        if self._overwrite and self.path.exists():
            self.path.rename(self._nest / "replaced")
        os.rename(self._nest / self.path.name, self.path)
