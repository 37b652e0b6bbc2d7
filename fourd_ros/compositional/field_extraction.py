"""The surface of a field from few questions: an octree that is only fine where the surface is.

The original asks at every point of the lattice (134 million times for one mesh of resolution 512), since its band has
no edge. Here cells are halved only where the field changes its sign between their corners or may hide a part thinner
than a cell, and at every level the surface is followed from cell to cell, so that whatever hangs together is whole: on
the finest level the triangles are those of the whole lattice, as long as every part was met anywhere.
"""

from itertools import product

import numpy as np
from numpy.typing import NDArray

from fourd_ros.compositional.field_lattice import (
    CHUNK,
    Field,
    ask,
    cells_surface,
    grid_surface,
    lattice_points,
    whole_lattice,
)
from fourd_ros.compositional.surface_mesh import SurfaceMesh
from fourd_ros.errors import InvalidField

__all__ = ["extract_surface"]

Keys = NDArray[np.int64]
Values = NDArray[np.float32]

COARSE = 32
"""Cells along an axis that the search begins with, at most; a part that no corner of them is near may be missed."""

MAX_CELLS = 4_000_000
"""With a sign change, at one level; a smooth surface that fills the cube has a third of them at resolution 512."""

CORNERS = np.array(list(product((0, 1), repeat=3)))
HALVES = np.array(list(product((0, 1, 2), repeat=3)))
FACES = tuple((axis, end, np.flatnonzero(CORNERS[:, axis] == end)) for axis in range(3) for end in (0, 1))
"""Axis, end, and which corners each of the six faces of a cell has."""


def extract_surface(
    field: Field, *, resolution: int, dense: bool = False, coarse: int = COARSE, chunk: int = CHUNK
) -> SurfaceMesh:
    """The surface where a field is zero, with normals that point to where it is negative.

    What reaches out of the lattice, whose last points lie one step before +1.005, is left open there. Memory goes with
    the surface, not with the cube: less than a kilobyte for each cell that it crosses.

    Args:
        field: to ask; positive inside.
        resolution: points of the finest lattice along an axis: 2, 4, 8 ... times a number up to `coarse`.
        dense: ask at every point of it, as the original does.
        coarse: cells along an axis to begin with, at most. Parts that hang together with what these cells see are
            found whole; what is apart from it has to be near one of their corners.
        chunk: points that are asked for at once.

    Returns:
        In the cube; empty where the field has one sign all over.

    Raises:
        InvalidField: values that are not finite, a resolution or `coarse` that cannot be halved into each other, or
            a sign that changes in so many cells that it is noise.
    """
    start = _first_side(resolution, coarse)
    if dense:
        return grid_surface(whole_lattice(field, resolution, chunk=chunk))
    search = _Search(field, resolution, chunk)
    cells = search.descend(start)
    return cells_surface(search.keys, search.values, search.inside(cells), resolution)


def _first_side(resolution: int, coarse: int) -> int:
    """Cells along an axis to begin with."""
    side = resolution
    while side > coarse and side % 2 == 0:
        side //= 2
    if not 2 <= side <= coarse or resolution % 2:
        raise InvalidField(
            f"resolution {resolution} with {coarse} cells to begin with; needed is a number up to {coarse} that was "
            "doubled some times, as 256 is 32 doubled three times"
        )
    return side


