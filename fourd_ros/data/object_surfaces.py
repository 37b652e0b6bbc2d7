"""Points with normals on the surfaces of an object and of its parts, in one npz file without pickles.

The published preparation (COM4D, section 10 of the specification this was written from) has such arrays in a pickled
dictionary ``points.npy``, which could run anything when it is opened and is never read.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fourd_ros.data.array_archive import ArchiveKind
from fourd_ros.errors import InvalidDataset

__all__ = ["POINTS", "SURFACES", "ObjectSurfaces", "SurfacePoints", "read_surfaces", "write_surfaces"]

SURFACES = "points.npz"
POINTS = 204_800
"""On each surface, as published data have them."""

MAX_PARTS = 1000
_MAX_BYTES = 2 * 1024**3
_KIND = ArchiveKind(
    what="a file of surface points",
    made_by="make it with: fourd data objects-from-meshes",
    error=InvalidDataset,
    facts="surfaces.json",
    version=1,
)
_UNTIL_UNIT = 1e-2


@dataclass(frozen=True, kw_only=True, eq=False)
class SurfacePoints:
    """Points of one surface.

    Args:
        points: shape [P, 3], float32.
        normals: of the faces that they lie on, of length 1, shape [P, 3], float32.

    Raises:
        InvalidDataset: none, other shapes or types, or values that are not finite.
    """

    points: NDArray[np.float32]
    normals: NDArray[np.float32]

    def __post_init__(self) -> None:
        for name, array in (("points", self.points), ("normals", self.normals)):
            if array.ndim != 2 or array.shape[1] != 3 or array.dtype != np.float32 or not len(array):
                raise InvalidDataset(f"{name} are {array.dtype} {list(array.shape)}; needed is float32 [P, 3]")
            if not np.isfinite(array).all():
                raise InvalidDataset(f"{name} are not all finite")
        if len(self.points) != len(self.normals):
            raise InvalidDataset(f"{len(self.points)} points with {len(self.normals)} normals")
        if np.abs(np.linalg.norm(self.normals, axis=1) - 1).max() > _UNTIL_UNIT:
            raise InvalidDataset("normals are not all of length 1")

    def drawn(self, count: int, rng: np.random.Generator) -> NDArray[np.float32]:
        """Points and normals side by side in any order, none twice, shape [count, 6].

        Raises:
            InvalidDataset: there are fewer.
        """
        if count > len(self.points):
            raise InvalidDataset(f"{count} points are asked for, the surface has {len(self.points)}")
        rows = rng.permutation(len(self.points))[:count]
        return np.concatenate([self.points[rows], self.normals[rows]], axis=1)


@dataclass(frozen=True, kw_only=True, eq=False)
class ObjectSurfaces:
    """The surface of an object or scene, and those of its parts.

    Args:
        whole: all of it.
        parts: of each; none where it has only one, or too many.
    """

    whole: SurfacePoints
    parts: tuple[SurfacePoints, ...] = ()

    @property
    def items(self) -> tuple[SurfacePoints, ...]:
        """What a training batch takes: the parts, or the whole where there are none."""
        return self.parts or (self.whole,)


def write_surfaces(path: Path | str, surfaces: ObjectSurfaces) -> None:
    """Write surfaces, whole or not at all."""
    arrays = {}
    for name, surface in zip(_names(len(surfaces.parts)), (surfaces.whole, *surfaces.parts), strict=True):
        arrays[f"{name}_points"], arrays[f"{name}_normals"] = surface.points, surface.normals
    _KIND.write(path, {"parts": len(surfaces.parts)}, arrays)


def read_surfaces(path: Path | str, *, max_bytes: int = _MAX_BYTES) -> ObjectSurfaces:
    """Read surfaces.

    Raises:
        InvalidDataset: missing, damaged, too large, or a pickle of the published preparation.
    """
    path = Path(path)
    if path.suffix != ".npz":
        raise InvalidDataset(
            f"'{path}' is no npz file; pickled .npy files of the published preparation can run anything and are not "
            "read. Make surfaces from the meshes with: fourd data objects-from-meshes"
        )
    with _KIND.open(path, max_bytes=max_bytes) as archive:
        count = archive.facts()["parts"]
        if not isinstance(count, int) or not 0 <= count <= MAX_PARTS:
            raise InvalidDataset(f"it claims {count} parts; needed is 0 to {MAX_PARTS}")
        found: Sequence[SurfacePoints] = [
            SurfacePoints(points=archive.read(f"{name}_points"), normals=archive.read(f"{name}_normals"))
            for name in _names(count)
        ]
    return ObjectSurfaces(whole=found[0], parts=tuple(found[1:]))


def _names(parts: int) -> list[str]:
    return ["whole", *(f"part_{number:03d}" for number in range(parts))]
