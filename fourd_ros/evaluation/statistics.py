"""Intervals: how far a mean or a rate over few instants can be trusted."""

from collections.abc import Callable
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike, NDArray

FloatArray = NDArray[np.float64]

DRAWS_AT_ONCE = 1_000_000
"""Bounds the memory of a bootstrap over many units."""


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

    def __getitem__(self, index: int | tuple[int, ...]) -> "Interval":
        """The interval of one entry, or of all that share its leading indices."""
        parts = (self.estimate, self.low, self.high, self.count)
        estimate, low, high, count = (np.asarray(part[index]) for part in parts)
        return Interval(estimate=estimate, low=low, high=high, count=count)


def share(part: ArrayLike, whole: ArrayLike) -> FloatArray:
    """`part` divided by `whole`, entry by entry; NaN where `whole` is nothing."""
    part, whole = np.asarray(part, dtype=np.float64), np.asarray(whole, dtype=np.float64)
    nothing = np.full(np.broadcast_shapes(part.shape, whole.shape), np.nan)
    return np.asarray(np.divide(part, whole, out=nothing, where=whole > 0))


def mean_of_known(values: FloatArray, axis: int = 0) -> FloatArray:
    """Mean along `axis` of what is finite; NaN where there is nothing else."""
    known = np.isfinite(values)
    return share(np.where(known, values, 0.0).sum(axis), known.sum(axis))


def weighted_means(weights: FloatArray, table: FloatArray) -> FloatArray:
    """Means of the known entries of each column, every row counted as often as each of the weightings says.

    Args:
        weights: W weightings of the rows, shape [W, N].
        table: NaN or infinite is unknown, shape [N, C].

    Returns:
        Shape [W, C]; NaN where no known entry has a weight.
    """
    known = np.isfinite(table)
    return share(weights @ np.where(known, table, 0.0), weights @ known)


def bootstrap_interval(
    values: ArrayLike, *, confidence: float = 0.95, resamples: int = 2000, seed: int = 0
) -> Interval:
    """Percentile bootstrap of the mean over the first axis (Efron and Tibshirani 1993, section 13.3).

    Whole rows are drawn, so the entries of one row stay together. Entries that are NaN or infinite do not count.

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
    means = _resampled_means(table.reshape(len(table), -1), resamples, seed).reshape(resamples, *table.shape[1:])
    tails = 50.0 * np.array([1.0 - confidence, 1.0 + confidence])
    low, high = _percentiles_of_known(means, tails)
    return Interval(
        estimate=mean_of_known(table),
        low=low,
        high=high,
        count=np.asarray(np.isfinite(table).sum(0), dtype=np.int64),
    )


def bootstrap_difference(
    values: ArrayLike, baseline: ArrayLike, *, confidence: float = 0.95, resamples: int = 2000, seed: int = 0
) -> Interval:
    """Paired bootstrap of the mean of ``values - baseline``: both columns of a unit are drawn together.

    A unit counts only where both of its values are known and finite.

    Args:
        values: one row for each unit, shape [N, ...].
        baseline: of the same units in the same order, broadcast against `values`.
        confidence: coverage between 0 and 1.
        resamples: number of bootstrap samples.
        seed: seed of the draws.

    Raises:
        ValueError: there are no rows, the shapes do not fit, or `confidence` is not between 0 and 1.
    """
    with np.errstate(invalid="ignore"):
        differences = np.asarray(values, dtype=np.float64) - np.asarray(baseline, dtype=np.float64)
    return bootstrap_interval(differences, confidence=confidence, resamples=resamples, seed=seed)


def bootstrap_of_means(
    values: ArrayLike,
    statistic: Callable[[FloatArray], FloatArray],
    *,
    lowest: ArrayLike = -np.inf,
    highest: ArrayLike = np.inf,
    centred: ArrayLike = True,
    confidence: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> Interval:
    """Bootstrap of functions of column means, such as ratios and correlations of them.

    Whole rows are drawn, so everything that stands in one row stays together. Drawing adds the noise of the sample once
    more, which pulls correlations to 0 and errors up: plain percentiles then miss even their own estimate. A centred
    interval moves them so that the median of the draws is the estimate. It tells how far the function would vary over
    other samples of the same size.

    Args:
        values: one row for each unit, NaN unknown, shape [N, C].
        statistic: K functions of the means of the known entries of each column, [..., C] -> [..., K]. A draw where one
            is NaN does not count for it; where it is NaN for the values themselves, so is its interval.
        lowest: value that a function cannot fall below, shape [] or [K].
        highest: value that it cannot exceed, shape [] or [K].
        centred: False for functions with few different values, whose median says little, shape [] or [K].
        confidence: coverage between 0 and 1.
        resamples: number of bootstrap samples.
        seed: of the draws.

    Returns:
        An interval of shape [K] whose count is N.

    Raises:
        ValueError: there are no rows, or `confidence` is not between 0 and 1.
    """
    table = np.asarray(values, dtype=np.float64)
    if table.ndim != 2 or len(table) == 0:
        raise ValueError(f"values of shape {list(table.shape)}; needed is [N, C] with at least one row")
    _check_confidence(confidence)
    estimate = statistic(mean_of_known(table))
    samples = statistic(_resampled_means(table, resamples, seed))
    low, middle, high = _percentiles_of_known(samples, 50.0 * np.array([1.0 - confidence, 1.0, 1.0 + confidence]))
    moved = np.where(centred, estimate - middle, 0.0)
    known = np.isfinite(estimate)
    low, high = (np.where(known, np.clip(end + moved, lowest, highest), np.nan) for end in (low, high))
    return Interval(estimate=estimate, low=low, high=high, count=np.full(estimate.shape, len(table), dtype=np.int64))


def bootstrap_median(
    values: ArrayLike,
    baseline: ArrayLike | None = None,
    *,
    confidence: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> Interval:
    """Percentile bootstrap of the median of known values, or of how far it lies above that of a baseline.

    Args:
        values: one for each unit, NaN unknown, shape [N].
        baseline: of the same units, shape [N]; a unit counts only where both are known, and both are drawn together.
        confidence: coverage between 0 and 1.
        resamples: number of bootstrap samples.
        seed: of the draws.

    Raises:
        ValueError: `confidence` is not between 0 and 1.
    """
    _check_confidence(confidence)
    columns = np.stack(np.broadcast_arrays(np.asarray(values, np.float64), 0.0 if baseline is None else baseline))
    known = columns[:, np.isfinite(columns).all(axis=0)]
    if known.shape[1] == 0:
        nothing = np.array(np.nan)
        return Interval(estimate=nothing, low=nothing, high=nothing, count=np.array(0, np.int64))
    medians = _resampled_medians(known, resamples, seed)
    low, high = np.percentile(medians[0] - medians[1], 50.0 * np.array([1.0 - confidence, 1.0 + confidence]))
    estimate, base = np.median(known, axis=1)
    return Interval(
        estimate=np.array(estimate - base), low=low, high=high, count=np.array(known.shape[1], dtype=np.int64)
    )


def wilson_interval(successes: float, trials: float, *, confidence: float = 0.95) -> Interval:
    """Score interval of a success rate (Wilson 1927, JASA 22, 209-212); ties may count as half a success.

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