class _Search:
    """Points of the lattice that were asked for, and the cells that are followed.

    A point and the cell above it have the same key, ``(i * side + j) * side + k`` with ``side = resolution + 1``.
    """

    def __init__(self, field: Field, resolution: int, chunk: int) -> None:
        self._field, self._resolution, self._chunk = field, resolution, chunk
        self._shape = (resolution + 1,) * 3
        self._steps = np.array([(resolution + 1) ** 2, resolution + 1, 1])
        self.keys: Keys = np.zeros(0, np.int64)
        self.values: Values = np.zeros(0, np.float32)

    def descend(self, side: int) -> Keys:
        """The cells of the finest level that the surface crosses, found from `side` cells along an axis."""
        stride = self._resolution // side
        axis = np.arange(0, self._resolution + 1, stride)
        self._learn((axis[:, None, None] * self._steps[0] + axis[:, None] * self._steps[1] + axis).ravel())
        lower = axis[:-1]
        cells = (lower[:, None, None] * self._steps[0] + lower[:, None] * self._steps[1] + lower).ravel()
        while stride > 1:
            crossed = self._followed(cells, stride)
            hiding = self._hiding(cells, stride) if stride > 2 else crossed[:0]
            parents = _distinct(np.concatenate([crossed, hiding]))
            stride //= 2
            self._learn(self._around(parents, HALVES, stride))
            cells = self._around(parents, CORNERS, stride)
        return self._followed(cells, stride)

    def inside(self, cells: Keys) -> Keys:
        """Those whose corners all lie on the lattice of the original, which has no last point on each axis."""
        places = np.stack(np.unravel_index(cells, self._shape))
        return cells[(places < self._resolution - 1).all(axis=0)]

    def _followed(self, cells: Keys, stride: int) -> Keys:
        """The cells that the surface crosses, and those that it goes on into, wherever that leads."""
        crossed = np.sort(cells[self._crossed(cells, stride)])
        edge = crossed
        while len(edge):
            following = np.setdiff1d(self._beyond(edge, stride), crossed, assume_unique=True)
            self._learn(self._around(following, CORNERS, stride))
            crossed = np.sort(np.concatenate([crossed, following]))
            if len(crossed) > MAX_CELLS:
                raise InvalidField(
                    f"the field changes its sign in more than {MAX_CELLS} cells of {stride} / {self._resolution}; that "
                    "is noise and no surface; give a coarser resolution, or a decoder that was trained"
                )
            edge = following
        return crossed

    def _beyond(self, cells: Keys, stride: int) -> Keys:
        """Neighbours of crossed cells across faces that the surface goes through, in order, each once."""
        inside = self._corner_values(cells, stride) > 0
        places = np.stack(np.unravel_index(cells, self._shape))
        found = []
        for axis, end, corners in FACES:
            some = inside[:, corners]
            through = some.any(axis=1) & ~some.all(axis=1)
            step = stride if end else -stride
            there = places[axis] + step
            through &= (there >= 0) & (there < self._resolution)
            found.append(cells[through] + step * self._steps[axis])
        return _distinct(np.concatenate(found))

    def _crossed(self, cells: Keys, stride: int) -> NDArray[np.bool_]:
        inside = self._corner_values(cells, stride) > 0
        return np.asarray(inside.any(axis=1) & ~inside.all(axis=1))

    def _hiding(self, cells: Keys, stride: int) -> Keys:
        """Cells that a thin part may pass through unseen.

        A corner outside is nearer to the surface than a cell is long where its value is smaller than it changes from
        there to a neighbour outside; the part may then lie in any of the cells around that corner.
        """
        corners = (cells[:, None] + stride * (CORNERS @ self._steps)).ravel()
        points = _distinct(corners)
        values = self._look(points)
        near = np.zeros(len(points), bool)
        places = np.stack(np.unravel_index(points, self._shape))
        for axis, step in product(range(3), (stride, -stride)):
            there = places[axis] + step
            on = (there >= 0) & (there <= self._resolution)
            other = self._look(np.where(on, points + step * self._steps[axis], points))
            with np.errstate(invalid="ignore"):
                near |= (np.sign(other) == np.sign(values)) & (np.abs(values) < np.abs(other - values))
        around = near[np.searchsorted(points, corners)].reshape(-1, 8).any(axis=1)
        return np.asarray(cells[around])

    def _around(self, cells: Keys, places: NDArray[np.int64], stride: int) -> Keys:
        """Keys at `places` times `stride` from the least corners of cells, each once, in order."""
        return _distinct((cells[:, None] + stride * (places @ self._steps)).ravel())

    def _corner_values(self, cells: Keys, stride: int) -> Values:
        """Shape [N, 8]."""
        return self._look((cells[:, None] + stride * (CORNERS @ self._steps)).ravel()).reshape(-1, 8)

    def _look(self, keys: Keys) -> Values:
        """Values at points; NaN where nobody asked."""
        place = np.minimum(np.searchsorted(self.keys, keys), len(self.keys) - 1)
        return np.asarray(np.where(self.keys[place] == keys, self.values[place], np.nan), np.float32)

    def _learn(self, keys: Keys) -> None:
        """Ask at points, in order, that are not known yet."""
        new = np.setdiff1d(keys, self.keys, assume_unique=True)
        if not len(new):
            return
        points = np.stack(np.unravel_index(new, self._shape), axis=1)
        values = ask(self._field, lattice_points(points, self._resolution), chunk=self._chunk)
        place = np.searchsorted(self.keys, new)
        self.keys, self.values = np.insert(self.keys, place, new), np.insert(self.values, place, values)


def _distinct(keys: Keys) -> Keys:
    """Each once, in order; several times as fast as `numpy.unique`, which may go by hashes."""
    ordered = np.sort(keys)
    first = np.ones(len(ordered), bool)
    first[1:] = ordered[1:] != ordered[:-1]
    return ordered[first]
