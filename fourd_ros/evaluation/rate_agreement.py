"""How well imagined success rates of policies agree with true ones: what is read off two columns of rates."""

from collections.abc import Callable
from typing import Generic, NamedTuple, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fourd_ros.evaluation.correlation import known_pairs, pearson, spearman
from fourd_ros.evaluation.metric import Metric
from fourd_ros.evaluation.statistics import mean_of_known, share

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]
Value = TypeVar("Value")

_SIMPLER = "Li et al. 2024 (SIMPLER, arXiv 2405.05941), section III"


class RateAgreement(NamedTuple, Generic[Value]):
    """Everything that two columns of rates say; `Value` is a number, an array of them, or an interval.

    Args:
        pearson: Pearson's r over all policies.
        spearman: Spearman's rank correlation.
        middle_pearson: Pearson's r within the middle group of policies.
        mmrv: mean maximum rank violation in the convention of SIMPLER, see `mmrv`.
        mmrv_inversions: the same, counting strict inversions only, see `mmrv_inversions`.
        regret: true rate lost by picking the imagined best, see `regret`.
        top_one: share of the imagined best that are truly best.
        over_estimate: mean of imagined minus true rate.
        group_over_estimate: the same over a chosen group of policies.
    """

    pearson: Value
    spearman: Value
    middle_pearson: Value
    mmrv: Value
    mmrv_inversions: Value
    regret: Value
    top_one: Value
    over_estimate: Value
    group_over_estimate: Value


RATE_METRICS = RateAgreement(
    pearson=Metric(name="pearson", title="Pearson r", higher_is_better=True, source="Pearson 1895"),
    spearman=Metric(name="spearman", title="Spearman r", higher_is_better=True, source="Spearman 1904"),
    middle_pearson=Metric(
        name="middle_pearson", title="Pearson r, middle group", higher_is_better=True, source="Pearson 1895"
    ),
    mmrv=Metric(name="mmrv", title="MMRV (SIMPLER)", source=_SIMPLER),
    mmrv_inversions=Metric(
        name="mmrv_inversions",
        title="MMRV (strict inversions)",
        source=f"{_SIMPLER}; a tie on either side is no violation",
    ),
    regret=Metric(
        name="regret",
        title="decision regret",
        unit="pp",
        scale=100.0,
        source="best true rate - that of the imagined best",
    ),
    top_one=Metric(
        name="top_one", title="top-1 agreement", higher_is_better=True, source="share of the imagined best truly best"
    ),
    over_estimate=Metric(
        name="over_estimate", title="over-estimate", unit="pp", scale=100.0, source="mean of imagined - true rate"
    ),
    group_over_estimate=Metric(
        name="group_over_estimate",
        title="over-estimate, group",
        unit="pp",
        scale=100.0,
        source="mean of imagined - true rate over the chosen policies",
    ),
)
"""What each of them means; an over-estimate is the better the nearer it is to 0."""

LOWEST = RateAgreement(
    pearson=-1.0,
    spearman=-1.0,
    middle_pearson=-1.0,
    mmrv=0.0,
    mmrv_inversions=0.0,
    regret=0.0,
    top_one=0.0,
    over_estimate=-1.0,
    group_over_estimate=-1.0,
)
"""Value that none of them can fall below; none can exceed 1."""
CENTRED = RateAgreement(**{name: name not in ("regret", "top_one") for name in RateAgreement._fields})
"""Which of them vary so finely that their bootstrap is centred: all but what hangs on a single pick."""


def rate_agreement(
    imagined: ArrayLike, true: ArrayLike, *, middle: BoolArray, group: BoolArray
) -> RateAgreement[FloatArray]:
    """All statistics of two columns of rates, many pairs of columns at once.

    Args:
        imagined: rates, NaN unknown, shape [..., P].
        true: same shape.
        middle: policies of the middle group, shape [P].
        group: policies of `group_over_estimate`, shape [P].

    Returns:
        Arrays of shape [...]; NaN where a statistic does not exist.
    """
    imagined, true = known_pairs(imagined, true)
    above = imagined - true
    return RateAgreement(
        pearson=pearson(imagined, true),
        spearman=spearman(imagined, true),
        middle_pearson=pearson(imagined[..., middle], true[..., middle]),
        mmrv=mmrv(imagined, true),
        mmrv_inversions=mmrv_inversions(imagined, true),
        regret=regret(imagined, true),
        top_one=top_one(imagined, true),
        over_estimate=mean_of_known(above, axis=-1),
        group_over_estimate=mean_of_known(above[..., group], axis=-1),
    )


