"""MANIFEST.json of a folder of vectors: which files there are and how exactly their tensors must be met."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath
from typing import Any

from fourd_ros.errors import InvalidManifest
from fourd_ros.verify.tolerance import Tolerance, loosest, parse

NAME = "MANIFEST.json"
_FILE_SECTIONS = ("files", "json_files", "weights")


@dataclass
class _Entry:
    tolerance: Any = None
    tensors: dict[str, list[Any]] = field(default_factory=dict)


class Manifest:
    """What MANIFEST.json says, whichever of the usual layouts it has.

    Files are listed in a mapping (path or pattern -> text or ``{tensors, tolerance}``) or a list of ``{file, ...}``;
    tensors within their file's entry or in a list of ``{file, name, tolerance}`` of their own.

    Raises:
        InvalidManifest: missing, not JSON, or without any file.
    """

    def __init__(self, folder: Path) -> None:
        content = _read(folder / NAME)
        self.default: Tolerance | None = parse(content.get("default_tolerance"), default=None)
        self._entries: dict[str, _Entry] = {}
        for section in _FILE_SECTIONS:
            for path, description in _items(content.get(section, {})):
                self._add(path, description)
        for tensor in content.get("tensors", []):
            entry = self._entries.setdefault(tensor["file"], _Entry())
            entry.tensors.setdefault(tensor["name"], []).append(tensor.get("tolerance"))
        if not self._entries:
            raise InvalidManifest(f"{folder / NAME} names no file; needed is an entry 'files' or 'tensors'")

    def _add(self, path: str, description: Any) -> None:
        entry = self._entries.setdefault(path, _Entry())
        if isinstance(description, dict):
            entry.tolerance = description.get("tolerance")
            for name, tensor in (description.get("tensors") or {}).items():
                entry.tensors.setdefault(name, []).append(tensor.get("tolerance"))

    @property
    def patterns(self) -> tuple[str, ...]:
        """Every path, pattern and folder named."""
        return tuple(self._entries)

    def tensor_names(self, file: str) -> frozenset[str]:
        """Tensors of `file` that the manifest describes."""
        return frozenset(name for entry in self._entries_of(file) for name in entry.tensors)

    def listed(self, file: str) -> frozenset[str]:
        """Those of an entry of this very file, not of a pattern: all of them have to be in it."""
        return frozenset(self._entries[file].tensors) if file in self._entries else frozenset()

    def tolerance(self, file: str, tensor: str) -> Tolerance | None:
        """The bound of a tensor: its own entries, else its file's, else the default; the looser where they disagree.

        None where the manifest says nothing, or only what cannot be checked by a number.
        """
        entries = list(self._entries_of(file))
        own = [given for entry in entries for given in entry.tensors.get(tensor, []) if given is not None]
        given = own or [entry.tolerance for entry in entries if entry.tolerance is not None]
        if not given:
            return self.default
        readable = [tolerance for one in given if (tolerance := parse(one, default=self.default)) is not None]
        return loosest(readable) if readable else None

    def states_a_number(self, file: str, tensor: str) -> bool:
        """True where the manifest bounds this very tensor by figures, so that nobody else may."""
        return any(
            not isinstance(given, str | None)
            for entry in self._entries_of(file)
            for given in entry.tensors.get(tensor, [])
        )

    def _entries_of(self, file: str) -> Iterator[_Entry]:
        return (entry for pattern, entry in self._entries.items() if covers(pattern, file))


def covers(pattern: str, file: str) -> bool:
    """Whether a path, a glob, or a folder (with or without its slash) of a manifest means `file`."""
    folder = PurePosixPath(pattern.rstrip("/"))
    return fnmatch(file, pattern) or folder in PurePosixPath(file).parents


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text())
    except FileNotFoundError:
        raise InvalidManifest(f"{path} does not exist; a folder of vectors with its {NAME} is needed") from None
    except ValueError as error:
        raise InvalidManifest(f"{path} is not JSON: {error}") from None
    if not isinstance(content, dict):
        raise InvalidManifest(f"{path} holds a {type(content).__name__}, needed is an object")
    return content


def _items(section: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(section, dict):
        yield from section.items()
        return
    for item in section:
        yield item["file"], item
