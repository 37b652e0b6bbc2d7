"""One file of somebody's weights: what it really is, and its tensors.

Pickles go through ``torch.load(weights_only=True)``. Types of other libraries that a checkpoint needs are named by
its converter; in their place stands `Inert`, which holds nothing and does nothing, so that not even allowed types
run code of their own.
"""

import contextlib
import pickle
import re
import warnings
import zipfile
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fourd_ros.errors import InvalidCheckpoint, InvalidModel, MissingDependency, UnsafeCheckpoint
from fourd_ros.machine import pip_install
from fourd_ros.model_io.pickle_types import mentioned_types
from fourd_ros.model_io.safetensors_file import read_header, read_tensor, type_name

if TYPE_CHECKING:
    import torch

NEEDED_TORCH = (2, 6)
"""Before it, ``weights_only`` could be made to run code (CVE-2025-32434)."""

MAX_LEGACY_BYTES = 2 << 30
"""Files that torch wrote before version 1.6 cannot be memory-mapped; larger ones are refused."""

MAX_PICKLE_BYTES = 256 << 20
"""Of the structure around the tensors; that of the largest checkpoints has a few MB."""

MAX_ENTRIES = 1_000_000
"""Names in one file."""

MAX_NAME = 1000
"""Characters of a name; containers that contain themselves would make it endless."""

_CHUNK = 1 << 22

_ARCHIVE = b"PK\x03\x04"
_PICKLE = b"\x80"

_IMPOSTORS = (
    (b"version https://git-lfs", "a Git LFS pointer; run 'git lfs pull' where it was cloned"),
    (b"<", "a web page; the download needs a login or consent, or the address was that of a page"),
    (b"{", "JSON text; look into it, it may be the error message of a download"),
    (b"\x1f\x8b", "a gzip archive; unpack it first"),
)


class WeightFile(ABC):
    """Tensors in one open file.

    Attributes:
        maps: whether its tensors are views into the file, so that closing it gives their memory back.
        others: type by name of what is stored beside tensors.
    """

    maps = True
    others: Mapping[str, str]

    @property
    @abstractmethod
    def names(self) -> Sequence[str]:
        """Of the tensors."""

    @abstractmethod
    def describe(self, name: str) -> tuple[tuple[int, ...], str, int]:
        """Shape of a tensor, the name of its torch type, and its bytes."""

    @abstractmethod
    def read(self, name: str) -> "torch.Tensor":
        """A tensor, on the CPU."""


def open_weights(path: Path, *, allowed_types: Iterable[str] = ()) -> WeightFile:
    """Open a file by what it contains, whatever its name says; a pickle that is called safetensors is refused.

    Args:
        path: ``.safetensors``, or what ``torch.save`` wrote.
        allowed_types: full names of types beside torch's own that its pickle may mention.

    Raises:
        InvalidCheckpoint: it is something else (named where it can be told), truncated or damaged.
        UnsafeCheckpoint: its pickle mentions other types, or goes by another name; nothing was run.
        MissingDependency: torch is older than 2.6.
    """
    start = _first_bytes(path)
    if start[8:9] == b"{":  # before it stands the length of the header, which may look like anything
        return _Safetensors(path)
    archive = start.startswith(_ARCHIVE)
    if archive:
        _check_archive(path)
    if archive or start.startswith(_PICKLE):
        if path.suffix == ".safetensors":
            raise UnsafeCheckpoint(
                f"'{path}' is not safetensors, as its name says, but a pickle; nothing was run. If you know that it is "
                "a PyTorch checkpoint, call it .pt"
            )
        return _Pickled(path, allowed_types, legacy=not archive)
    for prefix, meaning in _IMPOSTORS:
        if start.lstrip().lower().startswith(prefix):
            raise InvalidCheckpoint(f"'{path}' is {meaning}")
    raise InvalidCheckpoint(f"'{path}' is neither safetensors nor written by torch.save ({len(start)} bytes looked at)")


def summed_bytes(path: Path) -> int:
    """How many bytes `check_sums` reads."""
    if not _first_bytes(path).startswith(_ARCHIVE):
        return 0
    with zipfile.ZipFile(path) as archive:
        return sum(record.file_size for record in archive.infolist())


