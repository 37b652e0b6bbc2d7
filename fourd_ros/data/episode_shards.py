"""Shards: safetensors files with the plain arrays of many episodes, written whole and read as slices of the file.

The layout is that of safetensors (https://github.com/huggingface/safetensors#format): the length of the header in
8 bytes, a JSON header, the arrays. Reading maps the file into memory, so a window costs one copy of its own bytes;
the header is checked against the size of the file before any of it is believed.
"""

import json
import mmap
from collections.abc import Mapping
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fourd_ros.errors import InvalidDataset
from fourd_ros.strict_json import parse_object
from fourd_ros.whole_file import whole_file

MAX_HEADER_BYTES = 64 * 1024**2

_DTYPES: dict[str, np.dtype[Any]] = {
    "F64": np.dtype("<f8"),
    "F32": np.dtype("<f4"),
    "I32": np.dtype("<i4"),
    "F16": np.dtype("<f2"),
    "U16": np.dtype("<u2"),
    "U8": np.dtype("u1"),
}
_CODES = {dtype: code for code, dtype in _DTYPES.items()}
_LENGTH_BYTES = _ALIGNMENT = 8


def write_shard(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write contiguous `arrays` of the types above, whole or not at all; the same arrays give the same bytes."""
    # Wide types first: every array then starts at a multiple of its own width.
    ordered = sorted(arrays, key=lambda name: -arrays[name].itemsize)
    header: dict[str, Any] = {}
    place = 0
    for name in ordered:
        array = arrays[name]
        header[name] = {
            "dtype": _CODES[array.dtype],
            "shape": array.shape,
            "data_offsets": (place, place + array.nbytes),
        }
        place += array.nbytes
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % _ALIGNMENT)
    with whole_file(path) as file:
        file.write(len(text).to_bytes(_LENGTH_BYTES, "little"))
        file.write(text)
        for name in ordered:
            file.write(arrays[name].reshape(-1).view(np.uint8).data)


class Shard:
    """A shard, mapped into memory; threads may share it.

    Args:
        path: of the file.

    Raises:
        InvalidDataset: missing or unreadable, or its header does not fit the file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            with path.open("rb") as file:
                self._bytes = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except (OSError, ValueError) as error:
            raise InvalidDataset(f"cannot read shard '{path}': {error}") from error
        try:
            self._header, self._start = _read_header(self._bytes)
        except (InvalidDataset, KeyError, TypeError, ValueError, AttributeError) as error:
            raise InvalidDataset(f"'{path}' is not a shard: {type(error).__name__}: {error}") from error

    @property
    def names(self) -> tuple[str, ...]:
        """Of all arrays."""
        return tuple(self._header)

    def array(self, name: str) -> NDArray[Any]:
        """One array, read-only: it is the file itself.

        Raises:
            InvalidDataset: the shard does not hold it.
        """
        try:
            dtype, shape, place = self._header[name]
        except KeyError as error:
            raise InvalidDataset(f"'{self.path}' does not hold '{name}'") from error
        return np.frombuffer(self._bytes, dtype, prod(shape), self._start + place).reshape(shape)


_Entry = tuple[np.dtype[Any], tuple[int, ...], int]


def _read_header(data: mmap.mmap) -> tuple[dict[str, _Entry], int]:
    """Type, shape and place of every array, and where the arrays begin."""
    length = int.from_bytes(data[:_LENGTH_BYTES], "little")
    start = _LENGTH_BYTES + length
    if length > MAX_HEADER_BYTES or start > len(data):
        raise InvalidDataset(f"its header claims {length} bytes, the file has {len(data)}")
    header = parse_object(data[_LENGTH_BYTES:start], what="its header", error=InvalidDataset)
    header.pop("__metadata__", None)
    return {name: _checked(name, entry, len(data) - start) for name, entry in header.items()}, start


def _checked(name: str, entry: Mapping[str, Any], room: int) -> _Entry:
    dtype, shape = _DTYPES[entry["dtype"]], tuple(entry["shape"])
    begin, end = entry["data_offsets"]
    if not all(type(size) is int and size >= 0 for size in (*shape, begin, end)) or end > room:
        raise InvalidDataset(f"'{name}' lies outside the file: {shape} at {begin}..{end} of {room} bytes")
    if end - begin != prod(shape) * dtype.itemsize:
        raise InvalidDataset(f"'{name}' has {end - begin} bytes, needed are {prod(shape) * dtype.itemsize}")
    return dtype, shape, begin
