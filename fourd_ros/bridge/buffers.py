"""Byte fields of messages without detours.

rclpy keeps a ``uint8[]`` field as an ``array.array('B')``. Appending to it in place is one plain copy; assigning
copies once more, and lists or NumPy arrays are converted element by element (hundreds of milliseconds for a cloud).
"""

from array import array
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fourd_ros.errors import InvalidInput


def append_bytes(field: "array[int]", data: NDArray[Any]) -> None:
    """Append the bytes of `data` to a message field."""
    field.frombytes(np.ascontiguousarray(data).reshape(-1).view(np.uint8).data)


def from_field(data: Any, error: type[InvalidInput]) -> NDArray[np.uint8]:
    """A flat byte view of a message field, whether rclpy (array.array) or rosbags (ndarray) made it.

    Raises:
        error: the field is no buffer of bytes.
    """
    try:
        return np.frombuffer(data, dtype=np.uint8) if len(data) else np.zeros(0, np.uint8)
    except (TypeError, ValueError, BufferError) as cause:
        raise error(f"the data field is a {type(data).__name__}, needed contiguous bytes") from cause