def check_sums(path: Path) -> Iterator[int]:
    """Compare what ``torch.save`` wrote with the checksums in the file; yields the bytes done, in steps.

    Raises:
        InvalidCheckpoint: a checksum differs.
    """
    if not _first_bytes(path).startswith(_ARCHIVE):
        return
    try:
        with zipfile.ZipFile(path) as archive:
            for record in archive.infolist():
                with archive.open(record) as file:
                    while chunk := file.read(_CHUNK):
                        yield len(chunk)
    except (zipfile.BadZipFile, EOFError) as error:
        raise InvalidCheckpoint(f"'{path}' is damaged ({error}); fetch it again") from error


class Inert:
    """Stands for an object of an allowed type; it takes whatever made that object and forgets it."""

    def __new__(cls, *args: Any, **kwargs: Any) -> "Inert":
        return super().__new__(cls)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        pass


class _Safetensors(WeightFile):
    maps = False

    def __init__(self, path: Path) -> None:
        with _as_checkpoint_error():
            self._entries = read_header(path)
        self._path = path
        self.others = {}

    @property
    def names(self) -> Sequence[str]:
        return list(self._entries)

    def describe(self, name: str) -> tuple[tuple[int, ...], str, int]:
        entry = self._entries[name]
        return entry.shape, entry.dtype, entry.size

    def read(self, name: str) -> "torch.Tensor":
        with _as_checkpoint_error():
            return read_tensor(self._path, self._entries[name])


class _Pickled(WeightFile):
    def __init__(self, path: Path, allowed_types: Iterable[str], *, legacy: bool) -> None:
        _check_torch(path)
        if legacy and path.stat().st_size > MAX_LEGACY_BYTES:
            raise InvalidCheckpoint(
                f"'{path}' is in the format that torch wrote before version 1.6, which must be read into memory as a "
                f"whole: {path.stat().st_size:,} bytes, allowed are {MAX_LEGACY_BYTES:,}; load it with torch where "
                "there is memory for it and save it again"
            )
        self.maps = not legacy
        self._tensors, self.others = _flatten(_load(path, tuple(allowed_types), legacy=legacy), path)

    @property
    def names(self) -> Sequence[str]:
        return list(self._tensors)

    def describe(self, name: str) -> tuple[tuple[int, ...], str, int]:
        tensor = self._tensors[name]
        return tuple(tensor.shape), type_name(tensor.dtype), tensor.numel() * tensor.element_size()

    def read(self, name: str) -> "torch.Tensor":
        return self._tensors[name].detach()


