"""Depth of whole videos against the truth, aligned once for all frames, as DynamicVerse and MonST3R judge it."""

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from fourd_ros.errors import InvalidResults
from fourd_ros.evaluation.depth_metrics import align_depth

FloatArray = NDArray[np.float64]
Domain = Literal["disparity", "depth"]
Fit = Literal["scale-shift", "median", "scale"]

MAX_DEPTH = 70.0
"""Of pixels that count, and the end that aligned depth is taken to [m]."""

_NO_ZERO = 1e-8
_NEAREST = 1e-5
_ROUNDS = 10
_SMALLEST_SCALE = 1e-3


@dataclass(frozen=True, kw_only=True)
class VideoDepthErrors:
    """Errors over all frames of a video.

    Args:
        abs_rel: mean of |depth - truth| / truth.
        delta: share of the pixels off by less than a factor of 1.25.
        pixels: how many count.
        coverage: share of the pixels with a true depth that have a prediction; the errors do not know the others.
    """

    abs_rel: float
    delta: float
    pixels: int
    coverage: float


def video_depth_errors(
    prediction: NDArray[np.floating[Any]],
    truth: NDArray[np.floating[Any]],
    *,
    domain: Domain = "disparity",
    fit: Fit = "scale-shift",
    max_depth: float = MAX_DEPTH,
    clip: float = MAX_DEPTH,
) -> VideoDepthErrors:
    """Errors after one fit for the whole video (section 8.2 of the specification).

    Args:
        prediction: disparity (any multiple of 1 / depth, plus a constant) or depth, NaN where unknown, shape
            [F, H, W].
        truth: depth [m]; counts where it lies between 0 and `max_depth`, shape [F, H, W].
        domain: what `prediction` is; it is aligned as such, disparity with 1 / truth.
        fit: ``scale-shift`` is the line of least squares, ``median`` the ratio of the (lower) medians, ``scale`` ten
            rounds of least squares with the weights 1 / |error| of the round before.
        max_depth: furthest true depth that counts [m].
        clip: furthest aligned depth, what is further is taken there; infinite for no bound.

    Raises:
        InvalidResults: the shapes differ, no pixel counts, or the prediction does not determine the fit.
    """
    if prediction.shape != truth.shape:
        raise InvalidResults(f"a prediction of {list(prediction.shape)} for a truth of {list(truth.shape)}")
    with np.errstate(invalid="ignore"):
        judged = (truth > 0) & (truth < max_depth)
    known = judged & np.isfinite(prediction)
    given, true = prediction[known].astype(np.float64), truth[known].astype(np.float64)
    if not true.size:
        raise InvalidResults(
            f"none of {judged.sum()} pixels with a true depth has a prediction; needed is at least one"
        )
    target = 1 / (true + _NO_ZERO) if domain == "disparity" else true
    aligned = _aligned(given, target, fit)
    if not np.isfinite(aligned).all():
        raise InvalidResults(
            f"the prediction does not determine the fit '{fit}': it is constant, or zero in the middle"
        )
    depth = np.minimum(_inverted(aligned) if domain == "disparity" else aligned, clip)
    depth = np.maximum(depth, _NEAREST)
    return VideoDepthErrors(
        abs_rel=float(np.mean(np.abs(depth - true) / true)),
        delta=float(np.mean(np.maximum(depth / true, true / depth) < 1.25)),
        pixels=true.size,
        coverage=true.size / int(judged.sum()),
    )


def _aligned(given: FloatArray, target: FloatArray, fit: Fit) -> FloatArray:
    match fit:
        case "scale-shift":
            return np.asarray(align_depth(given[None], target[None], mode="scale-shift")[0])
        case "median":
            middle = _lower_median(given)
            return given * (_lower_median(target) / middle if middle > 0 else math.nan)
        case "scale":
            return given * _robust_scale(given, target)
    raise InvalidResults(f"fit '{fit}'; there are 'scale-shift', 'median', 'scale'")


def _inverted(disparity: FloatArray) -> FloatArray:
    """Depth, 0 where the disparity is not positive."""
    positive = disparity > 0
    return np.where(positive, 1 / np.where(positive, disparity, 1.0), 0.0)


def _lower_median(values: FloatArray) -> float:
    """The lower of two middle values, as torch has it."""
    middle = (values.size - 1) // 2
    return float(np.partition(values, middle)[middle])


def _robust_scale(given: FloatArray, target: FloatArray) -> float:
    """Near the scale of least absolute errors; ten rounds, never until convergence (section 14.3)."""
    mean = float(given.mean())
    if mean == 0:
        return math.nan
    scale = float(target.mean()) / mean
    for _ in range(_ROUNDS):
        weights = 1 / (np.abs(scale * given - target) + _NO_ZERO)
        scale = float((weights * given * target).sum() / (weights * given * given).sum())
    return max(scale, _SMALLEST_SCALE)
