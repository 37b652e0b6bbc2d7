"""Imagined motions of things beside those of the simulated objects: where they end, false motion, calibration."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from fourd_ros.evaluation.metric import Metric
from fourd_ros.evaluation.tabletop_truth import Truth, moved_by
from fourd_ros.records import Mask, ObjectMotion

FloatArray = NDArray[np.float64]

NEAR, NOT_FAR = 0.025, 0.05
"""An object is found when it ends within so many metres of its true place; the second is reported."""

STIRRED = 0.01
"""Predicted or true ways above this are motion [m]."""

LEVELS = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95)
"""Of the predicted intervals whose coverage is counted."""

POSITION = Metric(
    name="position",
    title="final object position, median",
    unit="mm",
    scale=1000.0,
    average="median",
    source="of every object that moved more than 20 mm: middle difference (of each coordinate) between the predicted "
    "and the true way of the points that the first frame shows of it; median over objects",
)
WITHIN_25, WITHIN_50 = (
    Metric(
        name=f"within_{round(1000 * bound)}",
        title=f"final object position within {round(1000 * bound)} mm",
        unit="%",
        scale=100.0,
        higher_is_better=True,
        average="share",
        source="share of the objects that moved more than 20 mm",
    )
    for bound in (NEAR, NOT_FAR)
)
POINT = Metric(
    name="point",
    title="final place of object points",
    unit="mm",
    scale=1000.0,
    source="mean distance between the predicted and the true place of each point, rotation included; mean over objects",
)
OBJECT_METRICS = (POSITION, WITHIN_25, WITHIN_50, POINT)

FALSE_MOTION = Metric(
    name="false_motion",
    title="something moves though nothing is touched",
    unit="%",
    scale=100.0,
    average="share",
    source=f"share of the episodes without any true motion in which a thing is predicted to move more than "
    f"{1000 * STIRRED:g} mm at any time",
)
FALSE_OBJECT = Metric(
    name="false_object",
    title="an untouched object moves",
    unit="%",
    scale=100.0,
    source=f"share of the untouched objects of an episode, whatever else happens in it, that are predicted to move "
    f"more than {1000 * STIRRED:g} mm at any time; mean over episodes",
)
COVERAGES = tuple(
    Metric(
        name=f"covered_{round(100 * level)}",
        title=f"errors in the {100 * level:g} % interval",
        unit="%",
        scale=100.0,
        higher_is_better=True,
        source="of the coordinates of points that move more than 10 mm in truth or prediction, at all times of an "
        "episode; the interval is that of a normal distribution with the deviation that was said; best at that share",
    )
    for level in LEVELS
)


@dataclass(frozen=True, kw_only=True)
class ObjectScore:
    """One object of an episode.

    Args:
        name: in the episode.
        moved: it is elsewhere at the end.
        untouched: it never moved at all.
        position: distance between predicted and true final place, as most of its points have it [m].
        point: mean distance of its points [m].
        predicted: greatest mean predicted way of its points at any time [m].
    """

    name: str
    moved: bool
    untouched: bool
    position: float
    point: float
    predicted: float


def object_scores(objects: Sequence[ObjectMotion], truth: Truth) -> tuple[ObjectScore, ...]:
    """Every object that the first frame shows.

    Args:
        objects: what a rollout says of the things it found; what is in none of them stays.
        truth: what happened.
    """
    return tuple(_object_score(objects, truth, index) for index in truth.judged)


def _object_score(objects: Sequence[ObjectMotion], truth: Truth, index: int) -> ObjectScore:
    pixels = truth.pixels(index)
    predicted, true = predicted_way(objects, truth, pixels), truth.way(pixels)
    error = predicted[-1] - true[-1]
    return ObjectScore(
        name=truth.episode.object_names[index],
        moved=bool(truth.moved[index]),
        untouched=bool(truth.untouched[index]),
        position=float(np.linalg.norm(np.median(error, axis=0))),
        point=float(np.linalg.norm(error, axis=-1).mean()),
        predicted=float(np.linalg.norm(predicted, axis=-1).mean(axis=-1).max()),
    )


def predicted_way(objects: Sequence[ObjectMotion], truth: Truth, pixels: Mask) -> FloatArray:
    """Where a rollout puts the points of the first frame later, less where they were [m], shape [T, n, 3]."""
    start = truth.world_points(pixels)
    steps = len(truth.motion) - 1
    motions = np.stack([item.motion for item in objects], axis=1) if objects else np.zeros((steps, 0, 4, 4))
    return (
        moved_by(motions, owners(objects, truth.view_name)[pixels] if objects else np.full(len(start), -1), start)
        - start
    )


def owners(objects: Sequence[ObjectMotion], view: str) -> NDArray[np.intp]:
    """Which of the things each observed pixel belongs to, -1 for none, the first where there are several, [H, W]."""
    first = objects[0].pixels[view]
    owner = np.full(first.shape, -1, np.intp)
    for index in reversed(range(len(objects))):
        owner[objects[index].pixels[view]] = index
    return owner


def found_all(scores: Sequence[ObjectScore]) -> float:
    """1 where every object ends within `NEAR` of its true place, moved or not, else 0; NaN without objects."""
    return float(all(score.position <= NEAR for score in scores)) if scores else float("nan")


def false_motion(objects: Sequence[ObjectMotion], truth: Truth, scores: Sequence[ObjectScore]) -> dict[str, float]:
    """Metrics of motion that is imagined where there is none, NaN where the episode does not tell."""
    untouched = [score.predicted > STIRRED for score in scores if score.untouched]
    return {
        FALSE_MOTION.name: float(_anything_moves(objects, truth)) if truth.untouched.all() else float("nan"),
        FALSE_OBJECT.name: float(np.mean(untouched)) if untouched else float("nan"),
    }


def _anything_moves(objects: Sequence[ObjectMotion], truth: Truth) -> bool:
    ways = (predicted_way(objects, truth, item.pixels[truth.view_name]) for item in objects)
    return any(bool((np.linalg.norm(way, axis=-1).mean(axis=-1) > STIRRED).any()) for way in ways if way.size)


def coverage(objects: Sequence[ObjectMotion], truth: Truth) -> dict[str, float]:
    """Share of the errors in the predicted intervals of `LEVELS`, NaN where nothing moves."""
    found = deviations(objects, truth)
    return {
        metric.name: float((found < NormalDist().inv_cdf((1 + level) / 2)).mean()) if len(found) else np.nan
        for metric, level in zip(COVERAGES, LEVELS, strict=True)
    }


def deviations(objects: Sequence[ObjectMotion], truth: Truth) -> FloatArray:
    """Errors of the points that move, in truth or prediction, in the standard deviations that were predicted.

    Infinite where no deviation was predicted: where a point moves in truth and belongs to no thing.

    Returns:
        Of M points at some time each, every coordinate, shape [M, 3].
    """
    pixels = np.isin(truth.labels[0], [index + 1 for index in truth.judged])
    owner = owners(objects, truth.view_name) if objects else np.full(pixels.shape, -1, np.intp)
    pixels = (pixels | (owner >= 0)) & ~truth.robot[0] & np.isfinite(truth.points[0, ..., 2])
    predicted, true = predicted_way(objects, truth, pixels), truth.way(pixels)
    moving = np.maximum(np.linalg.norm(predicted, axis=-1), np.linalg.norm(true, axis=-1)) > STIRRED
    sigma = np.zeros(moving.shape)
    for index, item in enumerate(objects):
        sigma[:, owner[pixels] == index] = item.sigma[:, None]
    error, width = np.abs(predicted - true)[moving], sigma[moving][:, None]
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.where(width > 0, error / width, np.inf))
