"""One safetensors file: its header without torch, its tensors one at a time, and how it is written.

Format: https://huggingface.co/docs/safetensors (8 bytes little-endian length, a JSON header, the data without holes).
Tensors are read into memory of their own, never mapped, so what a process holds is what it asked for.
"""

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fourd_ros.errors import CorruptModel, InvalidModel, MissingDependency
from fourd_ros.machine import pip_install
from fourd_ros.strict_json import parse_object

if TYPE_CHECKING:
    import torch

MAX_HEADER_BYTES = 100_000_000
"""The bound of the reference implementation."""

# Name in the file: name in torch, bytes per element.
_DTYPES = {
    "BOOL": ("bool", 1),
    "U8": ("uint8", 1),
    "I8": ("int8", 1),
    "F8_E4M3": ("float8_e4m3fn", 1),
    "F8_E5M2": ("float8_e5m2", 1),
    "U16": ("uint16", 2),
    "I16": ("int16", 2),
    "F16": ("float16", 2),
    "BF16": ("bfloat16", 2),
    "U32": ("uint32", 4),
    "I32": ("int32", 4),
    "F32": ("float32", 4),
    "U64": ("uint64", 8),
    "I64": ("int64", 8),
    "F64": ("float64", 8),
    "C64": ("complex64", 8),
}
STORED_TYPES = {torch_name: name for name, (torch_name, _) in _DTYPES.items()}
"""Name in the file by name of the torch type."""

_LENGTH = struct.Struct("<Q")
_METADATA = "__metadata__"
_POSERS = {
    b"PK\x03\x04": "a PyTorch checkpoint; 'fourd convert' reads those, nothing in it was run",
    b"\x80\x02": "a pickle; nothing in it was run, 'fourd convert' reads PyTorch checkpoints",
    b"\x80\x04": "a pickle; nothing in it was run, 'fourd convert' reads PyTorch checkpoints",
    b"version https://git-lfs": "a git-lfs pointer; 'git lfs pull' brings the file itself",
    b"\x89HDF": "an HDF5 file",
}


@dataclass(frozen=True, kw_only=True)
class TensorEntry:
    """Where a tensor lies in its file.

    Args:
        dtype: name of the torch type, such as ``bfloat16``.
        shape: of the tensor.
        offset: of its first byte in the file.
        size: in bytes.
    """

    dtype: str
    shape: tuple[int, ...]
    offset: int
    size: int


