"""Intervals: how far a mean or a rate over few instants can be trusted."""

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike, NDArray

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Interval:
    """An estimate with its confidence interval, one or many at once.

    Args:
        estimate: the value itself, shape [...]; NaN where nothing was known.
        low: lower end, same shape.
        high: upper end, same shape.
        count: known values behind each estimate, same shape.
    """

    estimate: FloatArray
    low: FloatArray
    high: FloatArray
    count: NDArray[np.int64]


def mean_of_known(values: FloatArray, axis: int = 0) -> FloatArray:
    """Mean along `axis` without the NaNs; NaN where there is nothing else."""
    known = np.isfinite(values)
    count = known.sum(axis)
    total = np.where(known, values, 0.0).sum(axis)
    return np.asarray(np.divide(total, count, out=np.full(np.shape(total), np.nan), where=count > 0))


def bootstrap_interval(
    values: ArrayLike, *, confidence: float = 0.95, resamples: int = 2000, seed: int = 0
) -> Interval:
    """Percentile bootstrap of the mean over the first axis (Efron and Tibshirani 1993, section 13.3).

    Whole rows are drawn, so the entries of one row stay together. NaN entries do not count.

    Args:
        values: one row for each unit, shape [N, ...].
        confidence: coverage between 0 and 1.
        resamples: number of bootstrap samples.
        seed: seed of the draws; equal input and seed give equal intervals.

    Returns:
        An interval of shape [...].

    Raises:
        ValueError: there are no rows, or `confidence` is not between 0 and 1.
    """
    table = np.asarray(values, dtype=np.float64)
    if table.ndim == 0 or len(table) == 0:
        raise ValueError("a bootstrap needs at least one row")
    _check_confidence(confidence)
    draws = np.random.default_rng(seed).integers(len(table), size=(resamples, len(table)))
    means = mean_of_known(table[draws], axis=1)
    tails = 50.0 * np.array([1.0 - confidence, 1.0 + confidence])
    low, high = _percentiles_of_known(means, tails)
    return Interval(
        estimate=mean_of_known(table),
        low=low,
        high=high,
        count=np.asarray(np.isfinite(table).sum(0), dtype=np.int64),
    )


def wilson_interval(successes: int, trials: int, *, confidence: float = 0.95) -> Interval:
    """Score interval of a success rate (Wilson 1927, JASA 22, 209-212).

    Raises:
        ValueError: `successes` is not between 0 and `trials`, or `confidence` not between 0 and 1.
    """
    if not 0 <= successes <= trials:
        raise ValueError(f"{successes} successes of {trials} trials; needed 0 <= successes <= trials")
    _check_confidence(confidence)
    if trials == 0:
        return Interval(
            estimate=np.array(np.nan),
            low=np.array(0.0),
            high=np.array(1.0),
            count=np.array(0, dtype=np.int64),
        )
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    rate, shrink = successes / trials, 1.0 + z**2 / trials
    centre = (rate + z**2 / (2 * trials)) / shrink
    half = z / shrink * np.sqrt(rate * (1 - rate) / trials + z**2 / (4 * trials**2))
    return Interval(
        estimate=np.array(rate),
        low=np.array(max(0.0, centre - half)),
        high=np.array(min(1.0, centre + half)),
        count=np.array(trials, dtype=np.int64),
    )


def _percentiles_of_known(samples: FloatArray, percentiles: FloatArray) -> FloatArray:
    """Percentiles over the first axis; NaN for a column without any known sample."""
    unknown = ~np.isfinite(samples).any(0)
    filled = np.where(unknown, 0.0, samples)
    return np.where(unknown, np.nan, np.nanpercentile(filled, percentiles, axis=0))


def _check_confidence(confidence: float) -> None:
    if not 0 < confidence < 1:
        raise ValueError(f"confidence {confidence}; needed a value between 0 and 1")
