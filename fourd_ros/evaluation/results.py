"""Results: one value for each unit, method and metric, and what they say together."""

import math
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TypedDict

import numpy as np
from numpy.typing import NDArray

from fourd_ros.errors import InvalidResults, TooLarge
from fourd_ros.evaluation.metric import Metric, Verdict, judge_difference
from fourd_ros.evaluation.statistics import (
    Interval,
    bootstrap_difference,
    bootstrap_interval,
    bootstrap_median,
    wilson_interval,
)

FloatArray = NDArray[np.float64]
_Intervals = dict[tuple[int, ...], Interval]

MAX_VALUES = 20_000_000
"""Values of one table; a file that names more is refused before anything is allocated."""


class _Options(TypedDict):
    """Those of the bootstrap; see `ResultTable.aggregate`."""

    confidence: float
    resamples: int
    seed: int


@dataclass(frozen=True, kw_only=True)
class Result:
    """One value.

    Args:
        unit: what was judged, such as an episode, an instant or a frame.
        method: who was judged.
        metric: name of the metric.
        value: in the unit of the metric before its scale (SI); NaN unknown.
    """

    unit: str
    method: str
    metric: str
    value: float


@dataclass(frozen=True, kw_only=True)
class Aggregate:
    """One method and metric over all units.

    Args:
        method: who was judged.
        metric: what the values mean.
        mean: over the units with a known, finite value (the median where the metric says so), shape [].
        infinite: units with an infinite value (the PSNR of equal images), which take no part in the mean.
        difference: to the baseline, paired by unit; None for the baseline itself, or where there is none.
        verdict: what the difference says.
    """

    method: str
    metric: Metric
    mean: Interval
    infinite: int
    difference: Interval | None
    verdict: Verdict | None


