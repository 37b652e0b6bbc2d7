"""Many scores to one statement: intervals over instants, table rows, what was found and what was missed."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from fourd_ros.errors import InvalidInput
from fourd_ros.evaluation.futures import METRICS, FutureScore
from fourd_ros.evaluation.metric import Metric, Verdict, judge_difference
from fourd_ros.evaluation.results import ResultTable
from fourd_ros.evaluation.statistics import Interval, bootstrap_interval, mean_of_known

FloatArray = NDArray[np.float64]


IMAGINED, FIRST_FRAME = "imagined", "first frame repeated"
"""The two methods that are compared."""


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
        return judge_difference(self.metric, self.difference, self.first_frame_overall)


@dataclass(frozen=True, kw_only=True)
class Summary:
    """All metrics of one camera over all instants.

    Args:
        times: horizon [s], shape [T].
        metrics: by the keys of `METRICS`.
        results: of every instant, averaged over those times at which prediction and baseline are both known.
    """

    times: FloatArray
    metrics: Mapping[str, MetricSummary]
    results: ResultTable

    @property
    def instants(self) -> int:
        """How many were judged."""
        return len(self.results.units)


def summarise(
    scores: Mapping[str, FutureScore],
    *,
    title: str = "imagined futures",
    confidence: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> Summary:
    """Summarise scores of one camera by bootstrap over the instants.

    Args:
        scores: by the name of the instant.
        title: of the table of results.
        confidence: coverage of the intervals, between 0 and 1.
        resamples: number of bootstrap samples.
        seed: of the draws.

    Raises:
        InvalidInput: no scores, or scores over different horizons.
    """
    if not scores:
        raise InvalidInput("nothing to summarise: no instant was judged")
    times = next(iter(scores.values())).times
    if any(s.times.shape != times.shape or not np.allclose(s.times, times, atol=1e-3) for s in scores.values()):
        raise InvalidInput("the scores have different horizons; imagine every instant with one horizon and step")
    comparisons = {name: [score.metrics[name] for score in scores.values()] for name in METRICS}
    pairs = {name: np.stack([[c.prediction, c.first_frame] for c in many]) for name, many in comparisons.items()}
    results = ResultTable(
        title=title,
        metrics=tuple(METRICS.values()),
        methods=(IMAGINED, FIRST_FRAME),
        units=tuple(scores),
        values=np.stack([_over_the_horizon(pair) for pair in pairs.values()], axis=-1),
        baseline=FIRST_FRAME,
        unit_name="instant",
    )
    overall = results.aggregate(confidence=confidence, resamples=resamples, seed=seed)
    metrics = {}
    for name, metric in METRICS.items():
        steps = bootstrap_interval(pairs[name], confidence=confidence, resamples=resamples, seed=seed)
        difference = overall[IMAGINED, name].difference
        assert difference is not None
        metrics[name] = MetricSummary(
            metric=metric,
            prediction=steps[0],
            first_frame=steps[1],
            prediction_overall=overall[IMAGINED, name].mean,
            first_frame_overall=overall[FIRST_FRAME, name].mean,
            difference=difference,
        )
    return Summary(times=times, metrics=metrics, results=results)


def side_by_side(summaries: Mapping[str, Summary], *, title: str) -> ResultTable:
    """The results of several models about the same instants in one table.

    Args:
        summaries: by model; the baseline's values are those beside the last one.
        title: of the table.

    Raises:
        InvalidInput: they are about different instants.
    """
    last: ResultTable = list(summaries.values())[-1].results
    if any(summary.results.units != last.units for summary in summaries.values()):
        raise InvalidInput("the models were judged at different instants; ask all of them about the same ones")
    columns = [summary.results.values[:, 0] for summary in summaries.values()]
    return replace(
        last, title=title, methods=(*summaries, FIRST_FRAME), values=np.stack([*columns, last.values[:, 1]], axis=1)
    )


def _over_the_horizon(pairs: FloatArray) -> FloatArray:
    """Means over the times at which both columns are finite, shape [instants, 2], from [instants, 2, T]."""
    both = np.isfinite(pairs).all(axis=1, keepdims=True)
    return mean_of_known(np.where(both, pairs, np.nan), axis=2)
