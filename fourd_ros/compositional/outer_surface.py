"""Points on the outside of a mesh that need not be closed: what rays from far away could reach, seen from there."""

import numpy as np
from numpy.typing import NDArray

from fourd_ros.compositional.surface_mesh import SurfaceMesh, sampled
from fourd_ros.errors import InvalidMesh

__all__ = ["outer_points"]

FloatArray = NDArray[np.float64]

DIRECTIONS = 12
"""Rays from either side of a point; it is outside if one of them meets nothing."""

_OFFSET = 1e-4
_ROUNDS = 12


def outer_points(mesh: SurfaceMesh, count: int, *, rng: np.random.Generator) -> tuple[FloatArray, FloatArray]:
    """Points evenly spread over the outside of a surface, with normals that point outwards.

    What lies inside, as the other half of a double wall, is left out, and a face that is seen from its back only has
    its normal turned. Thin sheets, which are seen from both sides, keep theirs.

    Args:
        mesh: with at least one face of an area, about as large as the cube [-1, 1]^3.
        count: of points.
        rng: what they are drawn with.

    Returns:
        Points [count, 3] and unit normals [count, 3].

    Raises:
        InvalidMesh: there is nothing to draw from, or hardly anything of it can be seen from outside.
    """
    rays = _Rays(mesh)
    directions = _spread(DIRECTIONS)
    kept: list[tuple[FloatArray, FloatArray]] = []
    missing = count
    for _ in range(_ROUNDS):
        points, normals = sampled(mesh, count, rng=rng)
        front, back = (rays.escape(points, side * normals, directions) for side in (1, -1))
        outward = np.where((back > front)[:, None], -normals, normals)
        outside = (front + back > 0).nonzero()[0][:missing]
        kept.append((points[outside], outward[outside]))
        missing -= len(outside)
        if not missing:
            return np.concatenate([one for one, _ in kept]), np.concatenate([one for _, one in kept])
    raise InvalidMesh(f"of {_ROUNDS * count} points only {count - missing} are outside; the surface hides in itself")


class _Rays:
    """Casts rays at a mesh."""

    def __init__(self, mesh: SurfaceMesh) -> None:
        from embreex.mesh_construction import TriangleMesh
        from embreex.rtcore_scene import EmbreeScene

        self._scene = EmbreeScene()
        self._mesh = TriangleMesh(self._scene, np.ascontiguousarray(mesh.vertices[mesh.faces], np.float32))

    def escape(self, points: FloatArray, normals: FloatArray, directions: FloatArray) -> NDArray[np.int64]:
        """How many rays from each point, on the side of its normal, meet nothing, shape [n]."""
        origins = np.ascontiguousarray(points + _OFFSET * normals, np.float32)
        free = np.zeros(len(points), np.int64)
        for direction in directions:
            side = np.where(normals @ direction < 0, -1.0, 1.0)
            rays = np.ascontiguousarray(side[:, None] * direction, np.float32)
            free += self._scene.run(origins, rays, output=True)["primID"] < 0
        return free


def _spread(count: int) -> FloatArray:
    """Directions evenly spread over half a ball (Fibonacci), shape [count, 3]."""
    number = np.arange(count) + 0.5
    height, turn = number / count, np.pi * (1 + 5**0.5) * number
    level = np.sqrt(1 - height**2)
    return np.stack([level * np.cos(turn), level * np.sin(turn), height], axis=1)