def _resampled_means(table: FloatArray, resamples: int, seed: int) -> FloatArray:
    """Means of the known entries of each column over rows drawn with replacement, shape [resamples, columns].

    A resample is the vector of how often each row was drawn, so its sums are one matrix product.
    """
    rows, generator = len(table), np.random.default_rng(seed)
    means = np.empty((resamples, table.shape[1]))
    block = max(1, DRAWS_AT_ONCE // rows)
    for start in range(0, resamples, block):
        draws = generator.integers(rows, size=(min(block, resamples - start), rows))
        cells = draws + rows * np.arange(len(draws))[:, None]
        times = np.bincount(cells.ravel(), minlength=draws.size).reshape(draws.shape).astype(np.float64)
        means[start : start + len(draws)] = weighted_means(times, table)
    return means


def _resampled_medians(columns: FloatArray, resamples: int, seed: int) -> FloatArray:
    """Medians of each of the columns [C, N] over units drawn with replacement, shape [C, resamples]."""
    units, generator = columns.shape[1], np.random.default_rng(seed)
    medians = np.empty((len(columns), resamples))
    block = max(1, DRAWS_AT_ONCE // units)
    for start in range(0, resamples, block):
        draws = generator.integers(units, size=(min(block, resamples - start), units))
        medians[:, start : start + len(draws)] = np.median(columns[:, draws], axis=-1)
    return medians


def _percentiles_of_known(samples: FloatArray, percentiles: FloatArray) -> FloatArray:
    """Percentiles over the first axis; NaN for a column without any known sample."""
    unknown = ~np.isfinite(samples).any(0)
    filled = np.where(unknown, 0.0, samples)
    return np.where(unknown, np.nan, np.nanpercentile(filled, percentiles, axis=0))


def _check_confidence(confidence: float) -> None:
    if not 0 < confidence < 1:
        raise ValueError(f"confidence {confidence}; needed a value between 0 and 1")