@dataclass(frozen=True, kw_only=True, eq=False)
class ResultTable:
    """Values of some methods on the same units.

    Args:
        title: heading of the table.
        metrics: K metrics with distinct names.
        methods: M distinct names.
        units: U distinct names, at least one.
        values: in the units of the metrics before their scale (SI), NaN unknown, shape [U, M, K].
        baseline: the method that the others are compared with, None for no comparison.
        unit_name: what one unit is called, such as ``episode``.

    Raises:
        InvalidResults: names that are empty, missing or twice there, or values of another shape.
    """

    title: str
    metrics: tuple[Metric, ...]
    methods: tuple[str, ...]
    units: tuple[str, ...]
    values: FloatArray
    baseline: str | None = None
    unit_name: str = "unit"

    def __post_init__(self) -> None:
        for what, names in (("metrics", self.metric_names), ("methods", self.methods), ("units", self.units)):
            _check_names(f"{what} of '{self.title}'", names)
        shape = (len(self.units), len(self.methods), len(self.metrics))
        if self.values.shape != shape:
            raise InvalidResults(
                f"values of '{self.title}' have shape {list(self.values.shape)}, needed are units x methods x metrics "
                f"{list(shape)}"
            )
        if self.baseline is not None and self.baseline not in self.methods:
            raise InvalidResults(f"baseline '{self.baseline}' of '{self.title}' is none of {list(self.methods)}")

    @classmethod
    def from_results(
        cls,
        results: Iterable[Result],
        *,
        title: str,
        metrics: Iterable[Metric],
        baseline: str | None = None,
        unit_name: str = "unit",
    ) -> "ResultTable":
        """A table of results in any order; what is not given is NaN.

        Methods and units stand in the order of their first result.

        Raises:
            InvalidResults: no results, one that is given twice, or of a metric that is not in `metrics`.
            TooLarge: the full table would have more than `MAX_VALUES` values.
        """
        given = list(results)
        described = tuple(metrics)
        methods = tuple(dict.fromkeys(result.method for result in given))
        units = tuple(dict.fromkeys(result.unit for result in given))
        shape = (len(units), len(methods), len(described))
        if math.prod(shape) > MAX_VALUES:
            raise TooLarge(f"'{title}' would have {shape} values (units, methods, metrics), allowed are {MAX_VALUES}")
        unit_index, method_index = ({name: i for i, name in enumerate(names)} for names in (units, methods))
        metric_index = {metric.name: i for i, metric in enumerate(described)}
        values, seen = np.full(shape, np.nan), np.zeros(shape, dtype=bool)
        for result in given:
            if result.metric not in metric_index:
                raise InvalidResults(
                    f"'{title}' has a result of metric '{result.metric}', described are {list(metric_index)}"
                )
            place = unit_index[result.unit], method_index[result.method], metric_index[result.metric]
            if seen[place]:
                raise InvalidResults(
                    f"'{title}' has two results of '{result.metric}' of '{result.method}' on '{result.unit}'; one "
                    "unit has one value, so average first or name the units apart"
                )
            seen[place], values[place] = True, result.value
        return cls(
            title=title,
            metrics=described,
            methods=methods,
            units=units,
            values=values,
            baseline=baseline,
            unit_name=unit_name,
        )

    @property
    def metric_names(self) -> tuple[str, ...]:
        """Identifiers of the metrics, in order."""
        return tuple(metric.name for metric in self.metrics)

    def results(self) -> Iterator[Result]:
        """Every value in long form, unknown ones too: unit by unit, method by method."""
        for unit, of_unit in zip(self.units, self.values.tolist(), strict=True):
            for method, of_method in zip(self.methods, of_unit, strict=True):
                for metric, value in zip(self.metric_names, of_method, strict=True):
                    yield Result(unit=unit, method=method, metric=metric, value=value)

    def column(self, method: str, metric: str) -> FloatArray:
        """Values of one method and metric by unit, shape [U].

        Raises:
            InvalidResults: the table has no such method or metric.
        """
        for name, names in ((method, self.methods), (metric, self.metric_names)):
            if name not in names:
                raise InvalidResults(f"'{self.title}' has no '{name}'; it has {list(names)}")
        return self.values[:, self.methods.index(method), self.metric_names.index(metric)]

    def aggregate(
        self, *, confidence: float = 0.95, resamples: int = 2000, seed: int = 0
    ) -> dict[tuple[str, str], Aggregate]:
        """Averages with intervals over the units, by method and name of the metric (see `Metric.average`).

        Infinite values (the PSNR of equal images) take no part in means and differences; they are counted.

        Args:
            confidence: coverage of the intervals, between 0 and 1.
            resamples: number of bootstrap samples.
            seed: of the draws; equal tables and seeds give equal intervals.
        """
        options = _Options(confidence=confidence, resamples=resamples, seed=seed)
        means, differences = self._intervals(options)
        infinite = np.isinf(self.values).sum(axis=0)
        table = {}
        for m, method in enumerate(self.methods):
            for k, metric in enumerate(self.metrics):
                difference = differences.get((m, k))
                base = self.methods.index(self.baseline) if self.baseline is not None else m
                table[method, metric.name] = Aggregate(
                    method=method,
                    metric=metric,
                    mean=means[m, k],
                    infinite=int(infinite[m, k]),
                    difference=difference,
                    verdict=judge_difference(metric, difference, means[base, k]) if difference else None,
                )
        return table

    def _intervals(self, options: "_Options") -> tuple[_Intervals, _Intervals]:
        """Averages, and differences to the baseline where there is one, by indices of method and metric."""
        places = list(np.ndindex(self.values.shape[1:]))
        of_all = bootstrap_interval(self.values, **options)
        means = {place: of_all[place] for place in places}
        differences: _Intervals = {}
        if self.baseline is not None:
            base = self.methods.index(self.baseline)
            to_base = bootstrap_difference(self.values, self.values[:, base : base + 1], **options)
            differences = {place: to_base[place] for place in places if place[0] != base}
        for m, k in places:
            column = self.values[:, m, k]
            if self.metrics[k].average == "share":
                known = column[np.isfinite(column)]
                means[m, k] = wilson_interval(known.sum(), len(known), confidence=options["confidence"])
            elif self.metrics[k].average == "median":
                means[m, k] = bootstrap_median(column, **options)
                if (m, k) in differences:
                    differences[m, k] = bootstrap_median(column, self.values[:, base, k], **options)
        return means, differences


def _check_names(what: str, names: tuple[str, ...]) -> None:
    twice = [name for name, count in Counter(names).items() if count > 1]
    if not names or twice or not all(names):
        problem = f"{twice} twice" if twice else "an empty name" if names else "nothing"
        raise InvalidResults(f"the {what} have {problem}; needed are one or more distinct names")
