"""Drags of PartDrag-4D and of Objaverse: which points are dragged, and where to.

Rules: PartRM 2025 (arXiv 2503.19913), sections 3.2 to 3.4 of the specification this was written from. Drags are pixels
(x, y) of a grid of 512 x 512; in the original all four views get those of view 0.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fourd_ros.data.partdrag4d_cameras import DRAG_GRID, INPUT_VIEWS, FloatArray, clamp, project
from fourd_ros.errors import InvalidDataset
from fourd_ros.strict_json import read_object

Indices = NDArray[np.int64]
Points = NDArray[np.floating]

DRAGS = 10
OBJAVERSE_DRAGS = 5
LEAST_TRACK = 5.0
"""Shorter tracks are no drags [pixels]."""

_MOVED = 1e-6
_MAX_NPY_BYTES = 64 * 1024**2


@dataclass(frozen=True, kw_only=True)
class Drags:
    """Where parts are taken and where to.

    Args:
        start: x and y of each drag in every view [pixels], shape [V, N, 2], float32.
        end: of each, shape [V, N, 2].
    """

    start: NDArray[np.float32]
    end: NDArray[np.float32]

    @staticmethod
    def of_first_view(start: Points, end: Points, *, views: int = INPUT_VIEWS) -> "Drags":
        """The same drags [N, 2] for every view."""
        repeated = (np.repeat(np.asarray(values, np.float32)[None], views, axis=0) for values in (start, end))
        first, second = repeated
        return Drags(start=first, end=second)

    @staticmethod
    def of_points(before: Points, after: Points, raw: FloatArray, *, per_view: bool) -> "Drags":
        """Drags of points [N, 3] that move, within the grid.

        Args:
            before: where they are, z-up.
            after: where they go.
            raw: raw poses of the input views, shape [V, 4, 4].
            per_view: as each view sees them; otherwise as view 0 does.
        """
        poses = raw if per_view else np.repeat(raw[:1], len(raw), axis=0)
        start, end = (np.stack([clamp(project(points, pose)) for pose in poses]) for points in (before, after))
        return Drags(start=start.astype(np.float32), end=end.astype(np.float32))


@dataclass(frozen=True, kw_only=True)
class DragOptions:
    """How drags are chosen.

    Args:
        count: of them.
        noise: standard deviation of where they end, in training [pixels].
        noisy: share of the items that get it.
        per_view: every view gets the drags as its own camera sees them; in the original all get those of view 0.
        official_compat: with the defects of the original: points whose changes cancel do not move, and propagated
            drags go from the first propagated point to the end of the user's drag.
    """

    count: int = DRAGS
    noise: float = 5.0
    noisy: float = 0.5
    per_view: bool = False
    official_compat: bool = False


def moving_points(before: Points, after: Points, *, official_compat: bool = False) -> Indices:
    """Indices of points [N, 3] that differ between two states.

    Args:
        before: in one state.
        after: in the other, in the same order.
        official_compat: those whose coordinates differ in their sum, as in the original.

    Raises:
        InvalidDataset: the states have different numbers of points, or nothing moves.
    """
    if before.shape != after.shape:
        raise InvalidDataset(f"states of {len(before)} and {len(after)} points; needed are the same ones in order")
    change = np.asarray(before) - after
    moves = change.sum(axis=1) != 0 if official_compat else (np.abs(change) > _MOVED).any(axis=1)
    if not moves.any():
        raise InvalidDataset("nothing moves between the two states, so there is nothing to drag")
    return np.flatnonzero(moves)


def training_points(
    moving: Indices, visible: Indices | None, rng: np.random.Generator, *, count: int = DRAGS
) -> Indices:
    """The points that are dragged in training: visible ones where there are enough, else any that move.

    Args:
        moving: points that move, at least one.
        visible: points that view 0 sees; None where nobody knows.
        rng: draws them.
        count: how many; some come twice where there are too few.
    """
    if len(moving) < count:
        moving = rng.choice(moving, count, replace=True)
    if visible is not None:
        seen = np.intersect1d(moving, visible)
        chosen = rng.permutation(seen)[:count]
        if len(chosen) > int(count * 2 / 3):
            return np.concatenate([chosen, rng.choice(seen, count - len(chosen), replace=True)])
    return rng.permutation(moving)[:count]


def training_drags(
    before: Points,
    after: Points,
    raw: FloatArray,
    rng: np.random.Generator,
    *,
    visible: Indices | None = None,
    options: DragOptions = DragOptions(),
) -> Drags:
    """Drags of points that move from one state to another, with noise where they end in some of the items.

    Args:
        before: points of the source state, z-up, shape [P, 3].
        after: of the target state.
        raw: raw poses of the input views of the source state, shape [V, 4, 4].
        rng: draws points, the coin of the noise, the noise.
        visible: points that view 0 sees in the source state.
        options: how they are chosen.

    Raises:
        InvalidDataset: see `moving_points`.
    """
    moving = moving_points(before, after, official_compat=options.official_compat)
    chosen = training_points(moving, visible, rng, count=options.count)
    drags = Drags.of_points(before[chosen], after[chosen], raw, per_view=options.per_view)
    if rng.random() >= options.noisy:
        return drags
    noise = rng.normal(scale=options.noise, size=drags.end.shape).astype(np.float32)
    return Drags(start=drags.start, end=clamp(drags.end + noise))


def dragged_point(
    before: Points,
    after: Points,
    rng: np.random.Generator,
    *,
    visible: Indices | None = None,
    official_compat: bool = False,
) -> int:
    """The one point that is dragged in an evaluation: a visible one that moves, else any that does.

    Arguments and errors as in `training_drags`.
    """
    moving = moving_points(before, after, official_compat=official_compat)
    seen = moving if visible is None else np.intersect1d(moving, visible)
    return int(rng.choice(seen if len(seen) else moving))


def propagated_points(mask: NDArray[np.bool_], rng: np.random.Generator, *, count: int = DRAGS) -> Indices:
    """Random pixels of a mask [512, 512] as (row, column), shape [count, 2]; some twice where there are too few.

    Raises:
        InvalidDataset: the mask is of another size or empty.
    """
    if mask.shape != (DRAG_GRID, DRAG_GRID) or not mask.any():
        raise InvalidDataset(f"a mask of {mask.shape} with {int(mask.sum())} pixels; needed are some of 512 x 512")
    return padded(rng.permutation(np.argwhere(mask))[:count], rng, count=count)


def padded(points: Indices, rng: np.random.Generator, *, count: int) -> Indices:
    """As many rows as are needed: too few are drawn from again, where the original fails."""
    if len(points) >= count:
        return points[:count]
    return np.concatenate([points, points[rng.integers(len(points), size=count - len(points))]])


def propagate(drag: tuple[Points, Points], points: NDArray[np.integer], *, official_compat: bool = False) -> Drags:
    """The drag of a user for many points of the same part.

    Args:
        drag: its start and end, each [2], within the grid.
        points: pixels of the part as (row, column), shape [N, 2].
        official_compat: the displacement is that from the first of these points to the end of the drag, as in the
            evaluation of the original; otherwise that of the drag, as in the paper.
    """
    start, end = drag
    starts = np.asarray(points, np.float64)[:, ::-1]
    displacement = end - (starts[0] if official_compat else start)
    return Drags.of_first_view(starts, clamp(starts + displacement))


def read_propagated(path: Path) -> Indices:
    """Pixels that somebody propagated a drag to, as (row, column), shape [n, 2].

    Raises:
        InvalidDataset: missing, too large, no such array, or outside the grid.
    """
    points = read_indices(path)
    if points.ndim != 2 or points.shape[1] != 2 or not len(points):
        raise InvalidDataset(f"'{path}' holds an array of shape {points.shape}; needed are rows of (row, column)")
    if points.min() < 0 or points.max() >= DRAG_GRID:
        raise InvalidDataset(f"'{path}' has pixels outside 0 .. {DRAG_GRID - 1}")
    return points


def read_indices(path: Path) -> Indices:
    """Whole numbers of a NumPy file.

    Raises:
        InvalidDataset: missing, too large, damaged, or other values.
    """
    try:
        if path.stat().st_size > _MAX_NPY_BYTES:
            raise InvalidDataset(f"'{path}' has {path.stat().st_size} bytes; at most {_MAX_NPY_BYTES} are read")
        values = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise InvalidDataset(f"'{path}' cannot be read as numbers: {error}") from error
    if not isinstance(values, np.ndarray) or values.dtype.kind not in "iu":
        raise InvalidDataset(f"'{path}' holds no array of whole numbers")
    return values.astype(np.int64)


def objaverse_drags(
    samples: Iterable[Sequence[Sequence[Sequence[float]]]],
    before: int,
    after: int,
    rng: np.random.Generator,
    *,
    count: int = OBJAVERSE_DRAGS,
) -> Drags:
    """Drags along the tracks of an animated object: those of the first sample that has long enough ones.

    Args:
        samples: tracks of view 0: of each sample a list of tracks, of each track x and y by frame [pixels].
        before: frame of the source state.
        after: of the target state.
        rng: draws `count` of the tracks of each sample.
        count: of drags; what is missing goes from (0, 0) to (0, 0), which networks were trained with.

    Raises:
        InvalidDataset: a track has not these frames.
    """
    start, end = np.zeros((count, 2)), np.zeros((count, 2))
    for tracks in samples:
        chosen = [tracks[index] for index in rng.permutation(len(tracks))[:count]]
        try:
            ends = np.array([(track[before], track[after]) for track in chosen], np.float64).reshape(-1, 2, 2)
        except (IndexError, TypeError, ValueError) as error:
            raise InvalidDataset(f"a track has no pixels at frames {before} and {after}: {error}") from error
        ends = ends[np.linalg.norm(ends[:, 1] - ends[:, 0], axis=-1) >= LEAST_TRACK]
        if len(ends):
            start[: len(ends)], end[: len(ends)] = clamp(ends[:, 0]), clamp(ends[:, 1])
            break
    return Drags.of_first_view(start, end)


def read_tracks(path: Path) -> list[list[list[float]]]:
    """Tracks of view 0 in a ``sample_NNN.json`` of Objaverse.

    Raises:
        InvalidDataset: missing, no JSON, or without ``all_tracks``.
    """
    tracks = read_object(path, error=InvalidDataset).get("all_tracks")
    if not isinstance(tracks, list) or not tracks or not isinstance(tracks[0], list):
        raise InvalidDataset(f"'{path}' has no tracks; needed is all_tracks[view][track][frame] = [x, y]")
    return tracks[0]
