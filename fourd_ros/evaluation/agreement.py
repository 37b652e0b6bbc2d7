"""Imagined against true outcomes of policies on the same start states: one task, all statistics, all intervals."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypedDict

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fourd_ros.errors import InvalidResults
from fourd_ros.evaluation.ceiling import ceiling
from fourd_ros.evaluation.correlation import fisher_interval, leave_one_out, permutation_p
from fourd_ros.evaluation.detectable import detectable_paired, detectable_unpaired
from fourd_ros.evaluation.episode_agreement import (
    EpisodeAgreement,
    calibration_error,
    calibration_sums,
    episode_agreement,
    episode_sums,
    wilson_agreement,
)
from fourd_ros.evaluation.rate_agreement import CENTRED, LOWEST, RateAgreement, rate_agreement
from fourd_ros.evaluation.results_file import interval_as_json, number_as_json
from fourd_ros.evaluation.statistics import Interval, bootstrap_of_means, mean_of_known, wilson_interval

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

MIDDLE = (0.10, 0.95)
"""True success of the policies of the middle group: those that neither always fail nor always succeed."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Agreement:
    """How far imagined outcomes of P policies on S starts can be trusted in place of true ones.

    Every interval that is not named otherwise is a bootstrap over start states (`bootstrap_of_means`): a draw takes the
    same starts for all policies and for both sides. It tells how far the statistic would vary over other start states,
    as many as these, for these policies. It is NaN where the statistic does not exist.

    Args:
        imagined_rates: success rate of each policy over its known outcomes, Wilson's interval, shape [P].
        true_rates: the same of the truth, shape [P].
        starts: S.
        imagined_unknown: share of the units without an imagined outcome (invalid, or abstained).
        true_unknown: share of the units without a true outcome.
        middle: policies of the middle group, chosen by their true rate, shape [P].
        group: policies of `rates.group_over_estimate`, shape [P].
        rates: what the two columns of rates say.
        fisher: Pearson's r with Fisher's interval.
        leave_one_out: Pearson's r with its lowest and highest value if one policy is left out.
        permutation_p: see `correlation.permutation_p`.
        episodes: what single outcomes say.
        episodes_wilson: the same with Wilson's interval, as if all episodes were independent.
        calibration_error: of the imagined probabilities of success over bins that hold equally many units; NaN where
            no probabilities were given.
        ceiling: truth against truth on disjoint halves of the starts: median and range over random splits.
        detectable_unpaired: smallest difference of two rates that so many different starts show with a power of 80 %.
        detectable_paired: the same for two policies on the same starts, as discordant as two policies are on average.
    """

    imagined_rates: Interval
    true_rates: Interval
    starts: int
    imagined_unknown: float
    true_unknown: float
    middle: BoolArray
    group: BoolArray
    rates: RateAgreement[Interval]
    fisher: Interval
    leave_one_out: Interval
    permutation_p: float
    episodes: EpisodeAgreement[Interval]
    episodes_wilson: EpisodeAgreement[Interval]
    calibration_error: Interval
    ceiling: RateAgreement[Interval]
    detectable_unpaired: float
    detectable_paired: float

    def as_dict(self) -> dict[str, Any]:
        """For JSON; null is unknown."""
        return {
            "starts": self.starts,
            "imagined_unknown": self.imagined_unknown,
            "true_unknown": self.true_unknown,
            "imagined_rates": [interval_as_json(self.imagined_rates[p]) for p in range(len(self.middle))],
            "true_rates": [interval_as_json(self.true_rates[p]) for p in range(len(self.middle))],
            "middle": self.middle.tolist(),
            "group": self.group.tolist(),
            "rates": _as_json(self.rates._asdict()),
            "pearson_fisher": interval_as_json(self.fisher),
            "pearson_leave_one_out": interval_as_json(self.leave_one_out),
            "pearson_permutation_p": number_as_json(self.permutation_p),
            "episodes": _as_json(self.episodes._asdict()),
            "episodes_wilson": _as_json(self.episodes_wilson._asdict()),
            "calibration_error": interval_as_json(self.calibration_error),
            "ceiling": {"starts": self.starts // 2, **_as_json(self.ceiling._asdict())},
            "detectable_unpaired": number_as_json(self.detectable_unpaired),
            "detectable_paired": number_as_json(self.detectable_paired),
        }


class _Options(TypedDict):
    confidence: float
    seed: int


def judge_agreement(
    imagined: ArrayLike,
    true: ArrayLike,
    *,
    probabilities: ArrayLike | None = None,
    group: ArrayLike | None = None,
    middle: tuple[float, float] = MIDDLE,
    confidence: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> Agreement:
    """Compare imagined with true outcomes of one task.

    A rate is the mean of what is known on its own side: a model that abstains where a policy would fail is charged
    with the over-estimate that its reader would get. Single outcomes are compared where both are known.

    Args:
        imagined: success of each policy from each start state, between 0 and 1, NaN invalid or abstained, shape [P, S].
        true: the same of the truth, on the same start states.
        probabilities: imagined probabilities of success, NaN unknown, shape [P, S]; None: there are none.
        group: policies whose over-estimate is also told on its own (say the sloppy ones), shape [P]; None: all.
        middle: lowest and highest true rate of the middle group, both included.
        confidence: coverage of all intervals, between 0 and 1.
        resamples: bootstrap samples, random splits of the ceiling, and permutations.
        seed: of all draws; equal tables and seeds give equal results.

    Raises:
        InvalidResults: tables that are empty, of different shapes, or hold values outside 0 to 1.
        ValueError: `confidence` is not between 0 and 1.
    """
    imagined, true, claimed = _checked(imagined, true, probabilities)
    policies, starts = true.shape
    rates = mean_of_known(imagined, axis=1), mean_of_known(true, axis=1)
    in_middle = np.asarray((rates[1] >= middle[0]) & (rates[1] <= middle[1]))
    in_group = np.ones(policies, dtype=bool) if group is None else _mask(group, policies)
    options = _Options(confidence=confidence, seed=seed)
    of_rates, of_episodes, of_calibration = _over_starts(
        imagined, true, claimed, middle=in_middle, group=in_group, resamples=resamples, options=options
    )
    r = float(of_rates.pearson.estimate)
    return Agreement(
        imagined_rates=_wilson_by_policy(imagined, confidence),
        true_rates=_wilson_by_policy(true, confidence),
        starts=starts,
        imagined_unknown=float(np.isnan(imagined).mean()),
        true_unknown=float(np.isnan(true).mean()),
        middle=in_middle,
        group=in_group,
        rates=of_rates,
        fisher=fisher_interval(r, int(np.isfinite(rates[0] - rates[1]).sum()), confidence=confidence),
        leave_one_out=_range(r, leave_one_out(*rates)),
        permutation_p=permutation_p(*rates, permutations=resamples, seed=seed),
        episodes=of_episodes,
        episodes_wilson=wilson_agreement(episode_sums(imagined, true).sum(axis=0), confidence=confidence),
        calibration_error=of_calibration,
        ceiling=ceiling(true, middle=in_middle, group=in_group, splits=resamples, **options),
        detectable_unpaired=detectable_unpaired(starts, confidence=confidence),
        detectable_paired=detectable_paired(starts, discordance=mean_discordance(true), confidence=confidence),
    )


def _over_starts(
    imagined: FloatArray,
    true: FloatArray,
    claimed: FloatArray,
    *,
    middle: BoolArray,
    group: BoolArray,
    resamples: int,
    options: _Options,
) -> tuple[RateAgreement[Interval], EpisodeAgreement[Interval], Interval]:
    """Bootstrap of rates, single outcomes and calibration error, all from the same draws of start states."""
    columns = [imagined.T, true.T, episode_sums(imagined, true), calibration_sums(claimed, true)]
    ends = np.cumsum([part.shape[1] for part in columns[:-1]])

    def statistics(means: FloatArray) -> FloatArray:
        of_imagined, of_true, of_episodes, of_calibration = np.split(means, ends, axis=-1)
        of_rates = rate_agreement(of_imagined, of_true, middle=middle, group=group)
        return np.stack([*of_rates, *episode_agreement(of_episodes), calibration_error(of_calibration)], axis=-1)

    of_all = bootstrap_of_means(
        np.concatenate(columns, axis=1),
        statistics,
        lowest=[*LOWEST, *np.zeros(len(EpisodeAgreement._fields) + 1)],
        highest=1.0,
        centred=[*CENTRED, *np.ones(len(EpisodeAgreement._fields) + 1, dtype=bool)],
        resamples=resamples,
        **options,
    )
    *intervals, of_calibration = (of_all[k] for k in range(len(of_all.estimate)))
    rates, episodes = intervals[: len(RateAgreement._fields)], intervals[len(RateAgreement._fields) :]
    return RateAgreement(*rates), EpisodeAgreement(*episodes), of_calibration


def mean_discordance(outcomes: FloatArray) -> float:
    """Mean squared difference of two policies at one start, over all pairs: how often just one of both succeeds.

    Args:
        outcomes: between 0 and 1, NaN unknown, shape [P, S].

    Returns:
        Between 0 and 1, NaN where no start has known outcomes of two policies.
    """
    squares = [(outcomes[p + 1 :] - outcomes[p]) ** 2 for p in range(len(outcomes) - 1)]
    return float(mean_of_known(np.concatenate([part.ravel() for part in squares] or [np.empty(0)])))


def _checked(
    imagined: ArrayLike, true: ArrayLike, probabilities: ArrayLike | None
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """The tables as arrays; unknown where there are no probabilities."""
    first = np.asarray(imagined, dtype=np.float64)
    claimed = np.full(first.shape, np.nan) if probabilities is None else np.asarray(probabilities, dtype=np.float64)
    tables = first, np.asarray(true, dtype=np.float64), claimed
    shapes = [list(table.shape) for table in tables]
    if first.ndim != 2 or first.size == 0 or shapes.count(shapes[0]) != len(shapes):
        raise InvalidResults(
            f"imagined, true and probabilities have shapes {shapes}; needed is one [policies, starts], not empty"
        )
    for name, table in zip(("imagined", "true", "probabilities"), tables, strict=True):
        wrong = table[(table < 0) | (table > 1)]
        if wrong.size:
            raise InvalidResults(f"'{name}' holds {wrong[0]}; needed are values between 0 and 1, NaN where unknown")
    return tables


def _mask(group: ArrayLike, policies: int) -> BoolArray:
    mask = np.asarray(group, dtype=bool)
    if mask.shape != (policies,):
        raise InvalidResults(
            f"'group' has shape {list(mask.shape)}; needed is one flag for each of {policies} policies"
        )
    return mask


def _wilson_by_policy(outcomes: FloatArray, confidence: float) -> Interval:
    known = np.isfinite(outcomes).sum(axis=1)
    successes = np.nansum(outcomes, axis=1)
    each = [wilson_interval(float(s), int(n), confidence=confidence) for s, n in zip(successes, known, strict=True)]
    return Interval(
        estimate=np.array([interval.estimate for interval in each]),
        low=np.array([interval.low for interval in each]),
        high=np.array([interval.high for interval in each]),
        count=known.astype(np.int64),
    )


def _range(estimate: float, values: FloatArray) -> Interval:
    """An estimate between the lowest and the highest of some values, NaN where one of them is."""
    return Interval(
        estimate=np.array(estimate), low=values.min(), high=values.max(), count=np.array(len(values), np.int64)
    )


def _as_json(intervals: Mapping[str, Interval]) -> dict[str, Any]:
    return {name: interval_as_json(interval) for name, interval in intervals.items()}
