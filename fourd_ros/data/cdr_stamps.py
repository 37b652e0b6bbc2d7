"""The stamp of a serialised message, without decoding it."""

import struct

# A CDR message begins with four bytes that name its byte order; a Header begins with its stamp.
_PREFIX = 4
_SEQUENCE_LENGTH = 4


def header_stamp_ns(data: bytes | memoryview) -> int | None:
    """Stamp of a message that begins with a ``std_msgs/Header`` [ns]; None when it is too short."""
    return _stamp_at(data, _PREFIX)


def first_stamp_ns(data: bytes | memoryview) -> int | None:
    """Stamp of the first element of a sequence of stamped elements (``tf2_msgs/TFMessage``) [ns]; None without one."""
    if len(data) < _PREFIX + _SEQUENCE_LENGTH or not any(data[_PREFIX : _PREFIX + _SEQUENCE_LENGTH]):
        return None
    return _stamp_at(data, _PREFIX + _SEQUENCE_LENGTH)


def _stamp_at(data: bytes | memoryview, offset: int) -> int | None:
    if len(data) < offset + 8:
        return None
    order = "<" if data[1] & 1 else ">"
    sec, nanosec = struct.unpack_from(f"{order}iI", data, offset)
    return int(sec) * 1_000_000_000 + int(nanosec)
