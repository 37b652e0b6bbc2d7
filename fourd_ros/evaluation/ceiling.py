"""What agreement could be reached at best: the truth against itself on other start states."""

import numpy as np
from numpy.typing import NDArray

from fourd_ros.evaluation.rate_agreement import RateAgreement, rate_agreement
from fourd_ros.evaluation.statistics import Interval, weighted_means

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]


def ceiling(
    true: FloatArray,
    *,
    middle: BoolArray,
    group: BoolArray,
    confidence: float = 0.95,
    splits: int = 1000,
    seed: int = 0,
) -> RateAgreement[Interval]:
    """Agreement of true rates with true rates on disjoint halves of the start states, over random splits.

    One half takes the place of the imagination, so this is what a perfect but independent evaluation of S // 2 starts
    reaches against a truth of S // 2 starts. No correction to S starts is made (Spearman-Brown holds for correlations
    only). An imagination of the very starts of the truth may do better, since it shares their difficulty.

    Args:
        true: outcomes between 0 and 1, NaN unknown, shape [P, S].
        middle: policies of the middle group, shape [P].
        group: policies of `group_over_estimate`, shape [P].
        confidence: share of the splits between both ends.
        splits: random splits.
        seed: of the splits.

    Returns:
        Median and range over the splits where the statistic exists, which `count` counts.

    Raises:
        ValueError: `confidence` is not between 0 and 1.
    """
    if not 0 < confidence < 1:
        raise ValueError(f"confidence {confidence}; needed a value between 0 and 1")
    starts = true.shape[1]
    order = np.random.default_rng(seed).permuted(np.tile(np.arange(starts), (splits, 1)), axis=1)
    half = starts // 2
    first, second = ((order // max(half, 1) == side).astype(np.float64) for side in (0, 1))
    rates = (weighted_means(weights, true.T) for weights in (first, second))
    agreement = rate_agreement(*rates, middle=middle, group=group)
    return RateAgreement(*(_spread(values, confidence) for values in agreement))


def _spread(values: FloatArray, confidence: float) -> Interval:
    known = values[np.isfinite(values)]
    tails = 50.0 * np.array([1.0, 1.0 - confidence, 1.0 + confidence])
    estimate, low, high = np.percentile(known, tails) if len(known) else np.full(3, np.nan)
    return Interval(
        estimate=np.array(estimate), low=np.array(low), high=np.array(high), count=np.array(len(known), np.int64)
    )
