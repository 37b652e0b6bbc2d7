"""Scenes of `fourd data compositional` as training batches of compositional objects.

A sample is a whole batch of items of one kind (see `compositional_objective`), since items of a group see each other.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from fourd_ros.data.batch_packing import pack_batches
from fourd_ros.data.compositional_shards import CompositionalArrays, CompositionalShards
from fourd_ros.errors import InvalidDataset
from fourd_ros.training.shape_samples import MIRROR
from fourd_ros.training.task import Sample

KINDS = ("single", "scene", "moving")
"""Of batches; a sample has the place of its own as ``kind``."""

WHITE = 255
_SPARE = 4
"""Groups to choose from, over what groups of two would fill a batch with."""


@dataclass(frozen=True, kw_only=True)
class BatchRules:
    """What batches hold.

    Args:
        items: of a batch, exactly.
        most_parts: objects of a group.
        most_frames: frames of a group.
        single: how often a batch is of items alone.
        moving: how often another one is of moving objects, not of scenes.
        alone: how often a scene shows each object by itself, as inference shows moving ones; else all of it.
        plain: how often a scene that is shown as a whole is on white.
        least_visible: share of an object's outline that must show.
    """

    items: int = 24
    most_parts: int = 8
    most_frames: int = 8
    single: float = 0.3
    moving: float = 0.5
    alone: float = 0.6
    plain: float = 0.5
    least_visible: float = 0.15


@dataclass(frozen=True, kw_only=True)
class MaskingRules:
    """Squares that hide a part of pictures of one object (COM4D, section 9 of the specification).

    Args:
        moving: how often frames of a moving object have one.
        single: how often a picture of an item alone has one.
    """

    moving: float = 0.0
    single: float = 0.0


SPANS, MOVING_SIDES, SINGLE_SIDES = (0.25, 0.8), (0.1, 0.5), (0.1, 0.25)
"""Share of frames that a square hides, and its side as a share of the picture's."""


