"""Moving objects in files: ``objects/object_001.npz`` with the points, the poses and the velocities of one."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from fourd_ros.data.array_archive import ArchiveKind
from fourd_ros.errors import InvalidResults

__all__ = ["ObjectCloud", "read_objects", "twists", "write_objects"]

FOLDER = "objects"

_NAME = re.compile(r"object_(\d{3,})\.npz")
_KIND = ArchiveKind(
    what="a moving object",
    made_by="`fourd reconstruct` makes it",
    error=InvalidResults,
    facts="object.json",
    version=1,
)


@dataclass(frozen=True, kw_only=True)
class ObjectCloud:
    """An object that moves.

    Args:
        number: of the object, as the masks have it.
        name: what it is called.
        points: in its own frame [m], shape [n, 3], float32.
        rgb: their colours, shape [n, 3], uint8.
        T_world_object: its pose in every frame, NaN where it is not known, shape [F, 4, 4].
        twist: velocity of its origin [m/s] and angular velocity [rad/s], both along the axes of the world, NaN where
            they are not known, shape [F, 6].
        nonrigid: root mean square of how far its points stray from a rigid motion [m].
    """

    number: int
    name: str
    points: NDArray[np.float32]
    rgb: NDArray[np.uint8]
    T_world_object: NDArray[np.float64]
    twist: NDArray[np.float64]
    nonrigid: float


def twists(T_world_object: NDArray[np.float64], stamps_ns: NDArray[np.int64]) -> NDArray[np.float64]:
    """Velocities between the frames before and after, or the one of them that is known, shape [F, 6].

    Args:
        T_world_object: NaN where unknown, shape [F, 4, 4].
        stamps_ns: of the frames [ns], shape [F].
    """
    frames = len(stamps_ns)
    known = np.asarray(np.isfinite(T_world_object).all(axis=(1, 2)))
    found = np.full((frames, 6), np.nan)
    for frame in np.flatnonzero(known):
        before = frame - 1 if frame and known[frame - 1] else frame
        after = frame + 1 if frame + 1 < frames and known[frame + 1] else frame
        if before < after:
            seconds = (stamps_ns[after] - stamps_ns[before]) * 1e-9
            start, end = T_world_object[before], T_world_object[after]
            turn = Rotation.from_matrix(end[:3, :3] @ start[:3, :3].T).as_rotvec()
            found[frame] = np.concatenate([end[:3, 3] - start[:3, 3], turn]) / seconds
    return found


def write_objects(folder: Path, objects: Sequence[ObjectCloud]) -> None:
    """Write all objects into ``objects/`` of a folder; those of an earlier run go.

    Args:
        folder: ``dynamicBA/<experiment>``.
        objects: of the scene.
    """
    place = folder / FOLDER
    place.mkdir(parents=True, exist_ok=True)
    for path in place.iterdir():
        if _NAME.fullmatch(path.name):
            path.unlink()
    for one in objects:
        facts = {"number": one.number, "name": one.name, "nonrigid": one.nonrigid}
        arrays: dict[str, NDArray[Any]] = {
            "points": one.points,
            "rgb": one.rgb,
            "T_world_object": one.T_world_object,
            "twist": one.twist,
        }
        _KIND.write(place / f"object_{one.number:03d}.npz", facts, arrays)


def read_objects(folder: Path) -> list[ObjectCloud]:
    """The objects of a scene, by number; none where there are none.

    Args:
        folder: ``dynamicBA/<experiment>``.

    Raises:
        InvalidResults: a file is damaged, or its arrays contradict each other.
    """
    return [_read(path) for path in sorted((folder / FOLDER).glob("object_*.npz")) if _NAME.fullmatch(path.name)]


def _read(path: Path) -> ObjectCloud:
    with _KIND.open(path) as archive:
        facts = archive.facts()
        points, rgb, poses, twist = (archive.read(name) for name in ("points", "rgb", "T_world_object", "twist"))
        needed = {"points": (len(points), 3), "rgb": (len(points), 3), "T_world_object": (len(poses), 4, 4)}
        needed["twist"] = (len(poses), 6)
        for (name, shape), array in zip(needed.items(), (points, rgb, poses, twist), strict=True):
            if array.shape != shape:
                raise InvalidResults(f"'{name}' has shape {list(array.shape)}, needed {list(shape)}")
        return ObjectCloud(
            number=int(facts["number"]),
            name=str(facts["name"]),
            points=points,
            rgb=rgb,
            T_world_object=poses,
            twist=twist,
            nonrigid=float(facts["nonrigid"]),
        )
