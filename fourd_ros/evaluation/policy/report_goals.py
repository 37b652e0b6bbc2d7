"""What is asked of an imagination in which policies are evaluated, and whether a task reaches it."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from fourd_ros.evaluation.agreement import Agreement
from fourd_ros.evaluation.episode_agreement import EPISODE_METRICS
from fourd_ros.evaluation.goal import Goal
from fourd_ros.evaluation.metric import Metric
from fourd_ros.evaluation.rate_agreement import RATE_METRICS
from fourd_ros.evaluation.statistics import Interval

PEARSON_LOW = Metric(
    name="pearson_low",
    title="Pearson r, lower end of its interval",
    higher_is_better=True,
    source="the lower of Fisher's and that of the bootstrap over start states",
)
SLOPPY = Metric(
    name="group_over_estimate",
    title="over-estimate of sloppy policies",
    unit="pp",
    scale=100.0,
    source="mean of imagined - true rate over the policies named sloppy",
)
GOALS = (
    Goal(metric=RATE_METRICS.pearson, least=0.97),
    Goal(metric=PEARSON_LOW, least=0.90),
    Goal(metric=RATE_METRICS.middle_pearson, least=0.90),
    Goal(metric=RATE_METRICS.mmrv, most=0.03),
    Goal(metric=RATE_METRICS.regret, most=0.02),
    Goal(metric=EPISODE_METRICS.agreement, least=0.92),
    Goal(metric=SLOPPY, most=0.05),
)


@dataclass(frozen=True, kw_only=True)
class GoalFinding:
    """A goal and what was found.

    Args:
        goal: what is asked.
        found: what there is; unknown is NaN.
    """

    goal: Goal
    found: Interval

    @property
    def verdict(self) -> str:
        """See `Goal.verdict_on`."""
        return self.goal.verdict_on(self.found)

    @property
    def is_met(self) -> bool | None:
        """None where nothing is known."""
        return None if self.verdict == "-" else self.verdict.startswith("met")


def judge_goals(agreement: Agreement) -> tuple[GoalFinding, ...]:
    """All goals, in the order of `GOALS`."""
    found = dict(_figures(agreement))
    return tuple(GoalFinding(goal=goal, found=found[goal.metric.name]) for goal in GOALS)


def _figures(agreement: Agreement) -> Iterator[tuple[str, Interval]]:
    yield from agreement.rates._asdict().items()
    yield from agreement.episodes._asdict().items()
    ends = [float(interval.low) for interval in (agreement.rates.pearson, agreement.fisher)]
    low = np.array(min(ends) if np.isfinite(ends).all() else np.nan)
    yield PEARSON_LOW.name, Interval(estimate=low, low=low, high=low, count=agreement.fisher.count)
