"""The lists of training data of compositional objects: scenes and single objects (3D-FRONT, Objaverse), and sequences
(DeformingThings4D).

Layout and rules: COM4D (arXiv 2512.05272), section 10 of the specification this was written from.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

import numpy as np

from fourd_ros.data.object_surfaces import SURFACES
from fourd_ros.errors import InvalidDataset
from fourd_ros.strict_json import read_object
from fourd_ros.whole_file import write_whole

__all__ = [
    "MAX_IOU",
    "TRAIN_SHARE",
    "ObjectFrame",
    "ObjectView",
    "chosen_frames",
    "divided",
    "read_object_views",
    "read_sequences",
    "write_object_views",
    "write_sequences",
]

Entry = TypeVar("Entry")

TRAIN_SHARE = 0.9
"""The first of a list are for training; of Objaverse all are."""

MAX_IOU = 0.5
"""Scenes whose parts overlap more are left out."""

STRIDE = 2
"""Between the frames of a sequence that are taken."""

MAX_BYTES = 1024**3


@dataclass(frozen=True, kw_only=True)
class ObjectView:
    """A picture of a scene or object.

    Args:
        surface: file of its surfaces.
        image: the picture.
        parts: how many it has.
        mesh: it was made from.
        valid: whether the preparation succeeded.
        iou_mean: of its parts with each other; published lists have 0.
        iou_max: of the two that overlap most.
    """

    surface: Path
    image: Path
    parts: int
    mesh: str = ""
    valid: bool = True
    iou_mean: float = 0.0
    iou_max: float = 0.0


@dataclass(frozen=True, kw_only=True)
class ObjectFrame:
    """A frame of a sequence.

    Args:
        surface: file of its surface.
        image: its picture.
    """

    surface: Path
    image: Path


def read_object_views(
    path: Path | str, *, root: Path | str | None = None, fewest: int = 1, most: int = 16, max_iou: float = MAX_IOU
) -> list[ObjectView]:
    """What a list has that can be trained on; single objects (Objaverse) are those with ``fewest=1, most=1``.

    Args:
        path: of the list, in JSON.
        root: where paths of the list begin; None: at its folder.
        fewest: parts.
        most: parts.
        max_iou: of two parts.

    Raises:
        InvalidDataset: no such list, or an entry without the values that it needs.
    """
    root = Path(path).parent if root is None else Path(root)
    entries = _list(Path(path))
    views = [_view(entry, root, f"'{path}' entry {number}") for number, entry in enumerate(entries)]
    return [view for view in views if view.valid and fewest <= view.parts <= most and view.iou_max <= max_iou]


def read_sequences(path: Path | str, *, root: Path | str | None = None) -> dict[str, list[ObjectFrame]]:
    """Frames of every sequence, in their order.

    Args:
        path: of the list, in JSON.
        root: where paths of the list begin; None: at its folder.

    Raises:
        InvalidDataset: no such list, or an entry without the values that it needs.
    """
    root = Path(path).parent if root is None else Path(root)
    _check_size(Path(path))
    sequences = read_object(Path(path), error=InvalidDataset)
    found: dict[str, list[ObjectFrame]] = {}
    for name, entries in sequences.items():
        if not isinstance(entries, list) or not entries:
            raise InvalidDataset(f"'{path}' sequence '{name}' has no frames")
        what = f"'{path}' sequence '{name}'"
        found[name] = [
            ObjectFrame(surface=_surface_path(entry, root, what), image=root / _text(entry, "image_path", what))
            for entry in entries
        ]
    return found


def divided(entries: Sequence[Entry], *, share: float = TRAIN_SHARE) -> tuple[list[Entry], list[Entry]]:
    """The first of a list for training, the rest for validation.

    Raises:
        InvalidDataset: a share that is none.
    """
    if not 0 <= share <= 1:
        raise InvalidDataset(f"a share of {share} for training; needed is 0 to 1")
    end = int(len(entries) * share)
    return list(entries[:end]), list(entries[end:])


def chosen_frames(frames: int, rng: np.random.Generator, *, fewest: int, most: int) -> list[int]:
    """Every other frame of a part of a sequence: as many as are drawn, from an even one on.

    Args:
        frames: of the sequence.
        rng: draws how many and where.
        fewest: that are taken.
        most: that are taken.

    Raises:
        InvalidDataset: the sequence is shorter than `fewest` such frames.
    """
    highest = min(most, (frames + 1) // STRIDE)
    if not 1 <= fewest <= highest:
        raise InvalidDataset(f"a sequence of {frames} frames has {highest} to take, needed are {fewest} to {most}")
    count = int(rng.integers(fewest, highest + 1))
    start = STRIDE * int(rng.integers((frames - 1 - STRIDE * (count - 1)) // STRIDE + 1))
    return list(range(start, start + STRIDE * count, STRIDE))


def write_object_views(path: Path | str, views: Sequence[ObjectView]) -> None:
    """Write a list, with paths that begin at its folder."""
    root = Path(path).parent
    entries = [
        {
            "file": view.surface.parent.name,
            "num_parts": view.parts,
            "valid": view.valid,
            "mesh_path": view.mesh,
            "surface_path": _relative(view.surface, root),
            "image_path": _relative(view.image, root),
            "iou_mean": view.iou_mean,
            "iou_max": view.iou_max,
        }
        for view in views
    ]
    write_whole(path, json.dumps(entries, indent=1) + "\n")


def write_sequences(path: Path | str, sequences: Mapping[str, Sequence[ObjectFrame]]) -> None:
    """Write a list of sequences, with paths that begin at its folder."""
    root = Path(path).parent
    lists = {
        name: [
            {
                "surface_path": _relative(frame.surface, root),
                "image_path": _relative(frame.image, root),
                "iou_mean": 0.0,
                "iou_max": 0.0,
            }
            for frame in frames
        ]
        for name, frames in sequences.items()
    }
    write_whole(path, json.dumps(lists, indent=1) + "\n")


def _relative(path: Path, root: Path) -> str:
    return str(PurePosixPath(path.relative_to(root)))


def _list(path: Path) -> list[Any]:
    _check_size(path)
    try:
        entries = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise InvalidDataset(f"'{path}' is no list in JSON: {error}") from error
    if not isinstance(entries, list):
        raise InvalidDataset(f"'{path}' holds {type(entries).__name__}, needed is a list of views")
    return entries


def _check_size(path: Path) -> None:
    if path.is_file() and path.stat().st_size > MAX_BYTES:
        raise InvalidDataset(f"'{path}' has {path.stat().st_size} bytes; at most {MAX_BYTES} are read")


def _view(entry: Any, root: Path, what: str) -> ObjectView:
    surface, image = _surface_path(entry, root, what), root / _text(entry, "image_path", what)
    try:
        return ObjectView(
            surface=surface,
            image=image,
            parts=int(entry["num_parts"]),
            mesh=str(entry.get("mesh_path", "")),
            valid=bool(entry.get("valid", True)),
            iou_mean=float(entry.get("iou_mean", 0.0)),
            iou_max=float(entry.get("iou_max", 0.0)),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise InvalidDataset(f"{what} is no view: {type(error).__name__}: {error}") from error


def _surface_path(entry: Any, root: Path, what: str) -> Path:
    """Of our npz file; published lists name the pickled ``points.npy`` in the same folder."""
    path = root / _text(entry, "surface_path", what)
    return path.with_name(SURFACES) if path.suffix == ".npy" else path


def _text(entry: Any, key: str, what: str) -> str:
    if not isinstance(entry, dict) or not isinstance(entry.get(key), str):
        raise InvalidDataset(f"{what} has no {key}")
    return str(entry[key])
