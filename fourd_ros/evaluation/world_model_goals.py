"""What is asked of the compact world model on each test set, and whether it is reached."""

from dataclasses import dataclass

import numpy as np

from fourd_ros.evaluation.metric import Metric
from fourd_ros.evaluation.results import Aggregate
from fourd_ros.evaluation.tabletop_objects import COVERAGES, FALSE_MOTION, LEVELS, POSITION, WITHIN_25
from fourd_ros.evaluation.tabletop_pixels import PSNR_ALL, PSNR_MOVED, XYZ_MOVED, XYZ_SHARE, XYZ_STATIC
from fourd_ros.evaluation.world_model import CONTROL, RIGHT_PREFERRED

COVERED_80 = COVERAGES[LEVELS.index(0.8)]


@dataclass(frozen=True, kw_only=True)
class Goal:
    """Bounds of one metric.

    Args:
        metric: what is bounded.
        least: the value must not be less, in units of the value.
        most: the value must not be more.
        control: the value must not be worse than that of `CONTROL` beyond the tolerance of the metric.
    """

    metric: Metric
    least: float = -np.inf
    most: float = np.inf
    control: bool = False

    @property
    def text(self) -> str:
        """The bounds in the display unit."""
        if self.control:
            return f"<= {CONTROL}"
        least, most = (self.metric.show(bound, unit=True) for bound in (self.least, self.most))
        if np.isfinite(self.least) and np.isfinite(self.most):
            return f"{self.metric.show(self.least)} to {most}"
        return f">= {least}" if np.isfinite(self.least) else f"<= {most}"

    def missed_by(self, value: float) -> float:
        """How far a value, or with `control` a difference, lies outside the bounds; 0 within them."""
        most = self.metric.tolerance if self.control else self.most
        return max(0.0, self.least - value, value - most)

    def verdict(self, aggregate: Aggregate) -> str:
        """Met or missed, by how much, and whether the whole interval says so; ``-`` where nothing is known."""
        found = aggregate.difference if self.control else aggregate.mean
        if found is None or not np.isfinite(found.estimate):
            return "-"
        missed = self.missed_by(float(found.estimate))
        ends = [self.missed_by(float(end)) > 0 for end in (found.low, found.high)]
        if missed == 0:
            return "met" if not any(ends) else "met, the interval reaches beyond"
        by = f"missed by {self.metric.show(missed, unit=True)}"
        return by if all(ends) else f"{by}, the interval reaches it"

    def is_met(self, aggregate: Aggregate) -> bool:
        """Whether the estimate lies within the bounds."""
        return self.verdict(aggregate).startswith("met")


def goals_of(split: str) -> tuple[Goal, ...]:
    """What is asked for on a split of the tabletop data; nothing where depth is noisy, which is reported only."""
    if split == "noisy_depth":
        return ()
    same = split in ("test", "validation")
    calibrated = (Goal(metric=COVERED_80, least=0.75, most=0.85),) if same else ()
    return (
        Goal(metric=XYZ_MOVED, most=0.020 if same else 0.035),
        Goal(metric=XYZ_SHARE, most=0.25),
        Goal(metric=POSITION, most=0.010),
        Goal(metric=WITHIN_25, least=0.80),
        Goal(metric=PSNR_MOVED, least=16.0),
        Goal(metric=PSNR_ALL, least=24.0),
        Goal(metric=XYZ_STATIC, control=True),
        Goal(metric=RIGHT_PREFERRED, least=0.95),
        Goal(metric=FALSE_MOTION, most=0.03),
        *calibrated,
    )
