"""What is asked of a figure, and whether it is reached."""

from dataclasses import dataclass

import numpy as np

from fourd_ros.evaluation.metric import Metric
from fourd_ros.evaluation.results import Aggregate
from fourd_ros.evaluation.statistics import Interval

ROUNDING = 1e-9
"""A rate of 0.96 less one of 0.94 is 0.02 and a little: that is no miss of 0.02."""


@dataclass(frozen=True, kw_only=True)
class Goal:
    """Bounds of one metric.

    Args:
        metric: what is bounded.
        least: the value must not be less, in units of the value.
        most: the value must not be more.
        control: method than which the value must not be worse, beyond the tolerance of the metric; empty for none.
    """

    metric: Metric
    least: float = -np.inf
    most: float = np.inf
    control: str = ""

    @property
    def text(self) -> str:
        """The bounds in the display unit."""
        if self.control:
            return f"<= {self.control}"
        least, most = (self.metric.show(bound, unit=True) for bound in (self.least, self.most))
        if np.isfinite(self.least) and np.isfinite(self.most):
            return f"{self.metric.show(self.least)} to {most}"
        return f">= {least}" if np.isfinite(self.least) else f"<= {most}"

    def missed_by(self, value: float) -> float:
        """How far a value, or with `control` a difference, lies outside the bounds; 0 within them, up to rounding."""
        most = self.metric.tolerance if self.control else self.most
        outside = max(self.least - value, value - most)
        return float(outside) if outside > ROUNDING else 0.0

    def verdict_on(self, found: Interval | None) -> str:
        """Met or missed, by how much, and whether the whole interval says so; ``-`` where nothing is known.

        Args:
            found: the value, or with `control` its difference to the control, shape [].
        """
        if found is None or not np.isfinite(found.estimate):
            return "-"
        missed = self.missed_by(float(found.estimate))
        ends = [self.missed_by(float(end)) > 0 for end in (found.low, found.high)]
        if missed == 0:
            return "met" if not any(ends) else "met, the interval reaches beyond"
        by = f"missed by {self.metric.show(missed, unit=True)}"
        return by if all(ends) else f"{by}, the interval reaches it"

    def verdict(self, aggregate: Aggregate) -> str:
        """What `verdict_on` says of the mean of a method, or with `control` of its difference."""
        return self.verdict_on(aggregate.difference if self.control else aggregate.mean)

    def is_met(self, aggregate: Aggregate) -> bool:
        """Whether the estimate lies within the bounds."""
        return self.verdict(aggregate).startswith("met")
