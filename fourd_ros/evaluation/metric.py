"""What one number means, how it is shown, and what a difference of two of them says."""

from dataclasses import dataclass
from enum import Enum

import numpy as np

from fourd_ros.errors import InvalidResults
from fourd_ros.evaluation.statistics import Interval

AVERAGES = ("mean", "median", "share")


@dataclass(frozen=True, kw_only=True)
class Metric:
    """What one number means.

    Args:
        name: identifier in files and code.
        title: its name in tables and plots; the identifier where none is given.
        unit: unit of the value after multiplication with `scale`, empty for a ratio.
        scale: display units in one unit of the value (values are SI units).
        higher_is_better: direction of a better value.
        tolerance: differences below this mean nothing (for depth: the noise of a depth camera), in units of the value.
        relevant: share of the baseline below which a difference is not worth a word.
        good: a prediction that is not at least this good was not found, even if it beats its baseline, in units of
            the value; None where nobody has said what is good.
        decimals: of a shown value; None: one where there is a unit, three for a ratio.
        source: where the formula comes from.
        average: what the values of many units are told by: ``mean``, ``median``, or ``share`` for values between 0
            (no) and 1 (yes), whose interval is Wilson's and does not vanish where all are alike.
    """

    name: str
    title: str = ""
    unit: str = ""
    scale: float = 1.0
    higher_is_better: bool = False
    tolerance: float = 0.0
    relevant: float = 0.0
    good: float | None = None
    decimals: int | None = None
    source: str = ""
    average: str = "mean"

    def __post_init__(self) -> None:
        if self.average not in AVERAGES:
            raise InvalidResults(f"the average of '{self.name}' is '{self.average}', needed is one of {AVERAGES}")

    @property
    def label(self) -> str:
        """Title with the unit in brackets."""
        title = self.title or self.name
        return f"{title} [{self.unit}]" if self.unit else title

    def show(self, value: float, *, unit: bool = False, signed: bool = False) -> str:
        """A value in the display unit, `-` where it is not known."""
        if np.isnan(value):
            return "-"
        decimals = (1 if self.unit else 3) if self.decimals is None else self.decimals
        text = f"{value * self.scale:{'+' if signed else ''}z.{decimals}f}"
        return f"{text} {self.unit}".rstrip() if unit else text

    def show_interval(self, interval: Interval, *, signed: bool = False) -> str:
        """``estimate [low, high]`` in the display unit."""
        values = (float(value) for value in (interval.estimate, interval.low, interval.high))
        estimate, low, high = (self.show(value, signed=signed) for value in values)
        return f"{estimate} [{low}, {high}]"

    def is_good(self, value: float) -> bool:
        """Whether a value reaches `good`; False where nobody has said what is good."""
        if self.good is None:
            return False
        return value >= self.good if self.higher_is_better else value <= self.good


class Verdict(Enum):
    """What the paired difference to the baseline says.

    A difference within the tolerance of the metric, or below its relevant share of the baseline, is nobody's gain:
    `EQUAL` when its whole interval is that small, `UNDECIDED` when the interval contains zero or its middle is.
    """

    EQUAL = "equal"
    BETTER = "better"
    WORSE = "worse"
    UNDECIDED = "no better"
    NOTHING = "not seen"


def judge_difference(metric: Metric, difference: Interval, baseline: Interval) -> Verdict:
    """Whether a method beats its baseline beyond what chance over these units explains.

    Args:
        metric: what both values mean.
        difference: method minus baseline, paired by unit, shape [].
        baseline: value of the baseline, shape [].
    """
    if not np.isfinite(difference.estimate):
        return Verdict.NOTHING
    sign = 1.0 if metric.higher_is_better else -1.0
    gain = sign * float(difference.estimate)
    low, high = sorted((sign * float(difference.low), sign * float(difference.high)))
    margin = max(metric.tolerance, metric.relevant * abs(float(baseline.estimate)))
    if -margin <= low and high <= margin:
        return Verdict.EQUAL
    if low > 0 and gain > margin:
        return Verdict.BETTER
    return Verdict.WORSE if high < 0 and gain < -margin else Verdict.UNDECIDED