def _first_bytes(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            start = file.read(64)
    except OSError as error:
        raise InvalidCheckpoint(f"'{path}' cannot be read: {error}") from error
    if not start:
        raise InvalidCheckpoint(f"'{path}' is empty; fetch it again")
    return start


@contextlib.contextmanager
def _as_checkpoint_error() -> Iterator[None]:
    try:
        yield
    except InvalidModel as error:
        raise InvalidCheckpoint(str(error)) from error


def _check_archive(path: Path) -> None:
    try:
        with zipfile.ZipFile(path) as archive:
            records = archive.infolist()
    except zipfile.BadZipFile as error:
        raise InvalidCheckpoint(f"'{path}' is truncated or damaged ({error}); fetch it again") from error
    structure = [record for record in records if record.filename.rpartition("/")[2] == "data.pkl"]
    if not structure:
        raise InvalidCheckpoint(f"'{path}' is a zip archive that torch.save did not write; unpack it first")
    if any(record.filename.endswith("/constants.pkl") for record in records):
        raise InvalidCheckpoint(f"'{path}' is a TorchScript program, not weights; save its state_dict() instead")
    if any(record.compress_type != zipfile.ZIP_STORED for record in records):
        raise InvalidCheckpoint(f"'{path}' was packed anew with compression; torch.save never does: fetch it again")
    largest = max(record.file_size for record in structure)
    if largest > MAX_PICKLE_BYTES:
        raise InvalidCheckpoint(f"the pickle in '{path}' has {largest:,} bytes, allowed are {MAX_PICKLE_BYTES:,}")


def _check_torch(path: Path) -> None:
    import torch

    version = tuple(int(part) for part in re.findall(r"\d+", torch.__version__)[:2])
    if version < NEEDED_TORCH:
        raise MissingDependency(
            f"'{path}' holds a pickle, which torch {torch.__version__} cannot read safely; needed is torch "
            f"{'.'.join(map(str, NEEDED_TORCH))} or newer: {pip_install('torch>=2.6')}"
        )


def _load(path: Path, allowed_types: tuple[str, ...], *, legacy: bool) -> Any:
    import torch

    with torch.serialization.safe_globals([(Inert, name) for name in allowed_types]), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about pickles that torch did not write, which it refuses afterwards
        try:
            return torch.load(path, map_location="cpu", mmap=not legacy, weights_only=True)
        except pickle.UnpicklingError as error:
            mentioned = _mentioned(path, allowed_types) if legacy else _mentioned_in_archive(path)
            refused = sorted(mentioned | set(re.findall(r"GLOBAL ([\w.]+)", str(error))))
            if not refused:
                raise InvalidCheckpoint(f"'{path}' is a pickle that torch.save did not write, or damaged") from error
            raise UnsafeCheckpoint(
                f"the pickle in '{path}' would build {', '.join(refused)}; nothing was run. Weights need no such "
                "types: use a safetensors release, or if its origin is beyond doubt let the converter name them in "
                "allowed_types (they are then left out, not built)"
            ) from error
        except Exception as error:  # what malformed pickles and archives raise has no common base
            raise InvalidCheckpoint(f"'{path}' is damaged or was not written by torch.save: {error}") from error


def _mentioned(path: Path, allowed_types: tuple[str, ...]) -> set[str]:
    known = ("torch.", "collections.OrderedDict")
    return {name for name in mentioned_types(path) if not name.startswith(known)} - set(allowed_types)


def _mentioned_in_archive(path: Path) -> set[str]:
    import torch

    try:
        return set(torch.serialization.get_unsafe_globals_in_checkpoint(path))
    except (ValueError, RuntimeError, pickle.UnpicklingError):
        return set()


def _flatten(content: Any, path: Path) -> tuple[dict[str, "torch.Tensor"], dict[str, str]]:
    """Tensors and other things of nested containers, by their dotted names."""
    import torch

    tensors: dict[str, torch.Tensor] = {}
    others: dict[str, str] = {}
    waiting: list[tuple[str, Any]] = [("", content)]
    for _ in range(MAX_ENTRIES):
        if not waiting:
            return tensors, others
        name, value = waiting.pop()
        if len(waiting) > MAX_ENTRIES or len(name) > MAX_NAME:
            break
        if isinstance(value, torch.Tensor):
            if name in tensors:
                raise InvalidCheckpoint(f"'{path}' holds two tensors named '{name}'")
            if not name.isprintable():
                raise InvalidCheckpoint(f"'{path}' names a tensor with characters that cannot be shown: {name!r}")
            tensors[name] = _plain(value, name, path)
        elif inner := _members(value):
            waiting += [(f"{name}.{key}" if name else str(key), member) for key, member in reversed(inner)]
        else:
            others[name if name.isprintable() else ascii(name)] = type(value).__name__
    raise InvalidCheckpoint(f"'{path}' holds more than {MAX_ENTRIES:,} names, or some that never end")


def _members(value: Any) -> list[tuple[Any, Any]]:
    """What a container holds, by key or index; nothing for lists of plain values."""
    import torch

    if isinstance(value, dict):
        return list(value.items())
    if isinstance(value, list | tuple) and any(isinstance(one, torch.Tensor | dict | list | tuple) for one in value):
        return list(enumerate(value))
    return []


def _plain(tensor: "torch.Tensor", name: str, path: Path) -> "torch.Tensor":
    import torch

    if tensor.layout is not torch.strided or tensor.is_quantized or tensor.device.type != "cpu":
        kind = "quantised" if tensor.is_quantized else f"{tensor.layout} on {tensor.device}"
        raise InvalidCheckpoint(f"'{name}' in '{path}' is {kind}, which safetensors cannot hold")
    return tensor