def mmrv(imagined: ArrayLike, true: ArrayLike) -> FloatArray:
    """Mean maximum rank violation as SIMPLER defines it, 0 (best) to 1.

    The mean over policies i of the maximum over policies j of ``|R_i - R_j|`` (true rates) where exactly one of
    ``imagined_i < imagined_j`` and ``R_i < R_j`` holds (Li et al. 2024, arXiv 2405.05941, section III). A pair that
    ties in imagination only is therefore a violation, charged to the truly worse policy; constant imagined rates cost
    the mean distance to the best policy.

    Args:
        imagined: rates, NaN unknown, shape [..., P].
        true: same shape; its gaps are what counts, so the order of the arguments matters.

    Returns:
        Shape [...]; NaN with fewer than two known pairs.
    """
    return _mean_maximum(imagined, true, _order_differs)


def mmrv_inversions(imagined: ArrayLike, true: ArrayLike) -> FloatArray:
    """Like `mmrv`, but a pair counts only where the two strict orders are opposite: no tie is ever a violation.

    Never above `mmrv`; blind to an imagination that tells nothing apart.
    """
    return _mean_maximum(imagined, true, _order_is_inverted)


def regret(imagined: ArrayLike, true: ArrayLike) -> FloatArray:
    """True rate of the truly best policy minus that of the policy imagined to be best, 0 (best) to 1, shape [...].

    Where several tie for the imagined best, the mean of their true rates counts: one of them is picked blindly.

    Args:
        imagined: rates, NaN unknown, shape [..., P].
        true: same shape.
    """
    imagined, true = known_pairs(imagined, true)
    picked = _is_highest(imagined)
    return _highest(true)[..., 0] - share(np.where(picked, true, 0.0).sum(-1), picked.sum(-1))


def top_one(imagined: ArrayLike, true: ArrayLike) -> FloatArray:
    """Share of the policies tied for the imagined best that are (tied for) truly best, shape [...].

    Args:
        imagined: rates, NaN unknown, shape [..., P].
        true: same shape.
    """
    imagined, true = known_pairs(imagined, true)
    picked = _is_highest(imagined)
    return share((picked & _is_highest(true)).sum(-1), picked.sum(-1))


_Differs = Callable[[FloatArray, FloatArray], BoolArray]


def _order_differs(imagined: FloatArray, true: FloatArray) -> BoolArray:
    return np.asarray((imagined < 0) != (true < 0))


def _order_is_inverted(imagined: FloatArray, true: FloatArray) -> BoolArray:
    return np.asarray(((imagined < 0) & (true > 0)) | ((imagined > 0) & (true < 0)))


def _mean_maximum(imagined: ArrayLike, true: ArrayLike, violates: _Differs) -> FloatArray:
    """Mean over i of the largest true gap to any j whose order `violates` tells from both differences, i minus j."""
    imagined, true = known_pairs(imagined, true)
    worst = np.where(np.isfinite(true), 0.0, np.nan)
    for j in range(true.shape[-1]):
        imagined_gap, true_gap = (side - side[..., j : j + 1] for side in (imagined, true))
        worst = np.maximum(worst, np.where(violates(imagined_gap, true_gap), np.abs(true_gap), 0.0))
    return np.where(np.isfinite(true).sum(-1) > 1, mean_of_known(worst, axis=-1), np.nan)


def _highest(values: FloatArray) -> FloatArray:
    """Highest known value along the last axis, which stays; NaN where nothing is known."""
    known = np.isfinite(values)
    highest = np.where(known, values, -np.inf).max(axis=-1, keepdims=True, initial=-np.inf)
    return np.where(np.isfinite(highest), highest, np.nan)


def _is_highest(values: FloatArray) -> BoolArray:
    return np.asarray(values == _highest(values))
