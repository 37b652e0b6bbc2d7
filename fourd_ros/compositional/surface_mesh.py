"""The surface of a thing: triangles in one frame, seen from outside."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fourd_ros.errors import InvalidMesh

__all__ = ["SurfaceMesh", "decimated", "sampled"]

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, eq=False)
class SurfaceMesh:
    """Triangles whose corners turn to the left seen from outside, so that normals point outwards.

    Args:
        vertices: in the frame of the mesh (the cube [-1, 1]^3, or metres once it is placed), shape [V, 3], float32.
        faces: three vertices each, shape [F, 3], int32; none where there is no surface.

    Raises:
        InvalidMesh: other shapes or types, vertices that are not finite, or faces that name others.
    """

    vertices: NDArray[np.float32]
    faces: NDArray[np.int32]

    def __post_init__(self) -> None:
        for name, array, kind in (("vertices", self.vertices, np.float32), ("faces", self.faces, np.int32)):
            if array.ndim != 2 or array.shape[1] != 3 or array.dtype != kind:
                raise InvalidMesh(
                    f"{name} of shape {list(array.shape)} and type {array.dtype}; needed is [*, 3], {np.dtype(kind)}"
                )
        if not np.isfinite(self.vertices).all():
            raise InvalidMesh("vertices that are not finite; a surface has none of them")
        if self.faces.size and (self.faces.min() < 0 or self.faces.max() >= len(self.vertices)):
            raise InvalidMesh(
                f"faces name vertices {self.faces.min()} to {self.faces.max()}, there are {len(self.vertices)}"
            )

    @classmethod
    def empty(cls) -> "SurfaceMesh":
        """No surface at all."""
        return cls(vertices=np.zeros((0, 3), np.float32), faces=np.zeros((0, 3), np.int32))

    @property
    def is_empty(self) -> bool:
        """Whether there is no triangle."""
        return not len(self.faces)

    @property
    def bounds(self) -> FloatArray:
        """Least and largest coordinate of the vertices, shape [2, 3]; NaN without vertices."""
        if not len(self.vertices):
            return np.full((2, 3), np.nan)
        return np.stack([self.vertices.min(axis=0), self.vertices.max(axis=0)]).astype(np.float64)

    @property
    def volume(self) -> float:
        """What is enclosed, in cubed units of the frame; positive with normals that point outwards (divergence)."""
        a, b, c = np.moveaxis(self.vertices.astype(np.float64)[self.faces], 1, 0)
        return float(np.einsum("ij,ij->", a, np.cross(b, c)) / 6)

    @property
    def area(self) -> float:
        """Of all faces, in squared units of the frame."""
        return float(np.linalg.norm(_doubled_areas(self), axis=1).sum() / 2)

    def vertex_normals(self) -> NDArray[np.float32]:
        """Unit normals, the mean of the faces around a vertex by their area, shape [V, 3]; along z where none is."""
        weighted = _doubled_areas(self)
        total = np.zeros((len(self.vertices), 3))
        for corner in range(3):
            for axis in range(3):
                total[:, axis] += np.bincount(self.faces[:, corner], weighted[:, axis], minlength=len(total))
        length = np.linalg.norm(total, axis=1, keepdims=True)
        unit = np.divide(total, length, out=np.tile([0.0, 0.0, 1.0], (len(total), 1)), where=length > 0)
        return np.asarray(unit, np.float32)

    def carried(self, T_parent_frame: FloatArray) -> "SurfaceMesh":
        """The same surface in another frame.

        Args:
            T_parent_frame: rigid, or with one scale for all axes (which may not mirror), shape [4, 4].
        """
        moved = self.vertices.astype(np.float64) @ T_parent_frame[:3, :3].T + T_parent_frame[:3, 3]
        return SurfaceMesh(vertices=moved.astype(np.float32), faces=self.faces)


def sampled(mesh: SurfaceMesh, count: int, *, rng: np.random.Generator) -> tuple[FloatArray, FloatArray]:
    """Points evenly spread over a surface.

    Args:
        mesh: with at least one face of an area.
        count: of points.
        rng: what they are drawn with.

    Returns:
        Points [count, 3] and the unit normals of their faces [count, 3].

    Raises:
        InvalidMesh: there is nothing to draw from.
    """
    normals = _doubled_areas(mesh)
    lengths = np.linalg.norm(normals, axis=1)
    if not lengths.sum() > 0:
        raise InvalidMesh(f"a surface of {len(mesh.faces)} faces without any area; points cannot be drawn from it")
    chosen = rng.choice(len(lengths), count, p=lengths / lengths.sum())
    u, v = rng.random((2, count, 1))
    over = u + v > 1
    u, v = np.where(over, 1 - u, u), np.where(over, 1 - v, v)
    a, b, c = np.moveaxis(mesh.vertices.astype(np.float64)[mesh.faces[chosen]], 1, 0)
    return a + u * (b - a) + v * (c - a), normals[chosen] / lengths[chosen, None]


def decimated(mesh: SurfaceMesh, faces: int) -> SurfaceMesh:
    """A surface of about so many faces that stays near this one (quadric error metrics, Garland and Heckbert 1997).

    Args:
        mesh: the fine one; returned as it is where it has no more faces.
        faces: wanted, 4 or more; a few more may remain where none can go without holes.

    Raises:
        InvalidMesh: fewer than 4 faces are wanted; no closed surface has so few.
    """
    import fast_simplification

    if faces < 4:
        raise InvalidMesh(f"{faces} faces are wanted; a closed surface has 4 or more")
    if len(mesh.faces) <= faces:
        return mesh
    vertices, triangles = fast_simplification.simplify(
        mesh.vertices, np.ascontiguousarray(mesh.faces), target_count=faces
    )
    return SurfaceMesh(vertices=np.asarray(vertices, np.float32), faces=np.asarray(triangles, np.int32))


def _doubled_areas(mesh: SurfaceMesh) -> FloatArray:
    """Normals of the faces, each as long as twice its area, shape [F, 3]."""
    a, b, c = np.moveaxis(mesh.vertices.astype(np.float64)[mesh.faces], 1, 0)
    return np.asarray(np.cross(b - a, c - a))
