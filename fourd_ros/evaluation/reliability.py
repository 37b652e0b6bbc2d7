"""Whether a score between 0 and 1 is the probability of success that it claims to be."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fourd_ros.evaluation.statistics import Interval

FloatArray = NDArray[np.float64]

BINS = 10
FLAGGED = 0.5
"""Less trust than this is a warning."""


@dataclass(frozen=True, kw_only=True)
class Reliability:
    """How good scores are as probabilities of success.

    Args:
        calibration_error: expected calibration error (Naeini, Cooper and Hauskrecht 2015) over bins that hold equally
            many units: 0 is best.
        brier: mean squared difference of score and outcome (Brier 1950): 0 is best, the product of both rates is what
            knows the rate of success alone.
        area: probability that a success has the higher score than a failure (area under the ROC curve), 0.5 by chance.
        flagged: share of the failures with a score below `FLAGGED`.
        alarms: share of the successes with a score below `FLAGGED`.
        success: share of the successes.
        bins: mean score, share of successes and units of each bin, shape [B, 3].
    """

    calibration_error: Interval
    brier: Interval
    area: Interval
    flagged: Interval
    alarms: Interval
    success: Interval
    bins: FloatArray


def reliability(scores: ArrayLike, outcomes: ArrayLike, *, resamples: int = 1000, seed: int = 0) -> Reliability | None:
    """Judge scores by what came of them.

    Args:
        scores: between 0 and 1, NaN unknown, shape [N].
        outcomes: 1 success, 0 failure, NaN unknown, shape [N].
        resamples: bootstrap samples over the units.
        seed: of the draws.

    Returns:
        None where no unit has both.
    """
    pairs = _known_pairs(scores, outcomes)
    if len(pairs) == 0:
        return None
    draws = np.random.default_rng(seed).integers(len(pairs), size=(resamples, len(pairs)))

    def interval(statistic: Callable[[FloatArray], float]) -> Interval:
        samples = np.array([statistic(pairs[rows]) for rows in draws])
        known = samples[np.isfinite(samples)]
        low, high = np.percentile(known, (2.5, 97.5)) if len(known) else (np.nan, np.nan)
        return Interval(
            estimate=np.array(statistic(pairs)), low=np.array(low), high=np.array(high), count=np.array(len(pairs))
        )

    return Reliability(
        calibration_error=interval(_calibration_error),
        brier=interval(lambda rows: float(np.mean((rows[:, 0] - rows[:, 1]) ** 2))),
        area=interval(_area),
        flagged=interval(lambda rows: _share_below(rows[rows[:, 1] == 0, 0])),
        alarms=interval(lambda rows: _share_below(rows[rows[:, 1] == 1, 0])),
        success=interval(lambda rows: float(rows[:, 1].mean())),
        bins=_bins(pairs),
    )


def reliability_bins(scores: ArrayLike, outcomes: ArrayLike) -> FloatArray:
    """The reliability diagram alone: mean score, share of successes and units of each bin, shape [B, 3].

    Args as in `reliability`; there are no bins where no unit has both.
    """
    pairs = _known_pairs(scores, outcomes)
    return _bins(pairs) if len(pairs) else np.empty((0, 3))


def equal_bins(scores: FloatArray) -> list[NDArray[np.intp]]:
    """Indices of groups of neighbouring scores that are as equally large as can be, lowest first, at most `BINS`."""
    return np.array_split(np.argsort(scores, kind="stable"), max(1, min(BINS, len(scores))))


def _known_pairs(scores: ArrayLike, outcomes: ArrayLike) -> FloatArray:
    pairs = np.stack([np.asarray(scores, np.float64), np.asarray(outcomes, np.float64)], axis=1)
    return pairs[np.isfinite(pairs).all(axis=1)]


def _bins(pairs: FloatArray) -> FloatArray:
    """Mean score, mean outcome and size of the bins."""
    return np.array([[*pairs[group].mean(axis=0), len(group)] for group in equal_bins(pairs[:, 0])])


def _calibration_error(pairs: FloatArray) -> float:
    bins = _bins(pairs)
    return float(np.average(np.abs(bins[:, 0] - bins[:, 1]), weights=bins[:, 2]))


def _area(pairs: FloatArray) -> float:
    """Rank statistic of Mann and Whitney; ties count half."""
    from scipy.stats import rankdata

    good = pairs[:, 1] == 1
    successes, failures = int(good.sum()), int((~good).sum())
    if not successes or not failures:
        return float("nan")
    ranks = rankdata(pairs[:, 0])
    return float((ranks[good].sum() - successes * (successes + 1) / 2) / (successes * failures))


def _share_below(scores: FloatArray) -> float:
    return float((scores < FLAGGED).mean()) if len(scores) else float("nan")
