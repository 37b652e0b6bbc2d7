"""Moving meshes of DeformingThings4D: the binary ``.anime`` files, and their place in the unit cube.

Format and rules: Li et al. 2021, DeformingThings4D; COM4D (arXiv 2512.05272), section 10 of the specification this was
written from.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fourd_ros.errors import InvalidDataset

__all__ = ["EXTENT", "FRAMES_KEPT", "MeshSequence", "in_unit_cube", "read_anime", "turned_upright"]

FloatArray = NDArray[np.float64]

EXTENT = 1.9
"""Largest extent of a sequence in the cube [-1, 1]^3."""

FRAMES_KEPT = 32
"""Of a sequence, from its first."""

MAX_BYTES = 4 * 1024**3
_HEADER = 3


@dataclass(frozen=True, kw_only=True, eq=False)
class MeshSequence:
    """A mesh whose vertices move.

    Args:
        vertices: shape [F, V, 3], float64.
        faces: shape [T, 3], int32.
    """

    vertices: FloatArray
    faces: NDArray[np.int32]


def read_anime(path: Path | str, *, frames: int | None = None) -> MeshSequence:
    """A sequence from its file; frame 0 are the vertices of the file, each other one is they and its offsets.

    Args:
        path: of the file: int32 frames, vertices and triangles; float32 vertices; int32 triangles; float32 offsets of
            every frame but the first.
        frames: at most so many, from the first; None: all.

    Raises:
        InvalidDataset: missing, too large, or of another size than its header says; triangles of vertices that are not
            there, or values that are not finite.
    """
    path = Path(path)
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise InvalidDataset(f"'{path}' has {size} bytes; at most {MAX_BYTES} are read")
        with path.open("rb") as file:
            header = np.frombuffer(file.read(4 * _HEADER), "<i4")
            if len(header) < _HEADER or header.min() < 1:
                raise InvalidDataset(f"'{path}' begins with {header.tolist()}; needed are frames, vertices, triangles")
            count, vertices, triangles = (int(value) for value in header)
            needed = 4 * (_HEADER + 3 * vertices + 3 * triangles + 3 * vertices * (count - 1))
            if size != needed:
                raise InvalidDataset(f"'{path}' has {size} bytes, its header speaks of {needed}")
            rest = np.frombuffer(file.read(12 * vertices), "<f4").reshape(vertices, 3)
            faces = np.frombuffer(file.read(12 * triangles), "<i4").reshape(triangles, 3)
            kept = count if frames is None else min(count, frames)
            offsets = np.frombuffer(file.read(12 * vertices * (kept - 1)), "<f4").reshape(kept - 1, vertices, 3)
    except OSError as error:
        raise InvalidDataset(f"'{path}' cannot be read: {error.strerror}") from error
    if faces.min() < 0 or faces.max() >= vertices:
        raise InvalidDataset(f"'{path}' has triangles of vertices {faces.min()} to {faces.max()}, of {vertices}")
    moved = np.concatenate([rest[None], rest + offsets]).astype(np.float64)
    if not np.isfinite(moved).all():
        raise InvalidDataset(f"'{path}' has vertices that are not finite")
    return MeshSequence(vertices=moved, faces=faces.astype(np.int32))


def turned_upright(vertices: FloatArray) -> FloatArray:
    """A sequence [F, V, 3] of an animal, z up, turned by -90 degrees about x around its middle: y up."""
    middle = _middle(vertices)
    x, y, z = np.moveaxis(vertices - middle, -1, 0)
    return np.asarray(np.stack([x, z, -y], axis=-1) + middle)


def in_unit_cube(vertices: FloatArray, *, extent: float = EXTENT) -> FloatArray:
    """Vertices [..., 3] around 0, the largest side of their box being `extent`; a sequence is moved and scaled as one.

    Raises:
        InvalidDataset: all vertices are in one place.
    """
    size = float(np.ptp(vertices.reshape(-1, 3), axis=0).max())
    if not size > 0:
        raise InvalidDataset("a mesh without extent: all of its vertices are in one place")
    return np.asarray((vertices - _middle(vertices)) * (extent / size))


def _middle(vertices: FloatArray) -> FloatArray:
    """Of the box around all vertices of all frames."""
    flat = vertices.reshape(-1, 3)
    return np.asarray((flat.min(axis=0) + flat.max(axis=0)) / 2)
