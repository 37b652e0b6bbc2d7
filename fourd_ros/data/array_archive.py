"""Plain arrays and facts in a NumPy ``.npz`` archive without pickled objects, written whole or not at all.

``numpy.load`` reads what is written here. What others wrote is read with care: a header says how large an array is, the
archive how large it can be, and both are believed only where they agree. The same contents always give the same bytes.
"""

import io
import json
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from fourd_ros.errors import FourdError
from fourd_ros.strict_json import parse_object
from fourd_ros.whole_file import whole_file

MAX_BYTES = 4 * 1024**3
MAX_FACTS_BYTES = 16 * 1024**2

_COMPRESSION_LEVEL = 3
_ZIP_EPOCH = (1980, 1, 1, 0, 0, 0)
_UNREADABLE = (OSError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error)


@dataclass(frozen=True, kw_only=True)
class ArchiveKind:
    """What an archive holds, for its messages.

    Args:
        what: it is, with its article: ``an episode``.
        made_by: what makes such files, for who has none.
        error: raised where a file is not what it must be.
        facts: name of the member with the facts, empty for archives of arrays alone.
        version: of what the facts mean; no other is read.
    """

    what: str
    made_by: str
    error: type[FourdError]
    facts: str = ""
    version: int = 0

    def write(self, path: Path | str, facts: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> None:
        """Write an archive; an existing file is replaced.

        Args:
            path: of the file.
            facts: what JSON can hold; none for a kind without.
            arrays: by name; their dtypes are kept.
        """
        with whole_file(path) as file, zipfile.ZipFile(file, "w") as archive:
            if self.facts:
                _write(archive, self.facts, json.dumps({"format": self.version, **facts}, indent=1).encode())
            for name, array in arrays.items():
                _write_array(archive, name, array)

    @contextmanager
    def open(self, path: Path | str, *, max_bytes: int = MAX_BYTES) -> Iterator["ArrayArchive"]:
        """An archive to read from; whatever is wrong inside of the block is raised as `error`, with the path.

        Args:
            path: of the file.
            max_bytes: of all arrays together; checked before anything is allocated.
        """
        try:
            with zipfile.ZipFile(path) as archive:
                found = ArrayArchive(archive, self)
                if found.size > max_bytes:
                    raise self.error(f"it holds {found.size} bytes, allowed are {max_bytes}")
                yield found
        except FileNotFoundError as error:
            raise self.error(f"there is no file '{path}'; {self.made_by}") from error
        except FourdError as error:
            raise self.error(f"'{path}' is not {self.what}: {error}") from error
        except (*_UNREADABLE, KeyError, ValueError, TypeError, AttributeError) as error:
            raise self.error(f"'{path}' is not {self.what}: {type(error).__name__}: {error}") from error


class ArrayArchive:
    """An open archive; errors leave it as `ArchiveKind.open` says."""

    def __init__(self, archive: zipfile.ZipFile, kind: ArchiveKind) -> None:
        self._archive, self._kind = archive, kind

    @property
    def size(self) -> int:
        """Bytes of everything in it, by its directory."""
        return sum(member.file_size for member in self._archive.infolist())

    @property
    def names(self) -> frozenset[str]:
        """Of its arrays."""
        return frozenset(name.removesuffix(".npy") for name in self._archive.namelist() if name.endswith(".npy"))

    def facts(self) -> dict[str, Any]:
        """What JSON holds."""
        kind = self._kind
        if self._archive.getinfo(kind.facts).file_size > MAX_FACTS_BYTES:
            raise kind.error(f"'{kind.facts}' is larger than {MAX_FACTS_BYTES} bytes")
        facts = parse_object(self._archive.read(kind.facts), what=f"'{kind.facts}'", error=kind.error)
        if facts.get("format") != kind.version:
            raise kind.error(f"its format is {facts.get('format')}, this version reads {kind.version}")
        return facts

    def read(self, name: str) -> NDArray[Any]:
        """One array; its header is checked against the size of the member before memory is taken."""
        error = self._kind.error
        member = self._archive.getinfo(f"{name}.npy")
        with self._archive.open(member) as file:
            if np.lib.format.read_magic(cast(Any, file)) != (1, 0):
                raise error(f"'{name}' has an unknown array format")
            shape, fortran, dtype = np.lib.format.read_array_header_1_0(cast(Any, file))
            if dtype.hasobject:
                raise error(f"'{name}' must be a plain array, got {dtype}: pickled objects are never read")
            size = prod(shape) * dtype.itemsize
            if size > member.file_size:
                raise error(f"'{name}' claims {size} bytes and has at most {member.file_size}")
            data = file.read(size)
            if len(data) != size:
                raise error(f"'{name}' is truncated: {len(data)} of {size} bytes")
        return np.frombuffer(bytearray(data), dtype).reshape(shape, order="F" if fortran else "C")


def _write(archive: zipfile.ZipFile, name: str, data: bytes) -> None:
    member = zipfile.ZipInfo(name, date_time=_ZIP_EPOCH)
    archive.writestr(member, data, zipfile.ZIP_DEFLATED, _COMPRESSION_LEVEL)


def _write_array(archive: zipfile.ZipFile, name: str, array: NDArray[Any]) -> None:
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, array, allow_pickle=False)
    _write(archive, f"{name}.npy", buffer.getvalue())
