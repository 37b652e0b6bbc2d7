"""Reading folders of PartNet-Mobility and preparing their meshes and joints as PartDrag-4D does.

Layout and rules: PartRM 2025 (arXiv 2503.19913), sections 8.1 and 8.2 of the specification this was written from. A
folder ``<id>`` has ``mobility_v2.json`` (what moves), ``mobility.urdf`` (types of joints), ``result.json`` (which
meshes a part has), ``textured_objs/*.obj``, ``images/`` and ``point_sample/`` with points and their parts.
"""

import csv
import re
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fourd_ros.data.articulation import Joint, joint_of, write_joint_table
from fourd_ros.data.episode import FILE_NAME
from fourd_ros.data.obj_meshes import merge_meshes
from fourd_ros.data.partdrag4d_folder import PROCESSED
from fourd_ros.errors import InvalidDataset
from fourd_ros.strict_json import parse_object
from fourd_ros.whole_file import whole_folder

CLASSES = (
    *("StorageFurniture", "TrashCan", "Laptop", "Dishwasher"),
    *("Refrigerator", "Oven", "WashingMachine", "Microwave"),
)
"""Of which PartDrag-4D has objects; its list also names FoldingChair, which it leaves out."""

MAX_BYTES = 256 * 1024**2
MAX_DEPTH = 100
_JOINT_TYPE = re.compile(r"<joint\b[^>]*\btype=\"([^\"]*)\"")


@dataclass(frozen=True, kw_only=True, eq=False)
class MobilityPart:
    """An entry of ``mobility_v2.json``.

    Args:
        joint: its joint; None where it is fixed.
        meshes: names of its OBJ files without ending.
    """

    joint: Joint | None
    meshes: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class MobilityObject:
    """An object of PartNet-Mobility.

    Args:
        name: id.
        folder: where it lies.
        parts: entries in the order of the file.
        points: on its surface, y-up, shape [P, 3].
        labels: part of each point, shape [P].
    """

    name: str
    folder: Path
    parts: tuple[MobilityPart, ...]
    points: NDArray[np.float32]
    labels: NDArray[np.int32]

    @property
    def joints(self) -> tuple[Joint, ...]:
        """The joint table; keys are places in the file, which skip fixed parts."""
        return tuple(part.joint for part in self.parts if part.joint is not None)

    @property
    def mesh_groups(self) -> tuple[tuple[str, ...], ...]:
        """Meshes of each joint, in order, then those of all that is fixed."""
        fixed = tuple(mesh for part in self.parts if part.joint is None for mesh in part.meshes)
        return (*(part.meshes for part in self.parts if part.joint is not None), fixed)


def read_categories(path: Path) -> dict[str, str]:
    """Class by id, from a CSV file with the columns ``category`` and ``id``; classes that PartDrag-4D lacks are left
    out.

    Raises:
        InvalidDataset: missing, no text, or without these columns.
    """
    rows = list(csv.DictReader(_text(path).splitlines()))
    if rows and not {"category", "id"} <= set(rows[0]):
        raise InvalidDataset(f"'{path}' has columns {list(rows[0])}; needed are category and id")
    return {row["id"]: row["category"] for row in rows if row["category"] in CLASSES}


def read_mobility(folder: Path | str) -> MobilityObject:
    """An object of PartNet-Mobility.

    Raises:
        InvalidDataset: a file is missing, damaged, or names what is not there.
    """
    folder = Path(folder)
    meshes = _meshes_by_part(_json_list(folder / "result.json"), folder / "result.json")
    types = _JOINT_TYPE.findall(_text(folder / "mobility.urdf"))
    path = folder / "mobility_v2.json"
    parts = tuple(
        _part(index, entry, types[index] if index < len(types) else "", meshes, path)
        for index, entry in enumerate(_json_list(path))
    )
    points, labels = _points(folder)
    return MobilityObject(name=folder.name, folder=folder, parts=parts, points=points, labels=labels)


def prepare_mobility(item: MobilityObject, root: Path, category: str) -> Path:
    """Write the processed folder of an object: joint table, merged meshes, points; whole or not at all.

    Args:
        item: the object.
        root: of a data set of the layout of PartDrag-4D.
        category: its class.

    Returns:
        The folder.

    Raises:
        InvalidDataset: a mesh is missing, damaged or too large.
    """
    target = root / PROCESSED / category / item.name
    with whole_folder(target) as folder:
        write_joint_table(folder / "motion.json", item.joints)
        meshes = folder / "parts_ply"
        meshes.mkdir()
        for relative, text in mesh_files(item).items():
            (folder / relative).write_text(text, encoding="utf-8")
        np.savetxt(meshes / "all_pts.txt", item.points, fmt="%.6f")
        np.savetxt(meshes / "all_label.txt", item.labels, fmt="%d")
        copy_pictures(item, folder)
    return target


