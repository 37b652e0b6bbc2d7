"""Somebody's weights, in one file or a folder of them, read tensor by tensor."""

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from fourd_ros.errors import InvalidCheckpoint
from fourd_ros.model_io.checkpoint_files import WeightFile, check_sums, open_weights, summed_bytes
from fourd_ros.strict_json import read_object

if TYPE_CHECKING:
    import torch

SUFFIXES = (".safetensors", ".bin", ".pt", ".pth", ".ckpt")
INDEX_SUFFIX = ".index.json"

MAX_MAPPED_BYTES = 1 << 30
"""After so many bytes were read the files are opened anew, since pages that were read count as memory of ours."""

_CHUNK = 1 << 22


@dataclass(frozen=True, kw_only=True)
class SourceTensor:
    """A tensor that was found.

    Args:
        file: relative to the folder, or the file's name.
        name: without the wrappers around it.
        shape: of the tensor.
        dtype: name of its torch type.
        size: in bytes.
        stored_as: its full name in the file.
    """

    file: str
    name: str
    shape: tuple[int, ...]
    dtype: str
    size: int
    stored_as: str

    def __str__(self) -> str:
        return f"{self.file}: {self.name}"


class Checkpoint:
    """What a file or folder holds; only names, shapes and types are read until `read` is called.

    Args:
        path: a file, or a folder: every file in it (and below, not hidden) whose suffix is one of `SUFFIXES` counts,
            and every index (``*.index.json``) must agree with its files.
        allowed_types: of pickles, see `open_weights`.
        wrappers: prefixes such as ``state_dict.`` or ``module.``, each taken off once, in this order, from every
            name that starts with it.
        skipped_files: reason by pattern of files that are not opened.

    Attributes:
        files: those opened, by their relative path.
        skipped: reason by relative path.
        tensors: all that was found.
        others: type by file and name of what is no tensor.

    Raises:
        InvalidCheckpoint: nothing there, a file that is no checkpoint or damaged, an index that names what is not
            there, or two tensors of one name in a file.
        UnsafeCheckpoint: a pickle mentions types that are not allowed; nothing was run.
    """

    def __init__(
        self,
        path: Path | str,
        *,
        allowed_types: Iterable[str] = (),
        wrappers: Iterable[str] = (),
        skipped_files: Mapping[str, str] | None = None,
    ) -> None:
        self.path = Path(path)
        self._allowed_types = tuple(allowed_types)
        self._open: dict[str, WeightFile] = {}
        self._mapped = 0
        found = _find_files(self.path)
        self.skipped = _skipped(found, skipped_files or {})
        self.files = {name: file for name, file in found.items() if name not in self.skipped}
        if not self.files:
            raise InvalidCheckpoint(f"'{self.path}' holds no weights; looked for *{', *'.join(SUFFIXES)}")
        self.others: dict[tuple[str, str], str] = {}
        self.tensors = tuple(tensor for name in self.files for tensor in self._examine(name, tuple(wrappers)))
        _check_indices(self.path, self.tensors, self.skipped)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give all files back."""
        self._open.clear()

    @property
    def check_bytes(self) -> int:
        """What `check` reads."""
        return sum(path.stat().st_size + summed_bytes(path) for path in self.files.values())

    def read(self, tensor: SourceTensor) -> "torch.Tensor":
        """The values of a tensor, on the CPU, maybe a view into its file: do not write to it, use it up soon."""
        if self._mapped + tensor.size > MAX_MAPPED_BYTES:
            self._open = {name: file for name, file in self._open.items() if not file.maps}
            self._mapped = 0
        file = self._weights(tensor.file)
        if file.maps:
            self._mapped += tensor.size
        return file.read(tensor.stored_as)

    def check(self, *, progress: Callable[[int], None]) -> dict[str, str]:
        """Read every byte once: compares checksums where there are some and returns the sha256 of every file.

        Args:
            progress: is told how many more bytes were read, of `check_bytes`.

        Raises:
            InvalidCheckpoint: a checksum differs.
        """
        hashes = {}
        for name, path in self.files.items():
            for count in check_sums(path):
                progress(count)
            hashes[name] = _hash(path, progress)
        return hashes

    def _weights(self, name: str) -> WeightFile:
        if name not in self._open:
            self._open[name] = open_weights(self.files[name], allowed_types=self._allowed_types)
        return self._open[name]

    def _examine(self, name: str, wrappers: tuple[str, ...]) -> Iterator[SourceTensor]:
        file = self._weights(name)
        self.others |= {(name, other): kind for other, kind in file.others.items()}
        seen: dict[str, str] = {}
        for stored_as in file.names:
            plain = _unwrap(stored_as, wrappers)
            if plain in seen:
                raise InvalidCheckpoint(
                    f"'{seen[plain]}' and '{stored_as}' in '{self.files[name]}' are both '{plain}' without {wrappers}"
                )
            seen[plain] = stored_as
            shape, dtype, size = file.describe(stored_as)
            yield SourceTensor(file=name, name=plain, shape=shape, dtype=dtype, size=size, stored_as=stored_as)


def _find_files(path: Path) -> dict[str, Path]:
    if path.name.endswith(INDEX_SUFFIX):
        raise InvalidCheckpoint(f"'{path}' is an index; name the folder in which it and its files are")
    if path.is_file():
        return {path.name: path}
    if not path.is_dir():
        raise InvalidCheckpoint(f"there is no file or folder '{path}'")
    return {file.relative_to(path).as_posix(): file for file in files_below(path) if file.suffix in SUFFIXES}


def files_below(folder: Path) -> list[Path]:
    """Files in a folder and in those below it, also behind links, but none that are hidden; in order."""
    found: list[Path] = []
    seen: set[str] = set()
    for place, folders, files in os.walk(folder, followlinks=True):
        real = os.path.realpath(place)
        folders[:] = [] if real in seen else [name for name in folders if not name.startswith(".")]
        if real not in seen:
            found += [Path(place, name) for name in files if not name.startswith(".")]
        seen.add(real)
    return sorted(file for file in found if file.is_file())


def _skipped(files: Iterable[str], patterns: Mapping[str, str]) -> dict[str, str]:
    matches = ((name, reason) for name in files for pattern, reason in patterns.items() if fnmatchcase(name, pattern))
    return dict(matches)


def _unwrap(name: str, wrappers: tuple[str, ...]) -> str:
    for wrapper in wrappers:
        name = name.removeprefix(wrapper)
    return name


def _check_indices(path: Path, tensors: Iterable[SourceTensor], skipped: Mapping[str, str]) -> None:
    if path.is_file():
        return
    there = {(tensor.file, tensor.stored_as) for tensor in tensors}
    for index in (file for file in files_below(path) if file.name.endswith(INDEX_SUFFIX)):
        folder = index.parent.relative_to(path)
        claimed = {((folder / file).as_posix(), name) for name, file in _weight_map(index).items()}
        wrong = sorted(f"{file}: {name}" for file, name in claimed - there if file not in skipped)
        if wrong:
            raise InvalidCheckpoint(
                f"'{index}' names {len(wrong)} tensors that are not in the files it names; a file is missing, or "
                f"was exchanged for another: {', '.join(wrong[:5])}{' ...' if len(wrong) > 5 else ''}"
            )


def _weight_map(index: Path) -> dict[str, str]:
    found = read_object(index, error=InvalidCheckpoint).get("weight_map")
    if not isinstance(found, dict) or not all(isinstance(file, str) for file in found.values()):
        raise InvalidCheckpoint(f"'{index}' has no 'weight_map' of names to files")
    return found


def _hash(path: Path, progress: Callable[[int], None]) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
            progress(len(chunk))
    return digest.hexdigest()
