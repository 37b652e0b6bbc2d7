"""Solids of `fourd data compositional` as training samples of the shape autoencoder."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from fourd_ros.data.compositional_shards import CompositionalShards
from fourd_ros.errors import InvalidDataset
from fourd_ros.training.task import Sample

MIRROR = np.array([-1.0, 1.0, 1.0], np.float32)
"""Left and right of the cube changed over."""

CUBE_EXTENT = 2.0


@dataclass(frozen=True, kw_only=True)
class ShapeSamples:
    """Samples by index: a solid of a scene in its first frame, where it is or elsewhere and of another size.

    Args:
        shards: of the scenes.
        points: on the surface.
        queries: places around it.
        moved: how often it is elsewhere, 0..1.
        sizes: range of the longest side of what is elsewhere.
    """

    shards: CompositionalShards
    points: int
    queries: int
    moved: float = 0.7
    sizes: tuple[float, float] = (0.4, 1.95)
    _solids: list[tuple[int, int]] = field(init=False, repr=False, default_factory=list)

    def __post_init__(self) -> None:
        for index in range(len(self.shards)):
            self._solids.extend((index, solid) for solid in range(len(self.shards.facts(index).solids)))

    def __len__(self) -> int:
        return len(self._solids)

    def sample(self, index: int, rng: np.random.Generator) -> Sample:
        """One solid.

        Returns:
            ``points`` and normals on it [P, 6]; ``queries`` around it, half of them inside [Q, 3]; ``depth`` of these
            below its surface, negative outside [Q].

        Raises:
            InvalidDataset: it was made with fewer points or queries.
        """
        scene, solid = self._solids[index]
        arrays = self.shards.arrays(scene)
        found, around = arrays.points(0, solid), arrays.queries[solid].astype(np.float32)
        if len(found) < self.points or len(around) < self.queries:
            raise InvalidDataset(
                f"{len(found)} points and {len(around)} queries of a solid in '{self.shards.folder}'; needed are "
                f"{self.points} and {self.queries}"
            )
        points = found[rng.choice(len(found), self.points, replace=False)]
        queries = around[balanced_rows(around[:, 3] > 0, self.queries, rng)]
        factor, shift = self._place(found[:, :3], rng)
        mirror = MIRROR if rng.random() < 0.5 else np.ones(3, np.float32)
        placed = np.concatenate([(factor * points[:, :3] + shift) * mirror, points[:, 3:] * mirror], axis=1)
        return {
            "points": placed.astype(np.float32),
            "queries": ((factor * queries[:, :3] + shift) * mirror).astype(np.float32),
            "depth": (factor * queries[:, 3]).astype(np.float32),
        }

    def _place(self, points: NDArray[np.float32], rng: np.random.Generator) -> tuple[float, NDArray[np.float32]]:
        """Factor and shift to where the solid is shown."""
        if rng.random() >= self.moved:
            return 1.0, np.zeros(3, np.float32)
        low, high = points.min(axis=0), points.max(axis=0)
        factor = float(rng.uniform(*self.sizes)) / float((high - low).max())
        slack = np.maximum(CUBE_EXTENT - factor * (high - low), 0) / 2
        shift = -factor * (low + high) / 2 + rng.uniform(-1, 1, 3) * slack
        return factor, shift.astype(np.float32)


def balanced_rows(inside: NDArray[np.bool_], count: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Rows of which half are inside, since most places around thin things are not; all alike where one kind is missing.

    Args:
        inside: of all rows, shape [N].
        count: of rows, some twice where a kind has too few.
        rng: draws them.
    """
    kinds = [rows for rows in (np.flatnonzero(inside), np.flatnonzero(~inside)) if len(rows)]
    counts = [count // len(kinds)] * len(kinds)
    counts[-1] += count - sum(counts)
    drawn = [rng.choice(rows, size, replace=size > len(rows)) for rows, size in zip(kinds, counts, strict=True)]
    return np.concatenate(drawn).astype(np.int64)
