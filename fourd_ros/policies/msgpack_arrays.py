"""Messages of numbers, texts and arrays as bytes: MessagePack in the dialect of ``openpi-client``.

An array is the map ``{b"__ndarray__": True, b"data": bytes in C order, b"dtype": dtype.str, b"shape": sizes}``, a NumPy
scalar ``{b"__npgeneric__": True, b"data": number, b"dtype": dtype.str}`` (``packages/openpi-client/src/openpi_client/
msgpack_numpy.py`` of https://github.com/Physical-Intelligence/openpi, after https://github.com/lebedov/msgpack-numpy).
Here both are numbers, nothing else: no objects, no records, no pickle.
"""

import math
import re
from types import ModuleType
from typing import Any

import numpy as np

from fourd_ros.errors import InvalidMessage, MissingDependency, TooLarge
from fourd_ros.machine import pip_install

MAX_BYTES = 64 * 1024**2
"""Eight uncompressed images of 1080 lines have 50 MB."""

MAX_ITEMS = 100_000
"""In all lists and maps of a message together; many numbers are an array, which is one item."""

_ARRAY, _SCALAR = b"__ndarray__", b"__npgeneric__"
_NUMBERS = re.compile(r"[<>|=][biuf][1248]", re.ASCII)
_MAX_DIMENSIONS = 16


def encode(value: object) -> bytes:
    """The bytes of a message.

    Args:
        value: maps, lists, texts, bytes, numbers and arrays of numbers, in each other.

    Raises:
        InvalidMessage: something else is in it.
        MissingDependency: msgpack is not installed.
    """
    try:
        packed: bytes = _msgpack().packb(value, default=_plain)
    except (TypeError, ValueError, OverflowError) as error:
        raise InvalidMessage(f"it cannot be sent: {error}") from error
    return packed


def decode(data: bytes, *, max_bytes: int = MAX_BYTES) -> Any:
    """The value that `encode` was given; its arrays are views of bytes that cannot be written to.

    Args:
        data: of one message.
        max_bytes: bound on them; arrays, texts and bytes take no more memory than that, and of the rest there are at
            most `MAX_ITEMS`.

    Raises:
        InvalidMessage: these are no bytes of a message.
        TooLarge: there are more than `max_bytes`.
        MissingDependency: msgpack is not installed.
    """
    if len(data) > max_bytes:
        raise TooLarge(f"a message of {len(data)} bytes; at most {max_bytes} are taken")
    msgpack, items = _msgpack(), _Items()
    try:
        return msgpack.unpackb(
            data,
            object_hook=items.of_map,
            list_hook=items.of_list,
            ext_hook=_no_extension,
            timestamp=1,
            max_array_len=MAX_ITEMS,
            max_map_len=MAX_ITEMS,
        )
    except (ValueError, TypeError, OverflowError, msgpack.UnpackException) as error:
        raise InvalidMessage(f"{len(data)} bytes that are no message: {str(error) or type(error).__name__}") from error


class _Items:
    """Counts what a message is put together from while it is."""

    def __init__(self) -> None:
        self._left = MAX_ITEMS

    def of_list(self, found: list[Any]) -> list[Any]:
        self._count(1 + len(found))
        return found

    def of_map(self, found: dict[Any, Any]) -> Any:
        self._count(1 + len(found))
        return _revived(found)

    def _count(self, items: int) -> None:
        self._left -= items
        if self._left < 0:
            raise ValueError(f"it has more than {MAX_ITEMS} items")


def _plain(value: object) -> dict[bytes, object]:
    if isinstance(value, np.ndarray) and _NUMBERS.fullmatch(value.dtype.str):
        return {_ARRAY: True, b"data": value.tobytes(), b"dtype": value.dtype.str, b"shape": value.shape}
    if isinstance(value, np.generic) and _NUMBERS.fullmatch(value.dtype.str):
        return {_SCALAR: True, b"data": value.item(), b"dtype": value.dtype.str}
    what = f"array of {value.dtype}" if isinstance(value, np.ndarray | np.generic) else type(value).__name__
    raise TypeError(f"no {what} is taken, only numbers, texts, bytes, lists, maps and arrays of numbers")


def _revived(found: dict[Any, Any]) -> Any:
    if _ARRAY in found:
        return _array(found.get(b"data"), _dtype(found), found.get(b"shape"))
    if _SCALAR in found:
        number = found.get(b"data")
        if not isinstance(number, bool | int | float):
            raise ValueError(f"a scalar holds a {type(number).__name__}")
        return np.asarray(number, _dtype(found))[()]
    return found


def _array(data: object, dtype: np.dtype[Any], shape: object) -> np.ndarray[Any, Any]:
    if not isinstance(data, bytes) or not isinstance(shape, list) or len(shape) > _MAX_DIMENSIONS:
        raise ValueError(f"an array of shape {shape!r:.100} in a {type(data).__name__}")
    if not all(type(size) is int and size >= 0 for size in shape):
        raise ValueError(f"an array of shape {shape!r:.100}")
    if math.prod(shape) * dtype.itemsize != len(data):
        raise ValueError(f"an array of shape {shape} and type {dtype} in {len(data)} bytes")
    return np.frombuffer(data, dtype).reshape(shape)


def _dtype(found: dict[Any, Any]) -> np.dtype[Any]:
    name = found.get(b"dtype")
    if not isinstance(name, str) or not _NUMBERS.fullmatch(name):
        raise ValueError(f"the type {name!r:.100} is none of numbers")
    return np.dtype(name)


def _no_extension(code: int, data: bytes) -> None:
    raise ValueError(f"extension {code} is not taken")


def _msgpack() -> ModuleType:
    try:
        import msgpack
    except ImportError as error:
        raise MissingDependency(f"messages of remote policies need msgpack: {pip_install('msgpack')}") from error
    return msgpack  # type: ignore[no-any-return]
