"""One task of an evaluation, judged: how policies do in the imagination and in truth, and what was not judged."""

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from fourd_ros.errors import InvalidResults
from fourd_ros.evaluation.agreement import Agreement, judge_agreement
from fourd_ros.evaluation.policy.units import IMAGINED, Outcome, UnitResult, check_distinct, rate_tables
from fourd_ros.evaluation.reliability import FLAGGED, reliability_bins
from fourd_ros.evaluation.statistics import Interval, bootstrap_difference, mean_of_known

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class Draws:
    """How intervals are made.

    Args:
        confidence: coverage of all intervals, between 0 and 1.
        resamples: bootstrap samples, random splits and permutations.
        seed: of all draws.
    """

    confidence: float = 0.95
    resamples: int = 2000
    seed: int = 0


@dataclass(frozen=True, kw_only=True)
class Tally:
    """What became of the units in one world.

    Args:
        counted: outcomes that tell of success.
        abstained: outcomes on which the world did not want to judge.
        invalid: outcomes that do not count, by reason.
        missing: units that were not tried in this world, or whose success is unknown without a reason.
    """

    counted: int
    abstained: int
    invalid: Counter[str]
    missing: int

    @property
    def units(self) -> int:
        """All of them."""
        return self.counted + self.abstained + self.invalid.total() + self.missing


@dataclass(frozen=True, kw_only=True, eq=False)
class TaskSummary:
    """P policies on S start states of one task.

    Args:
        task: kind of task.
        backend: the rung that imagined.
        policies: in alphabetic order.
        start_numbers: of the start states, ascending.
        imagined: successes, NaN unknown, shape [P, S].
        claimed: imagined probabilities of success, same shape.
        true: successes in truth, same shape.
        sloppy: policies of which imagination is known to think too well, shape [P].
        agreement: of the imagined with the true successes.
        over_estimates: imagined minus true rate of each policy where both are known, paired by start, shape [P].
        bins: of the reliability diagram: mean probability, share of true successes and units, shape [B, 3].
        trust: mean over the policies for each start state, NaN unknown, shape [S].
        imagined_tally: what became of the imagined units.
        true_tally: what became of the true ones.
        draws: how intervals were made.
    """

    task: str
    backend: str
    policies: tuple[str, ...]
    start_numbers: tuple[int, ...]
    imagined: FloatArray
    claimed: FloatArray
    true: FloatArray
    sloppy: BoolArray
    agreement: Agreement
    over_estimates: Interval
    bins: FloatArray
    trust: FloatArray
    imagined_tally: Tally
    true_tally: Tally
    draws: Draws

    @property
    def has_truth(self) -> bool:
        """Whether any true outcome is known."""
        return bool(np.isfinite(self.true).any())

    @property
    def ranking(self) -> list[int]:
        """Indices of the policies, best true rate first; by the imagined one where there is no truth; then by name."""
        agreement = self.agreement
        rates = (agreement.true_rates if self.has_truth else agreement.imagined_rates).estimate
        return sorted(range(len(self.policies)), key=lambda p: (-np.nan_to_num(rates[p], nan=-1.0), self.policies[p]))

    @property
    def distrusted(self) -> tuple[int, ...]:
        """Start states on which the trust is below `FLAGGED` on average over the policies."""
        return tuple(start for start, trust in zip(self.start_numbers, self.trust, strict=True) if trust < FLAGGED)


def tasks_of(results: Iterable[UnitResult]) -> tuple[str, ...]:
    """All tasks, in alphabetic order."""
    return tuple(sorted({result.unit.task for result in results}))


def check_consistent(results: Sequence[UnitResult]) -> None:
    """See that results may be judged together.

    Raises:
        InvalidResults: there are none, a unit is there twice, or policies met different states under one number.
    """
    if not results:
        raise InvalidResults("there are no units to report; needed is at least one")
    check_distinct(results, what="the evaluation")
    hashes: dict[tuple[str, int], str] = {}
    for result in results:
        place = result.unit.task, result.unit.start
        if result.start_sha256 and hashes.setdefault(place, result.start_sha256) != result.start_sha256:
            raise InvalidResults(
                f"start {place[1]} of '{place[0]}' is not the same state for all policies (its hash is "
                f"{hashes[place][:12]} and {result.start_sha256[:12]}); evaluate all of them again"
            )


def with_truth(results: Iterable[UnitResult], known: Iterable[UnitResult]) -> list[UnitResult]:
    """Results whose missing true outcomes are taken from those of the same units from the same start states."""
    true = {(result.unit, result.start_sha256): result.true for result in known}
    return [
        result if result.true is not None else replace(result, true=true.get((result.unit, result.start_sha256)))
        for result in results
    ]


def summarise(results: Sequence[UnitResult], task: str, *, sloppy: Collection[str] = (), draws: Draws) -> TaskSummary:
    """Judge one task.

    Args:
        results: of any tasks.
        task: the one that is wanted; at least one unit is of it.
        sloppy: names of the policies whose over-estimate is told on its own.
        draws: how intervals are made.

    Raises:
        InvalidResults: no unit is of that task.
        ValueError: `draws.confidence` is not between 0 and 1.
    """
    own = [result for result in results if result.unit.task == task]
    policies, imagined, claimed, true = rate_tables(own, task)
    group = np.isin(policies, list(sloppy))
    options = vars(draws)
    return TaskSummary(
        task=task,
        backend=", ".join(sorted({result.backend for result in own if result.backend})) or IMAGINED,
        policies=policies,
        start_numbers=tuple(sorted({result.unit.start for result in own})),
        imagined=imagined,
        claimed=claimed,
        true=true,
        sloppy=group,
        agreement=judge_agreement(imagined, true, probabilities=claimed, group=group, **options),
        over_estimates=bootstrap_difference(imagined.T, true.T, **options),
        bins=reliability_bins(claimed.T.ravel(), true.T.ravel()),
        trust=_trust_by_start(own),
        imagined_tally=tally([result.imagined for result in own]),
        true_tally=tally([result.true for result in own]),
        draws=draws,
    )


def tally(outcomes: Iterable[Outcome | None]) -> Tally:
    """Count what became of units; None was not tried."""
    kinds: Counter[str] = Counter()
    reasons: Counter[str] = Counter()
    for outcome in outcomes:
        if outcome is not None and outcome.invalid:
            reasons[outcome.invalid] += 1
        else:
            kinds[_kind(outcome)] += 1
    return Tally(counted=kinds["counted"], abstained=kinds["abstained"], invalid=reasons, missing=kinds["missing"])


def _kind(outcome: Outcome | None) -> str:
    if outcome is not None and outcome.abstained:
        return "abstained"
    return "counted" if outcome is not None and outcome.counts else "missing"


def _trust_by_start(results: Iterable[UnitResult]) -> FloatArray:
    by_start: dict[int, list[float]] = {}
    for result in results:
        by_start.setdefault(result.unit.start, []).append(result.imagined.trust)
    return np.array([float(mean_of_known(np.array(by_start[start]))) for start in sorted(by_start)])
