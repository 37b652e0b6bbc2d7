"""Scenes of several solids before one camera, packed for training: few files, read as slices.

All lengths are in the cube [-1, 1]^3 around the scene: x right, y up, z towards the camera, which looks at the origin
from +z. A shard is a safetensors file with the plain arrays of many scenes, called ``<scene>/<array>``.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fourd_ros.data.episode_shards import Shard, write_shard
from fourd_ros.errors import InvalidDataset
from fourd_ros.strict_json import parse_object, read_object

MANIFEST = "compositional.json"
SHARDS = "shards"

CAMERA_DISTANCE = 4.0
"""Of the camera from the middle of the cube, whose half side is 1."""

VERTICAL_FOV = float(np.deg2rad(40.0))
"""Of the camera [rad]: all of the cube is seen."""


@dataclass(frozen=True, kw_only=True)
class SolidFacts:
    """What a solid of a scene is.

    Args:
        kind: key of `solid_kinds`.
        moves: whether it does.
    """

    kind: str
    moves: bool


@dataclass(frozen=True, kw_only=True)
class CompositionalFacts:
    """What is known of a scene beside its arrays.

    Args:
        name: digits.
        layout: ``single``, ``scene``, ``moving`` or ``clip``.
        behaviour: ``still``, ``pushed``, ``tumbling`` or ``opening``.
        solids: in the order of the arrays; pixels of the first have the number 1.
    """

    name: str
    layout: str
    behaviour: str
    solids: tuple[SolidFacts, ...]


@dataclass(frozen=True, kw_only=True)
class CompositionalArrays:
    """F frames of H x W pixels, N solids.

    Args:
        rgb: colour, shape [F, H, W, 3], uint8.
        numbers: which solid a pixel shows, 0 for none, shape [F, H, W], uint8.
        depth: along the optical axis where a solid is, NaN elsewhere, shape [F, H, W], float32.
        visible: share of the outline of each solid that nothing hides, shape [F, N], float32.
        surface: points and normals in the frame of each solid, shape [N, P, 6], float16.
        pieces: rigid piece of each point, shape [N, P], uint8.
        motions: frame of a solid -> cube, of each piece, shape [F, N, pieces, 3, 4], float32; 0 where there is none.
        queries: points in the cube around each solid in the first frame, and how deep they lie below its surface
            (negative outside), shape [N, Q, 4], float16.
        grid: inside (1) or outside (0) at the points of `occupancy_grid`, packed bits by solid in the first frame and
            the last, shape [2, N, bytes], uint8; [0, N, bytes] where nobody asked for it.
    """

    rgb: NDArray[np.uint8]
    numbers: NDArray[np.uint8]
    depth: NDArray[np.float32]
    visible: NDArray[np.float32]
    surface: NDArray[np.float16]
    pieces: NDArray[np.uint8]
    motions: NDArray[np.float32]
    queries: NDArray[np.float16]
    grid: NDArray[np.uint8]

    def points(self, frame: int, solid: int) -> NDArray[np.float32]:
        """Points and normals of a solid in the cube at a frame, shape [P, 6]."""
        motions = self.motions[frame, solid][self.pieces[solid]]
        rest = self.surface[solid].astype(np.float32)
        points = np.einsum("pij,pj->pi", motions[..., :3], rest[:, :3]) + motions[..., 3]
        normals = np.einsum("pij,pj->pi", motions[..., :3], rest[:, 3:])
        return np.concatenate([points, normals], axis=1)

    def occupancy(self, last: bool, solid: int) -> NDArray[np.bool_]:
        """Which cells of `occupancy_grid` a solid fills in the first or last frame, shape [64, 64, 64]."""
        bits = np.unpackbits(self.grid[int(last), solid], count=GRID**3)
        filled: NDArray[np.bool_] = bits.reshape(GRID, GRID, GRID).astype(bool)
        return filled


GRID = 64


def occupancy_grid() -> NDArray[np.float32]:
    """Where solids are sampled: the lattice of pitch 2 / 64 whose points are -1 + i / 32, shape [64, 64, 64, 3]."""
    axis = np.arange(GRID, dtype=np.float32) / (GRID // 2) - 1
    return np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1)


def write_scenes(path: Path, scenes: Sequence[tuple[CompositionalFacts, CompositionalArrays]]) -> None:
    """Write a shard, whole or not at all; the same scenes give the same bytes."""
    arrays: dict[str, NDArray[Any]] = {}
    for facts, held in scenes:
        packed = {field.name: np.ascontiguousarray(getattr(held, field.name)) for field in fields(held)}
        packed["facts"] = np.frombuffer(json.dumps(asdict(facts)).encode(), np.uint8)
        packed["depth"] = packed["depth"].astype(np.float16)
        arrays |= {f"{facts.name}/{name}": array for name, array in packed.items()}
    write_shard(path, arrays)


class CompositionalShards:
    """The scenes of a folder, by number; it may be copied into other processes, each of which maps the files itself.

    Args:
        folder: made by ``fourd data compositional``.

    Raises:
        InvalidDataset: there are no shards, or one is damaged.
    """

    def __init__(self, folder: Path | str) -> None:
        self.folder = Path(folder)
        paths = sorted((self.folder / SHARDS).glob("*.safetensors"))
        if not paths:
            raise InvalidDataset(
                f"'{folder}' has no {SHARDS}/*.safetensors; 'fourd data compositional FOLDER' makes them"
            )
        self._open: dict[Path, Shard] = {}
        self._places = [
            (path, name.removesuffix("/facts"))
            for path in paths
            for name in sorted(self._shard(path).names)
            if name.endswith("/facts")
        ]

    def __len__(self) -> int:
        return len(self._places)

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_open": {}}

    @property
    def manifest(self) -> Mapping[str, Any]:
        """How it was made."""
        return read_object(self.folder / MANIFEST, error=InvalidDataset)

    def facts(self, index: int) -> CompositionalFacts:
        """Of a scene.

        Raises:
            InvalidDataset: they cannot be read.
        """
        path, name = self._places[index]
        found = parse_object(self._array(index, "facts").tobytes(), what=f"'{path}', {name}", error=InvalidDataset)
        try:
            solids = tuple(SolidFacts(**solid) for solid in found.pop("solids"))
            return CompositionalFacts(solids=solids, **found)
        except (KeyError, TypeError, AttributeError) as error:
            raise InvalidDataset(f"'{path}', {name}: facts that cannot be read: {error}") from error

    def arrays(self, index: int) -> CompositionalArrays:
        """Of a scene; arrays are slices of the file until they are changed.

        Raises:
            InvalidDataset: they do not fit together.
        """
        held = {field.name: self._array(index, field.name) for field in fields(CompositionalArrays)}
        frames, height, width = (*held["numbers"].shape, 0, 0)[:3]
        solids, points = (*held["pieces"].shape, 0)[:2]
        wanted = {
            "rgb": (frames, height, width, 3),
            "numbers": (frames, height, width),
            "depth": (frames, height, width),
            "visible": (frames, solids),
            "surface": (solids, points, 6),
            "pieces": (solids, points),
            "motions": (frames, solids, *held["motions"].shape[2:3], 3, 4),
            "queries": (solids, *held["queries"].shape[1:2], 4),
            "grid": (2 if len(held["grid"]) else 0, solids, GRID**3 // 8),
        }
        shapes = {name: array.shape for name, array in held.items()}
        if shapes != wanted:
            raise InvalidDataset(f"'{self._places[index][0]}': arrays of {self._places[index][1]} of shapes {shapes}")
        return CompositionalArrays(**(held | {"depth": held["depth"].astype(np.float32)}))

    def _array(self, index: int, array: str) -> NDArray[Any]:
        path, name = self._places[index]
        return self._shard(path).array(f"{name}/{array}")

    def _shard(self, path: Path) -> Shard:
        if path not in self._open:
            self._open[path] = Shard(path)
        return self._open[path]
