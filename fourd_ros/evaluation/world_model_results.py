"""Scores of world models on one split put together: tables with intervals, reliability of the trust."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from fourd_ros.evaluation.metric import Metric
from fourd_ros.evaluation.reliability import Reliability, reliability
from fourd_ros.evaluation.results import Aggregate, Result, ResultTable
from fourd_ros.evaluation.statistics import Interval, wilson_interval
from fourd_ros.evaluation.tabletop_cases import CASES
from fourd_ros.evaluation.tabletop_objects import (
    COVERAGES,
    FALSE_MOTION,
    FALSE_OBJECT,
    NEAR,
    NOT_FAR,
    OBJECT_METRICS,
    POINT,
    POSITION,
    WITHIN_25,
    WITHIN_50,
    ObjectScore,
)
from fourd_ros.evaluation.tabletop_pixels import PIXEL_METRICS, XYZ_MOVED, XYZ_SHARE
from fourd_ros.evaluation.world_model import CONTROL, COPY, LPIPS_ALL, RIGHT_PREFERRED, EpisodeScores, MethodScores

if TYPE_CHECKING:
    from fourd_ros.simulation.tabletop_statistics import SplitStatistics


@dataclass(frozen=True, kw_only=True, eq=False)
class SplitResults:
    """All that is known about some methods on one split.

    Args:
        split: of the tabletop data.
        scores: of every episode, in any order.
        statistics: what happens in the episodes.
    """

    split: str
    scores: Sequence[EpisodeScores]
    statistics: "SplitStatistics"

    @property
    def methods(self) -> tuple[str, ...]:
        """`COPY`, `CONTROL`, then the learned ones."""
        return tuple(self.scores[0].methods)

    @property
    def judged(self) -> str:
        """The method that the goals are about: the last one."""
        return self.methods[-1]

    @cached_property
    def pixels(self) -> ResultTable:
        """Pixels of every episode."""
        metrics = (*PIXEL_METRICS, LPIPS_ALL) if self._knows(LPIPS_ALL) else PIXEL_METRICS
        copied = np.array([score.methods[COPY].values[XYZ_MOVED.name] for score in self.scores])
        scale = float(np.nanmean(copied)) if np.isfinite(copied).any() else float("nan")

        def value(scores: MethodScores, metric: Metric) -> float:
            if metric is XYZ_SHARE:
                return scores.values[XYZ_MOVED.name] / scale
            return scores.values[metric.name]

        return self._by_episode("pixels off the robot", metrics, value, baseline=CONTROL)

    @cached_property
    def objects(self) -> ResultTable | None:
        """Where objects that moved end; None where none did."""
        results = [
            Result(unit=f"{scores.name} {item.name}", method=method, metric=metric, value=value)
            for scores in self.scores
            for method in self.methods
            for item in _moved(scores, method)
            for metric, value in _object_values(item).items()
        ]
        return self._table("objects that moved", results, OBJECT_METRICS, unit="object", baseline=CONTROL)

    @cached_property
    def behaviour(self) -> ResultTable:
        """Whether the models listen to the command, and whether they leave alone what nothing touches."""
        metrics = (RIGHT_PREFERRED, FALSE_MOTION, FALSE_OBJECT)
        return self._by_episode("cause and effect", metrics, lambda scores, metric: _known(scores, metric.name))

    @cached_property
    def calibration(self) -> ResultTable | None:
        """How many errors lie in the predicted intervals, of the methods that predict any; None without those."""
        learned = [method for method in self.methods if method not in (COPY, CONTROL)]
        results = [
            Result(
                unit=scores.name, method=method, metric=metric.name, value=_known(scores.methods[method], metric.name)
            )
            for scores in self.scores
            for method in learned
            for metric in COVERAGES
        ]
        return self._table("calibration of sigma", results, COVERAGES, unit="episode")

    def cases(self, method: str) -> ResultTable | None:
        """Where objects that moved end, by how they came to move; None where none did."""
        results = [
            Result(unit=f"{scores.name} {item.name}", method=case, metric=metric, value=value)
            for case in CASES
            for scores in self.scores
            for item in _moved(scores, method)
            if scores.cases.get(item.name) == case
            for metric, value in _object_values(item).items()
        ]
        return self._table(f"{method}, by how objects came to move", results, OBJECT_METRICS, unit="object")

    @property
    def tables(self) -> tuple[ResultTable, ...]:
        """All of them, in reading order."""
        learned = [method for method in self.methods if method not in (COPY, CONTROL)] or [CONTROL]
        cases = [self.cases(method) for method in learned]
        tables = (self.pixels, self.objects, self.behaviour, self.calibration, *cases)
        return tuple(table for table in tables if table is not None)

    @cached_property
    def figures(self) -> Mapping[tuple[str, str], Aggregate]:
        """Every figure of every method, by method and name of the metric; without those by case."""
        tables = (self.pixels, self.objects, self.behaviour, self.calibration)
        return {key: value for table in tables if table is not None for key, value in table.aggregate().items()}

    def reliability(self, method: str) -> Reliability | None:
        """How good the trust of a method is as the probability that every object ends within 25 mm of its place."""
        rows = [(s.methods[method].trust, s.methods[method].found_all) for s in self.scores]
        trust, found = np.array(rows, np.float64).T
        return reliability(trust, found)

    def warned(self, method: str) -> Interval:
        """Share of the episodes whose rollout carries a flag."""
        return wilson_interval(sum(scores.methods[method].warned for scores in self.scores), len(self.scores))

    def known_of(self, method: str) -> list[Aggregate]:
        """The figures of a method that are known."""
        items = (item for (name, _), item in self.figures.items() if name == method)
        return [item for item in items if np.isfinite(item.mean.estimate)]

    def _knows(self, metric: Metric) -> bool:
        return metric.name in self.scores[0].methods[COPY].values

    def _by_episode(
        self,
        title: str,
        metrics: tuple[Metric, ...],
        value: Callable[[MethodScores, Metric], float],
        *,
        baseline: str | None = None,
    ) -> ResultTable:
        results = (
            Result(unit=s.name, method=method, metric=metric.name, value=value(s.methods[method], metric))
            for s in self.scores
            for method in self.methods
            for metric in metrics
        )
        table = self._table(title, results, metrics, unit="episode", baseline=baseline)
        assert table is not None
        return table

    def _table(
        self,
        title: str,
        results: Iterable[Result],
        metrics: tuple[Metric, ...],
        *,
        unit: str,
        baseline: str | None = None,
    ) -> ResultTable | None:
        given = list(results)
        if not given:
            return None
        return ResultTable.from_results(
            given, title=f"{self.split}: {title}", metrics=metrics, baseline=baseline, unit_name=unit
        )


def _moved(scores: EpisodeScores, method: str) -> Iterator[ObjectScore]:
    return (item for item in scores.methods[method].objects if item.moved)


def _object_values(item: ObjectScore) -> dict[str, float]:
    return {
        POSITION.name: item.position,
        WITHIN_25.name: float(item.position <= NEAR),
        WITHIN_50.name: float(item.position <= NOT_FAR),
        POINT.name: item.point,
    }


def _known(scores: MethodScores, name: str) -> float:
    return scores.values.get(name, float("nan"))