@dataclass(frozen=True, kw_only=True)
class ItemGroup:
    """Items that see each other.

    Args:
        points: on the surface of each, with normals, shape [n, P, 6].
        pictures: that show them, shape [m, S, S, 3], uint8.
        shown: which picture each item sees, shape [n].
    """

    points: NDArray[np.float32]
    pictures: NDArray[np.uint8]
    shown: NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class CompositionalSamples:
    """Batches by index, which are drawn anew each time.

    Args:
        shards: of the scenes.
        points: on the surface of an object.
        rules: of batches.
        masking: of pictures.
    """

    shards: CompositionalShards
    points: int
    rules: BatchRules
    masking: MaskingRules = field(default_factory=MaskingRules)
    _places: dict[str, list[int]] = field(init=False, repr=False, default_factory=dict)

    def __post_init__(self) -> None:
        layouts = [self.shards.facts(index).layout for index in range(len(self.shards))]
        wanted = {"single": ("single",), "scene": ("scene",), "moving": ("moving", "clip")}
        for kind, names in wanted.items():
            self._places[kind] = [index for index, layout in enumerate(layouts) if layout in names]
        missing = [kind for kind in KINDS if self._share_of(kind) > 0 and not self._places[kind]]
        if missing:
            raise InvalidDataset(
                f"'{self.shards.folder}' has nothing for batches of {missing}; make such scenes or set their share to 0"
            )

    def __len__(self) -> int:
        return max(len(self.shards) // self.rules.items, 1)

    def sample(self, index: int, rng: np.random.Generator) -> Sample:
        """A batch of N items.

        Returns:
            ``kind`` as place in `KINDS`; ``sizes`` of the groups, then zeros [N]; ``points`` and normals [N, P, 6];
            ``pictures`` [N, S, S, 3], those that are shown first; ``shown``, which of them each item sees [N].
        """
        kind = self._kind(rng)
        groups: list[ItemGroup] = []
        while not groups:
            count = self.rules.items if kind == "single" else self.rules.items // 2 + _SPARE
            drawn = [self.group(kind, rng) for _ in range(count)]
            packed = pack_batches([len(one.points) for one in drawn], batch_size=self.rules.items)
            groups = [drawn[place] for place in packed[0]] if packed else []
        pictures = np.concatenate([group.pictures for group in groups])
        offsets = np.cumsum([0, *(len(group.pictures) for group in groups[:-1])])
        shown = np.concatenate([group.shown + offset for group, offset in zip(groups, offsets, strict=True)])
        sizes = np.zeros(self.rules.items, np.int64)
        sizes[: len(groups)] = [len(group.points) for group in groups]
        room = np.zeros((self.rules.items - len(pictures), *pictures.shape[1:]), np.uint8)
        return {
            "kind": KINDS.index(kind),
            "sizes": sizes,
            "points": np.concatenate([group.points for group in groups]),
            "pictures": np.concatenate([pictures, room]),
            "shown": shown,
        }

    def group(self, kind: str, rng: np.random.Generator) -> ItemGroup:
        """One group of a kind, mirrored as often as not."""
        group = {"single": self._single, "scene": self._scene, "moving": self._moving}[kind](rng)
        if rng.random() < 0.5:
            return group
        flip = np.concatenate([MIRROR, MIRROR])
        return ItemGroup(points=group.points * flip, pictures=group.pictures[:, :, ::-1], shown=group.shown)

    def _share_of(self, kind: str) -> float:
        rules = self.rules
        others = 1 - rules.single
        return {"single": rules.single, "moving": others * rules.moving, "scene": others * (1 - rules.moving)}[kind]

    def _kind(self, rng: np.random.Generator) -> str:
        if rng.random() < self.rules.single:
            return "single"
        return "moving" if rng.random() < self.rules.moving else "scene"

    def _draw(self, kind: str, rng: np.random.Generator) -> CompositionalArrays:
        places = self._places[kind]
        return self.shards.arrays(places[rng.integers(len(places))])

    def _single(self, rng: np.random.Generator) -> ItemGroup:
        arrays = self._draw("single", rng)
        picture = on_white(arrays, 0, [1])
        if rng.random() < self.masking.single:
            picture = hide_square(picture, SINGLE_SIDES, np.zeros(3, np.uint8), rng)
        return ItemGroup(
            points=self._points(arrays, [(0, 0)], rng), pictures=picture[None], shown=np.zeros(1, np.int64)
        )

    def _scene(self, rng: np.random.Generator) -> ItemGroup:
        while True:
            arrays = self._draw("scene", rng)
            solids = rng.permutation(np.flatnonzero(arrays.visible[0] >= self.rules.least_visible))
            if len(solids) > 1:
                break
        solids = solids[: self.rules.most_parts]
        points = self._points(arrays, [(0, int(solid)) for solid in solids], rng)
        if rng.random() < self.rules.alone:
            pictures = np.stack([on_white(arrays, 0, [int(solid) + 1]) for solid in solids])
            return ItemGroup(points=points, pictures=pictures, shown=np.arange(len(solids)))
        everything = range(1, len(arrays.surface) + 1)
        picture = on_white(arrays, 0, everything) if rng.random() < self.rules.plain else np.array(arrays.rgb[0])
        return ItemGroup(points=points, pictures=picture[None], shown=np.zeros(len(solids), np.int64))

    def _moving(self, rng: np.random.Generator) -> ItemGroup:
        arrays = self._draw("moving", rng)
        length = len(arrays.rgb)
        most = min(self.rules.most_frames, length)
        count = int(rng.integers(min(2, most), most + 1))
        begin = int(rng.integers(length - count + 1))
        frames = list(range(begin, begin + count))[:: 1 if rng.random() < 0.5 else -1]
        pictures = np.stack([on_white(arrays, frame, [1]) for frame in frames])
        if rng.random() < self.masking.moving:
            pictures = hide_span(pictures, rng)
        points = self._points(arrays, [(frame, 0) for frame in frames], rng)
        return ItemGroup(points=points, pictures=pictures, shown=np.arange(count))

    def _points(
        self, arrays: CompositionalArrays, items: Sequence[tuple[int, int]], rng: np.random.Generator
    ) -> NDArray[np.float32]:
        count = arrays.surface.shape[1]
        if count < self.points:
            raise InvalidDataset(f"{count} points of an object in '{self.shards.folder}'; needed are {self.points}")
        rows = rng.choice(count, self.points, replace=False)
        return np.stack([arrays.points(frame, solid)[rows] for frame, solid in items]).astype(np.float32)


def on_white(arrays: CompositionalArrays, frame: int, numbers: Sequence[int] | range) -> NDArray[np.uint8]:
    """A frame with nothing but solids of these numbers, shape [S, S, 3]."""
    kept = np.isin(arrays.numbers[frame], list(numbers))
    return np.where(kept[..., None], arrays.rgb[frame], WHITE).astype(np.uint8)


def hide_square(
    picture: NDArray[np.uint8], sides: tuple[float, float], fill: NDArray[np.uint8], rng: np.random.Generator
) -> NDArray[np.uint8]:
    """A picture [S, S, 3] with one square of a colour, its side a share of the picture's."""
    hidden = picture.copy()
    rows, columns = _square(picture.shape[0], sides, rng)
    hidden[rows, columns] = fill
    return hidden


def hide_span(pictures: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Frames [F, S, S, 3] of which a row of some has the same square, in the colour of each frame's first pixel."""
    hidden = pictures.copy()
    length = max(round(float(rng.uniform(*SPANS)) * len(pictures)), 1)
    begin = int(rng.integers(len(pictures) - length + 1))
    rows, columns = _square(pictures.shape[1], MOVING_SIDES, rng)
    hidden[begin : begin + length, rows, columns] = pictures[begin : begin + length, :1, :1]
    return hidden


def _square(size: int, sides: tuple[float, float], rng: np.random.Generator) -> tuple[slice, slice]:
    side = max(round(float(rng.uniform(*sides)) * size), 1)
    row, column = (int(start) for start in rng.integers(size - side + 1, size=2))
    return slice(row, row + side), slice(column, column + side)