def mesh_files(item: MobilityObject) -> dict[str, str]:
    """Texts of the meshes of a processed folder, by relative path: one a joint in order, the last of all that is fixed.

    Raises:
        InvalidDataset: a mesh is missing, damaged or too large.
    """
    files = {}
    for index, names in enumerate(item.mesh_groups):
        paths = [item.folder / "textured_objs" / f"{name}.obj" for name in names]
        files[f"parts_ply/{index}.obj"], files[f"parts_ply/{index}.mtl"] = merge_meshes(paths, index)
    return files


def copy_pictures(item: MobilityObject, folder: Path) -> None:
    """Copy the pictures of an object's textures into a processed folder, if it has any."""
    if (item.folder / "images").is_dir():
        shutil.copytree(item.folder / "images", folder / "images", copy_function=shutil.copyfile)


def _part(index: int, entry: Any, kind: str, meshes: dict[int, tuple[str, ...]], path: Path) -> MobilityPart:
    try:
        ids = tuple(_ids(entry["parts"]))
        data = entry["jointData"]
        named = tuple(name for part in ids for name in meshes.get(part, ()))
        if not data:
            return MobilityPart(joint=None, meshes=named)
        row = {"axis": data["axis"], "limit": data.get("limit"), "type": kind, "part_div": list(ids)}
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise InvalidDataset(
            f"'{path}', entry {index}: {type(error).__name__} {error}; needed are parts and jointData"
        ) from error
    return MobilityPart(joint=joint_of(str(index), row, path=path), meshes=named)


def _ids(parts: Any, depth: int = 0) -> Iterator[int]:
    """Of parts and of what they consist of."""
    if depth > MAX_DEPTH:
        raise ValueError(f"parts lie more than {MAX_DEPTH} deep in each other")
    for part in parts:
        yield int(part["id"])
        yield from _ids(part.get("children") or (), depth + 1)


def _meshes_by_part(nodes: Any, path: Path) -> dict[int, tuple[str, ...]]:
    """Names of meshes by id of the leaves of a part tree."""
    found: dict[int, tuple[str, ...]] = {}
    waiting = [(node, 0) for node in nodes]
    while waiting:
        node, depth = waiting.pop()
        try:
            children = node.get("children") or ()
            if depth > MAX_DEPTH:
                raise ValueError(f"its parts lie more than {MAX_DEPTH} deep in each other")
            if not children:
                found[int(node["id"])] = tuple(_mesh_name(name) for name in node.get("objs") or ())
            waiting += [(child, depth + 1) for child in children]
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise InvalidDataset(f"'{path}' is no tree of parts: {type(error).__name__} {error}") from error
    return found


def _mesh_name(name: Any) -> str:
    if not isinstance(name, str) or not FILE_NAME.fullmatch(name):
        raise ValueError(f"{name!r} cannot name a mesh")
    return name


def _points(folder: Path) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    tables = []
    for name in ("pts-10000.txt", "label-10000.txt"):
        path = folder / "point_sample" / name
        try:
            rows = [line.split() for line in _text(path).splitlines() if line.strip()]
            tables.append(np.array(rows, np.float64))
        except ValueError as error:
            raise InvalidDataset(f"'{path}' is no table of numbers: {error}") from error
    points, labels = tables
    if points.ndim != 2 or points.shape[1] < 3 or labels.reshape(len(labels), -1).shape != (len(points), 1):
        raise InvalidDataset(
            f"'{folder / 'point_sample'}' has points {points.shape} and labels {labels.shape}; needed are x y z "
            "and one label for each"
        )
    return points[:, :3].astype(np.float32), labels.reshape(-1).astype(np.int32)


def _json_list(path: Path) -> Sequence[Any]:
    # The parser reads objects; a list is one's only value.
    found = parse_object(f'{{"list": {_text(path)}}}'.encode(), what=f"'{path}'", error=InvalidDataset)["list"]
    if not isinstance(found, list):
        raise InvalidDataset(f"'{path}' holds a {type(found).__name__}, needed is a list")
    return found


def _text(path: Path) -> str:
    try:
        if path.stat().st_size > MAX_BYTES:
            raise InvalidDataset(f"'{path}' has {path.stat().st_size} bytes; at most {MAX_BYTES} are read")
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidDataset(f"'{path}' cannot be read: {error}") from error
