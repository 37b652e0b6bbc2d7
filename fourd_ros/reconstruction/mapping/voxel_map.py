"""A static map that grows with a stream of points: one mean point for every voxel that was seen."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fourd_ros.data.array_archive import ArchiveKind
from fourd_ros.errors import InvalidCloud, InvalidParameter
from fourd_ros.geometry.camera import PinholeCamera
from fourd_ros.geometry.transforms import apply, invert
from fourd_ros.reconstruction.mapping.voxel_table import VoxelTable

__all__ = ["MapPoints", "VoxelMap", "VoxelMapOptions"]

Keys = NDArray[np.int64]
Columns = list[NDArray[np.float32]]

CELLS = 1 << 20
"""Voxels on a side of the space that keys can name, the origin in its middle: 52 km with voxels of 5 cm."""

CARVED = 50_000
"""Voxels at most that one look through the map tests, each in its turn."""

FORGOTTEN = 0.2
"""Confidence below which a voxel that was looked through is forgotten."""

_KIND = ArchiveKind(
    what="a map of voxels", made_by="save one with VoxelMap.save", error=InvalidCloud, facts="map.json", version=1
)


@dataclass(frozen=True, kw_only=True)
class VoxelMapOptions:
    """Size and memory of a map.

    Args:
        voxel_size: edge of a voxel [m].
        max_voxels: when there would be more, those with the least confidence go, the oldest of them first.
        max_hits: a voxel's mean follows what is new as if it had been seen no more often.
        decay: share of its confidence that a voxel loses each time a camera looks through it.

    Raises:
        InvalidParameter: a value out of range.
    """

    voxel_size: float = 0.05
    max_voxels: int = 400_000
    max_hits: float = 50.0
    decay: float = 0.3

    def __post_init__(self) -> None:
        if not (0 < self.voxel_size < np.inf and self.max_voxels >= 1 and self.max_hits >= 1 and 0 <= self.decay <= 1):
            raise InvalidParameter(f"voxels of a map: {self}; sizes must be positive, decay from 0 to 1")


@dataclass(frozen=True, kw_only=True)
class MapPoints:
    """Points of a map.

    Args:
        points: in the world [m], shape [N, 3], float32.
        rgb: colour, shape [N, 3], uint8.
        confidence: how often and how surely each was seen, shape [N], float32.
        stamps_ns: when each was last seen [ns], shape [N], int64.
    """

    points: NDArray[np.float32]
    rgb: NDArray[np.uint8]
    confidence: NDArray[np.float32]
    stamps_ns: NDArray[np.int64]


class VoxelMap:
    """Points that fall into one voxel share a mean; memory is taken once and for all.

    Args:
        options: size and memory.
    """

    def __init__(self, options: VoxelMapOptions | None = None) -> None:
        self.options = options or VoxelMapOptions()
        most = self.options.max_voxels
        self._table = VoxelTable(most)
        self._keys = np.zeros(most, np.int64)
        self._values = np.zeros((6, most), np.float32)
        self._confidence = np.zeros(most, np.float32)
        self._stamps = np.zeros(most, np.int64)
        self._count = 0
        self._next_carved = 0

    def clear(self) -> None:
        """Forget everything."""
        self._keep(np.zeros(0, np.int64))

    def __len__(self) -> int:
        """Number of voxels."""
        return self._count

    def integrate(
        self,
        points: NDArray[np.floating],
        rgb: NDArray[np.uint8],
        *,
        stamp_ns: int,
        weights: NDArray[np.floating] | None = None,
    ) -> None:
        """Add the points of one frame; a voxel gains the confidence of its surest one, since they are not independent.

        Args:
            points: in the world [m], NaN where unknown, shape [*, 3].
            rgb: colour, shape [*, 3].
            stamp_ns: when they were seen [ns].
            weights: how sure each is, such as 1 / sigma^2 with the usual sigma as 1; None for 1, shape [*].

        Raises:
            InvalidCloud: shapes that differ, or weights that are negative or not finite.
        """
        points, rgb = points.reshape(-1, 3), rgb.reshape(-1, 3)
        sure = np.ones(len(points), np.float32) if weights is None else weights.reshape(-1).astype(np.float32)
        if not len(points) == len(rgb) == len(sure):
            raise InvalidCloud(f"{len(points)} points with {len(rgb)} colours and {len(sure)} weights")
        if not (np.isfinite(sure).all() and (sure >= 0).all()):
            raise InvalidCloud("weights of points must be finite and not negative")
        keys, used = self._keys_of(points)
        used &= sure > 0
        if used.any():
            columns = [*points[used].T.astype(np.float32), *rgb[used].T.astype(np.float32)]
            self._add(*_means(keys[used], columns, sure[used]), stamp_ns)

    def carve(
        self,
        depth: NDArray[np.floating],
        camera: PinholeCamera,
        T_world_camera: NDArray[np.float64],
        *,
        margin: float,
    ) -> None:
        """Take confidence from what a camera looks through; what loses nearly all of it is forgotten.

        Of a large map each call tests a part, the next call the next one.

        Args:
            depth: z-depth [m], NaN where unknown, shape [H, W].
            camera: that took it.
            T_world_camera: where from, shape [4, 4].
            margin: of its depth; nearer to the surface than this, or than two voxels, nothing is looked through.
        """
        begin = self._next_carved if self._next_carved < len(self) else 0
        end = min(begin + CARVED, len(self))
        self._next_carved = end if end < len(self) else 0
        seen = apply(invert(T_world_camera), self._values[:3, begin:end].T)
        pixels = np.rint(camera.project(seen))
        inside = ((pixels >= 0) & (pixels <= (camera.width - 1, camera.height - 1))).all(axis=-1)
        rows = np.flatnonzero(inside)
        x, y = pixels[rows].astype(np.int64).T
        surface = depth[y, x]
        free = seen[rows, 2] < surface - np.maximum(margin * surface, 2 * self.options.voxel_size)
        self._confidence[begin + rows[free]] *= 1 - self.options.decay
        gone = begin + np.flatnonzero(self._confidence[begin:end] < FORGOTTEN)
        if len(gone):
            self._keep(np.delete(np.arange(len(self)), gone))

    def points(self, *, min_confidence: float = 0.0) -> MapPoints:
        """The mean point of every voxel that has at least `min_confidence`."""
        rows = np.flatnonzero(self._confidence[: len(self)] >= min_confidence)
        return MapPoints(
            points=np.ascontiguousarray(self._values[:3, rows].T),
            rgb=np.rint(self._values[3:, rows].T).astype(np.uint8),
            confidence=self._confidence[rows],
            stamps_ns=self._stamps[rows],
        )

    def save(self, path: Path | str) -> None:
        """Write the map, whole or not at all, as ``.npz`` without pickled objects."""
        here = slice(0, len(self))
        arrays: dict[str, NDArray[Any]] = {
            "keys": self._keys[here],
            "values": self._values[:, here],
            "confidence": self._confidence[here],
            "stamps_ns": self._stamps[here],
        }
        _KIND.write(path, {"voxel_size": self.options.voxel_size}, arrays)

    def load(self, path: Path | str) -> None:
        """Take the place of what is here with a saved map.

        Raises:
            InvalidCloud: no such file, damaged, with voxels of another size, or more of them than `max_voxels`; what is
                here stays.
        """
        with _KIND.open(path) as archive:
            size = archive.facts()["voxel_size"]
            if size != self.options.voxel_size:
                raise InvalidCloud(f"its voxels are {size} m wide, those here {self.options.voxel_size} m")
            keys, values, confidence, stamps = (
                archive.read(name) for name in ("keys", "values", "confidence", "stamps_ns")
            )
            _check(keys, values, confidence, stamps, most=self.options.max_voxels)
        self._count = len(keys)
        here = slice(0, len(keys))
        self._keys[here], self._values[:, here] = keys, values
        self._confidence[here], self._stamps[here] = confidence, stamps
        self._table.rebuild(keys)

    def _keys_of(self, points: NDArray[np.floating]) -> tuple[Keys, NDArray[np.bool_]]:
        """A number for the voxel of every point, and whether it has one."""
        keys, known = np.zeros(len(points), np.int64), np.ones(len(points), bool)
        scale = points.dtype.type(1 / self.options.voxel_size)
        for axis in range(3):
            cell = np.floor(points[:, axis] * scale)
            known &= (cell >= -CELLS // 2) & (cell < CELLS // 2)
            keys = keys * CELLS + np.where(known, cell, 0).astype(np.int64) + CELLS // 2
        return keys, known

    def _add(self, keys: Keys, means: Columns, weights: NDArray[np.float32], stamp_ns: int) -> None:
        """Merge means of voxels, each once, with those that are here."""
        rows = self._table.find(keys)
        new = np.flatnonzero(rows < 0)
        if self._count + len(new) > self.options.max_voxels:
            self._make_room(len(new))
            rows = self._table.find(keys)
            new = np.flatnonzero(rows < 0)[: self.options.max_voxels - self._count]
            kept = rows >= 0
            kept[new] = True
            return self._add(keys[kept], [column[kept] for column in means], weights[kept], stamp_ns)
        rows[new] = np.arange(self._count, self._count + len(new), dtype=np.int32)
        self._table.add(keys[new], rows[new])
        self._count += len(new)
        self._keys[rows[new]], self._confidence[rows[new]] = keys[new], 0
        total = self._confidence[rows] + weights
        share = weights / total
        for column, mean in zip(self._values, means, strict=True):
            column[rows] += share * (mean - column[rows])
        self._confidence[rows] = np.minimum(total, np.float32(self.options.max_hits))
        self._stamps[rows] = stamp_ns
        return None

    def _make_room(self, wanted: int) -> None:
        """Forget what is least sure, at least a tenth of all, so that this happens rarely."""
        here = slice(0, len(self))
        order = np.lexsort((self._stamps[here], self._confidence[here]))
        self._keep(np.sort(order[max(wanted, self.options.max_voxels // 10) :]))

    def _keep(self, rows: NDArray[np.int64]) -> None:
        here = slice(0, len(rows))
        self._count = len(rows)
        self._keys[here], self._values[:, here] = self._keys[rows], self._values[:, rows]
        self._confidence[here], self._stamps[here] = self._confidence[rows], self._stamps[rows]
        self._table.rebuild(self._keys[here])


def _means(keys: Keys, columns: Columns, weights: NDArray[np.float32]) -> tuple[Keys, Columns, NDArray[np.float32]]:
    """Keys, each once; weighted means of their columns; the largest of their weights."""
    order = np.argsort(keys)
    keys, weights = keys[order], weights[order]
    starts = np.flatnonzero(np.diff(keys, prepend=-1))
    totals = np.add.reduceat(weights, starts)
    means = [np.asarray(np.add.reduceat(column[order] * weights, starts) / totals, np.float32) for column in columns]
    return keys[starts], means, np.maximum.reduceat(weights, starts)


def _check(
    keys: NDArray[Any], values: NDArray[Any], confidence: NDArray[Any], stamps: NDArray[Any], *, most: int
) -> None:
    count = len(keys)
    shapes = [list(array.shape) for array in (keys, values, confidence, stamps)]
    whole = keys.dtype == np.int64 and stamps.dtype == np.int64
    if shapes != [[count], [6, count], [count], [count]] or not whole:
        raise InvalidCloud(f"its arrays have shapes {shapes} that do not fit together")
    if count > most:
        raise InvalidCloud(f"it has {count} voxels, allowed are {most}")
    if len(np.unique(keys)) != count or (keys < 0).any():
        raise InvalidCloud("a voxel has no number, or two have the same")
    if not (np.isfinite(values).all() and np.isfinite(confidence).all()):
        raise InvalidCloud("a voxel is not finite")
