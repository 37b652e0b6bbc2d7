"""The lattice that fields are asked on, and the surface between its points.

Positions: COM4D (arXiv 2512.05272), section 8 of the specification this was written from: point `i` of `n` along an
axis lies at ``i * 2.01 / n - 1.005``. The surface: marching cubes by Lewiner et al. (2003) from scikit-image.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from fourd_ros.compositional.surface_mesh import SurfaceMesh
from fourd_ros.errors import InvalidField

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["BOUND", "CHUNK", "Field", "ask", "cells_surface", "grid_surface", "lattice_points", "whole_lattice"]

Field = Callable[["Tensor"], "Tensor"]
"""Queries [Q, 3] in the cube, float32 -> values [Q], positive inside, zero on the surface."""

BOUND = 1.005
"""Half of the side of the lattice, in units of the cube."""

CHUNK = 50_000
"""Points that are asked for at once."""

SLAB = 16
"""Layers of cells that are unfolded into a dense grid at once."""

Keys = NDArray[np.int64]
Values = NDArray[np.float32]


def lattice_points(indices: NDArray[np.int64], resolution: int) -> NDArray[np.float32]:
    """Positions of lattice points [*, 3] in the cube, shape [*, 3].

    Args:
        indices: along each axis.
        resolution: of the lattice, even.
    """
    half = resolution // 2
    return (indices - half).astype(np.float32) * np.float32(BOUND / half)


def ask(field: Field, points: NDArray[np.float32], *, chunk: int = CHUNK) -> Values:
    """What a field says at points [Q, 3], in pieces, shape [Q].

    Args:
        field: to ask.
        points: in the cube.
        chunk: points at once.

    Raises:
        InvalidField: values of another count, or that are not finite.
    """
    import torch

    values = np.empty(len(points), np.float32)
    with torch.inference_mode():
        for start in range(0, len(points), chunk):
            piece = points[start : start + chunk]
            answer = field(torch.from_numpy(piece))
            if answer.shape != (len(piece),):
                raise InvalidField(f"{len(piece)} points were asked for, the answer has shape {list(answer.shape)}")
            values[start : start + chunk] = answer.float().cpu().numpy()
    if not np.isfinite(values).all():
        raise InvalidField(f"{int((~np.isfinite(values)).sum())} of {len(values)} values of the field are not finite")
    return values


def whole_lattice(field: Field, resolution: int, *, chunk: int = CHUNK) -> Values:
    """What a field says at every point of the lattice, shape [n, n, n]; raises what `ask` does."""
    values = np.empty((resolution,) * 3, np.float32)
    layers = max(1, chunk // resolution**2)
    for first in range(0, resolution, layers):
        slab = values[first : first + layers]
        indices = np.moveaxis(np.indices(slab.shape), 0, -1) + np.array([first, 0, 0])
        slab[...] = ask(field, lattice_points(indices.reshape(-1, 3), resolution), chunk=chunk).reshape(slab.shape)
    return values


def grid_surface(values: NDArray[np.float32]) -> SurfaceMesh:
    """The surface at zero of a whole lattice.

    Vertices and faces come in the order of scikit-image, as in the original, whose faces turn the other way.

    Args:
        values: shape [n, n, n], positive inside.
    """
    if not values.min() < 0 < values.max():
        return SurfaceMesh.empty()
    return _in_cube(*_marched(values, None), len(values))


def cells_surface(keys: Keys, values: Values, cells: Keys, resolution: int) -> SurfaceMesh:
    """The surface at zero within some cells of the lattice, as if all of it were known.

    Slabs of the lattice are unfolded one after the other, no wider than what is known.

    Args:
        keys: of all known points ``(i * side + j) * side + k`` with ``side = resolution + 1``, in order.
        values: at them.
        cells: keys of the least corners of the cells; all eight corners are known.
        resolution: of the lattice.
    """
    if not len(cells):
        return SurfaceMesh.empty()
    side = resolution + 1
    places = np.stack(np.unravel_index(cells, (side,) * 3), axis=1)
    low, high = places.min(axis=0), places.max(axis=0) + 2
    vertices, faces, total = [], [], 0
    for first in range(low[0], high[0] - 1, SLAB):
        last = min(first + SLAB, high[0] - 1)
        origin, shape = np.array([first, low[1], low[2]]), (last - first + 1, high[1] - low[1], high[2] - low[2])
        grid, mask = np.full(shape, -1, np.float32), np.zeros(shape, bool)
        inside = slice(*np.searchsorted(keys, [first * side**2, (last + 1) * side**2]))
        known = np.stack(np.unravel_index(keys[inside], (side,) * 3), axis=1) - origin
        within = ((known >= 0) & (known < shape)).all(axis=1)
        grid[tuple(known[within].T)] = values[inside][within]
        chosen = places[(places[:, 0] >= first) & (places[:, 0] < last)] - origin + 1
        mask[tuple(chosen.T)] = True  # scikit-image names a cell by its upper corner
        if not len(chosen):
            continue
        found, corners = _marched(grid, mask)
        vertices.append(found + origin)
        faces.append(corners + total)
        total += len(found)
    return _in_cube(*_joined(np.concatenate(vertices), np.concatenate(faces), int(low[0])), resolution)


def _joined(
    vertices: NDArray[np.float64], faces: NDArray[np.int64], first: int
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Vertices that two slabs share become one."""
    shared = np.flatnonzero((vertices[:, 0] - first) % SLAB == 0)
    _, keep, place = np.unique(vertices[shared], axis=0, return_index=True, return_inverse=True)
    kept = np.ones(len(vertices), bool)
    kept[shared] = False
    kept[shared[keep]] = True
    number = np.cumsum(kept) - 1
    number[shared] = number[shared[keep[place.ravel()]]]
    joined = number[faces]
    apart = (joined != np.roll(joined, 1, axis=1)).all(axis=1)
    return vertices[kept], joined[apart]


def _marched(grid: Values, mask: NDArray[np.bool_] | None) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Vertices in steps of the grid [V, 3] and faces [F, 3] of the cells whose upper corners the mask names."""
    from skimage.measure import marching_cubes

    vertices, faces, _, _ = marching_cubes(grid, 0.0, mask=mask)  # type: ignore[no-untyped-call]
    return vertices.astype(np.float64), faces.astype(np.int64)


def _in_cube(vertices: NDArray[np.floating], faces: NDArray[np.integer], resolution: int) -> SurfaceMesh:
    placed = vertices / resolution * (2 * BOUND) - BOUND
    return SurfaceMesh(vertices=placed.astype(np.float32), faces=np.ascontiguousarray(faces[:, ::-1], np.int32))