def read_header(path: Path) -> dict[str, TensorEntry]:
    """What a file holds, in the order of the data; every offset is checked against the size of the file.

    Raises:
        InvalidModel: it cannot be opened or is something else, such as a pickle.
        CorruptModel: truncated, or a header whose claims contradict each other or the size of the file.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            start = file.read(_LENGTH.size)
            length = _LENGTH.unpack(start)[0] if len(start) == _LENGTH.size else 0
            # A length that cannot be is no reason to read that much.
            plausible = 2 <= length <= min(MAX_HEADER_BYTES, size - _LENGTH.size)
            text = file.read(length if plausible else 64)
    except OSError as error:
        raise InvalidModel(f"'{path}' cannot be read: {error.strerror}") from error
    for signature, meaning in _POSERS.items():
        if (start + text).startswith(signature) and not (plausible and text.startswith(b"{")):
            raise InvalidModel(f"'{path}' is not a safetensors file but {meaning}")
    if not plausible:
        raise CorruptModel(f"'{path}' is not a safetensors file: {size} bytes, of which {length} are to be the header")
    try:
        return _entries(parse_object(text, what="the header", error=InvalidModel), _LENGTH.size + length, size)
    except InvalidModel as error:
        raise CorruptModel(f"'{path}' is damaged: {error}") from error


def read_tensor(path: Path, entry: TensorEntry) -> "torch.Tensor":
    """One tensor, in memory of its own.

    Raises:
        CorruptModel: the file became shorter than its header says.
        MissingDependency: torch is not installed.
    """
    library = import_torch()
    tensor: torch.Tensor = library.empty(entry.shape, dtype=getattr(library, entry.dtype))
    target = memoryview(_bytes_of(tensor))
    try:
        with path.open("rb", buffering=0) as file:
            file.seek(entry.offset)
            while target:  # one call reads 2 GiB at most
                count = file.readinto(target)
                if not count:
                    raise CorruptModel(f"'{path}' is truncated: {len(target)} bytes of a tensor are missing")
                target = target[count:]
    except OSError as error:
        raise InvalidModel(f"'{path}' cannot be read: {error.strerror}") from error
    return tensor


def write_tensors(tensors: Mapping[str, "torch.Tensor"], path: Path) -> None:
    """Write a new file; the same tensors give the same bytes.

    Raises:
        InvalidModel: a type that the format does not have.
    """
    import json

    # Widest elements first, so that every tensor is aligned.
    ordered = dict(sorted(tensors.items(), key=lambda item: (-item[1].element_size(), item[0])))
    header: dict[str, Any] = {_METADATA: {"format": "pt"}}
    end = 0
    for name, tensor in ordered.items():
        begin, end = end, end + tensor.numel() * tensor.element_size()
        header[name] = {"dtype": _stored_name(name, tensor), "shape": list(tensor.shape), "data_offsets": [begin, end]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % _LENGTH.size)
    with path.open("xb") as file:
        file.write(_LENGTH.pack(len(text)) + text)
        for tensor in ordered.values():
            file.write(_bytes_of(tensor.detach().cpu().contiguous()))


def type_name(dtype: "torch.dtype") -> str:
    """Of a torch type, such as ``bfloat16``."""
    return str(dtype).removeprefix("torch.")


def import_torch() -> Any:
    """The module torch.

    Raises:
        MissingDependency: it is not installed.
    """
    try:
        import torch
    except ImportError as error:
        raise MissingDependency(f"weights are read with torch: {pip_install('torch')}") from error
    return torch


def _bytes_of(tensor: "torch.Tensor") -> Any:
    """The memory of a contiguous CPU tensor as a flat array of bytes."""
    return tensor.reshape(-1).view(import_torch().uint8).numpy()


def _stored_name(name: str, tensor: "torch.Tensor") -> str:
    dtype = type_name(tensor.dtype)
    if dtype not in STORED_TYPES or name == _METADATA:
        raise InvalidModel(
            f"tensor '{name}' of type {dtype} cannot be stored as safetensors; types are {list(STORED_TYPES)}"
        )
    return STORED_TYPES[dtype]


def _entries(header: dict[str, Any], data_start: int, file_size: int) -> dict[str, TensorEntry]:
    header.pop(_METADATA, None)
    unreadable = [name for name in header if not name.isprintable()]
    if unreadable:
        raise InvalidModel(f"names with characters that cannot be shown: {unreadable[:3]}")
    entries = {name: _entry(name, claim, data_start) for name, claim in header.items()}
    ordered = sorted(entries.items(), key=lambda item: (item[1].offset, item[1].size))
    end = data_start
    for name, entry in ordered:
        if entry.offset != end:
            raise InvalidModel(f"the data of '{name}' begins at {entry.offset}, where {end} is the next free byte")
        end += entry.size
    if end != file_size:
        raise InvalidModel(f"its tensors end at byte {end}, the file at {file_size}")
    return dict(ordered)


def _entry(name: str, claim: Any, data_start: int) -> TensorEntry:
    try:
        dtype, item_size = _DTYPES[claim["dtype"]]
        shape = tuple(_count(size) for size in claim["shape"])
        begin, end = map(_count, claim["data_offsets"])
    except (KeyError, TypeError, ValueError) as error:
        raise InvalidModel(f"the entry of '{name}' cannot be read: {type(error).__name__}: {error}") from error
    if end - begin != prod(shape) * item_size:
        raise InvalidModel(f"'{name}' is {dtype}{list(shape)} and has {end - begin} bytes")
    return TensorEntry(dtype=dtype, shape=shape, offset=data_start + begin, size=end - begin)


def _count(value: Any) -> int:
    if type(value) is not int or value < 0:
        raise ValueError(f"{value!r} is no count")
    return value
