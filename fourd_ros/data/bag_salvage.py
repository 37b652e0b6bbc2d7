"""What is still readable of a damaged MCAP file."""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import zstandard
from mcap.exceptions import McapError
from mcap.records import Channel, Chunk, McapRecord, Message, Schema
from mcap.stream_reader import StreamReader, breakup_chunk
from rosbags.rosbag2.metadata import parse_qos

from fourd_ros.data.bag_writer import BagWriter
from fourd_ros.errors import InvalidBag

MCAP_MAGIC = b"\x89MCAP0\r\n"
MAX_CHUNK_BYTES = 1024 * 1024 * 1024
NS = 1_000_000_000

_DAMAGE = (McapError, ValueError, KeyError, OSError, RuntimeError, struct.error, zstandard.ZstdError)


@dataclass(frozen=True, kw_only=True)
class Extent:
    """The readable beginning of a file.

    Args:
        first_ns: earliest time of recording in it [ns], 0 when nothing is readable.
        last_ns: latest [ns].
        readable_bytes: up to the first damage.
        total_bytes: size of the file.
    """

    first_ns: int
    last_ns: int
    readable_bytes: int
    total_bytes: int

    def __str__(self) -> str:
        seconds = (self.last_ns - self.first_ns) / NS
        return f"readable: {seconds:.3f} s in {self.readable_bytes} of {self.total_bytes} bytes"


@dataclass(frozen=True, slots=True)
class SalvagedMessage:
    """A message with what is needed to write it again."""

    schema: Schema
    channel: Channel
    stamp_ns: int
    data: bytes


def is_mcap(path: Path) -> bool:
    """Whether the file begins like an MCAP file."""
    with path.open("rb") as file:
        return file.read(len(MCAP_MAGIC)) == MCAP_MAGIC


def is_whole(path: Path) -> bool:
    """Whether an MCAP file begins and ends as a writer leaves it."""
    size = path.stat().st_size
    if size < 2 * len(MCAP_MAGIC) or not is_mcap(path):
        return False
    with path.open("rb") as file:
        file.seek(size - len(MCAP_MAGIC))
        return file.read() == MCAP_MAGIC


def readable_extent(path: Path) -> Extent:
    """How far a file can be read; chunks are counted without being unpacked."""
    stamps: list[int] = []
    end = 0
    for record, position in _records(path):
        end = position
        if isinstance(record, Chunk) and record.message_end_time:
            stamps += (record.message_start_time, record.message_end_time)
        elif isinstance(record, Message):
            stamps.append(record.log_time)
    return Extent(
        first_ns=min(stamps, default=0),
        last_ns=max(stamps, default=0),
        readable_bytes=end,
        total_bytes=path.stat().st_size,
    )


def salvage(path: Path) -> Iterator[SalvagedMessage]:
    """Messages from the beginning of a file up to its first damage, in the order of the file."""
    schemas: dict[int, Schema] = {}
    channels: dict[int, Channel] = {}
    for record in _unpacked(path):
        if isinstance(record, Schema):
            schemas[record.id] = record
        elif isinstance(record, Channel):
            channels[record.id] = record
        elif isinstance(record, Message) and record.channel_id in channels:
            channel = channels[record.channel_id]
            if channel.schema_id in schemas:
                yield SalvagedMessage(schemas[channel.schema_id], channel, record.log_time, record.data)


def recover(source: Path | str, target: Path | str, *, overwrite: bool = False) -> int:
    """Write what is readable of a damaged bag as a new, whole one.

    Args:
        source: an ``.mcap`` file, or a folder that holds some (its metadata is not needed).
        target: the bag to create.
        overwrite: replace `target` where it exists.

    Returns:
        The number of messages saved.

    Raises:
        InvalidBag: nothing in `source` is readable, or `target` exists.
    """
    source = Path(source)
    files = sorted(source.glob("*.mcap")) if source.is_dir() else [source]
    if not files or not all(file.is_file() and is_mcap(file) for file in files):
        raise InvalidBag(f"'{source}' is not, and does not hold, an MCAP file; only those can be recovered")
    with BagWriter(target, overwrite=overwrite) as writer:
        for file in files:
            for message in salvage(file):
                _copy(message, writer)
        if not writer.message_count:
            raise InvalidBag(f"nothing in '{source}' is readable")
    return writer.message_count


def _copy(message: SalvagedMessage, writer: BagWriter) -> None:
    schema, channel = message.schema, message.channel
    writer.types.offer(schema.name, schema.data.decode("utf-8", "replace"), schema.encoding)
    profiles = parse_qos(channel.metadata.get("offered_qos_profiles", ""))
    writer.write_raw(channel.topic, schema.name, message.data, message.stamp_ns, qos=profiles[0] if profiles else None)


def _unpacked(path: Path) -> Iterator[McapRecord]:
    for record, _ in _records(path):
        if not isinstance(record, Chunk):
            yield record
            continue
        try:
            yield from breakup_chunk(record, validate_crc=True)
        except _DAMAGE:
            return


def _records(path: Path) -> Iterator[tuple[McapRecord, int]]:
    """Records, chunks unopened, with the position after each; ends quietly at the first damage."""
    with path.open("rb") as file:
        try:
            for record in StreamReader(file, emit_chunks=True, record_size_limit=MAX_CHUNK_BYTES).records:
                if isinstance(record, Chunk) and record.uncompressed_size > MAX_CHUNK_BYTES:
                    return
                yield record, file.tell()
        except _DAMAGE:
            return
