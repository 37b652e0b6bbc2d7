"""Many scores to one statement: intervals over instants, table rows, what was found and what was missed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

import numpy as np
from numpy.typing import NDArray

from fourd_ros.errors import InvalidInput
from fourd_ros.evaluation.futures import METRICS, FutureScore, Metric
from fourd_ros.evaluation.statistics import Interval, bootstrap_interval, mean_of_known

FloatArray = NDArray[np.float64]


RELEVANT = 0.05
"""A difference below this share of the baseline is not worth a word."""


class Verdict(Enum):
    """What the paired difference to the baseline says.

    A difference within the tolerance of the metric, or below `RELEVANT` of the baseline, is nobody's gain:
    `EQUAL` when its whole interval is that small, `UNDECIDED` when the interval contains zero or its middle is.
    """

    EQUAL = "equal"
    BETTER = "better"
    WORSE = "worse"
    UNDECIDED = "no better"
    NOTHING = "not seen"


@dataclass(frozen=True, kw_only=True)
class MetricSummary:
    """One metric over all instants.

    Args:
        metric: what it means.
        prediction: over the horizon, shape [T].
        first_frame: the baseline over the horizon, shape [T].
        prediction_overall: mean over the horizon, shape [].
        first_frame_overall: the baseline's.
        difference: prediction minus baseline, paired by instant, mean over the horizon, shape [].
    """

    metric: Metric
    prediction: Interval
    first_frame: Interval
    prediction_overall: Interval
    first_frame_overall: Interval
    difference: Interval

    @property
    def verdict(self) -> Verdict:
        """Whether the prediction beats the baseline beyond what chance over these instants explains."""
        if not np.isfinite(self.difference.estimate):
            return Verdict.NOTHING
        sign = 1.0 if self.metric.higher_is_better else -1.0
        gain = sign * float(self.difference.estimate)
        low, high = sorted((sign * float(self.difference.low), sign * float(self.difference.high)))
        margin = max(self.metric.tolerance, RELEVANT * abs(float(self.first_frame_overall.estimate)))
        if -margin <= low and high <= margin:
            return Verdict.EQUAL
        if low > 0 and gain > margin:
            return Verdict.BETTER
        return Verdict.WORSE if high < 0 and gain < -margin else Verdict.UNDECIDED


@dataclass(frozen=True, kw_only=True)
class Summary:
    """All metrics of one camera over all instants; `times` [s] is shared, shape [T]."""

    times: FloatArray
    instants: int
    metrics: Mapping[str, MetricSummary]


def summarise(
    scores: Sequence[FutureScore],
    *,
    confidence: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> Summary:
    """Summarise scores of one camera, one for each instant, by bootstrap over the instants.

    Raises:
        InvalidInput: no scores, or scores over different horizons.
    """
    if not scores:
        raise InvalidInput("nothing to summarise: no instant was judged")
    times = scores[0].times
    if any(score.times.shape != times.shape or not np.allclose(score.times, times, atol=1e-3) for score in scores):
        raise InvalidInput("the scores have different horizons; imagine every instant with one horizon and step")

    def interval(values: FloatArray) -> Interval:
        return bootstrap_interval(values, confidence=confidence, resamples=resamples, seed=seed)

    metrics = {}
    for name, metric in METRICS.items():
        prediction = _finite(np.stack([score.metrics[name].prediction for score in scores]))
        first_frame = _finite(np.stack([score.metrics[name].first_frame for score in scores]))
        metrics[name] = MetricSummary(
            metric=metric,
            prediction=interval(prediction),
            first_frame=interval(first_frame),
            prediction_overall=interval(mean_of_known(prediction, axis=1)),
            first_frame_overall=interval(mean_of_known(first_frame, axis=1)),
            difference=interval(mean_of_known(prediction - first_frame, axis=1)),
        )
    return Summary(times=times, instants=len(scores), metrics=metrics)


def _finite(values: FloatArray) -> FloatArray:
    """Infinite values (the PSNR of equal images) do not take part in a mean."""
    return np.where(np.isfinite(values), values, np.nan)
