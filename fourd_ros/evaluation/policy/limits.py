"""What an evaluation cannot tell, read off its own figures."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from fourd_ros.evaluation.agreement import MIDDLE
from fourd_ros.evaluation.policy.contacts import ContactSummary
from fourd_ros.evaluation.policy.report_goals import judge_goals
from fourd_ros.evaluation.policy.task_summary import TaskSummary
from fourd_ros.evaluation.rate_agreement import RATE_METRICS
from fourd_ros.evaluation.reliability import FLAGGED
from fourd_ros.evaluation.sequential import compare_paired
from fourd_ros.evaluation.statistics import Interval

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

NAMED = 6
"""Policies, start states or reasons that a sentence names at most; the manifest holds all."""

FEWEST_FOR_R = 3
"""Two points always lie on a line."""

ADVISED_FOR_R = 6


@dataclass(frozen=True, kw_only=True)
class Limit:
    """One thing that cannot be told.

    Args:
        kind: of the limit, for scripts.
        task: that it is about.
        text: the same in a sentence.
        names: of policies, start states or reasons that it is about.
    """

    kind: str
    task: str
    text: str
    names: tuple[str, ...] = ()


def limits_of(summary: TaskSummary, contacts: Sequence[ContactSummary] = ()) -> tuple[Limit, ...]:
    """Everything that the figures of one task leave open.

    Args:
        summary: of the task.
        contacts: outcomes by what the robot did to things, where that is known.
    """
    return tuple(limit for find in _FINDERS for limit in find(summary)) + tuple(_contacts(summary, contacts))


def are_apart(rates: Interval) -> BoolArray:
    """Whether the whole interval of one policy lies above that of another, first above second, shape [P, P]."""
    return np.asarray(rates.low[:, None] > rates.high[None, :])


def rank_range(rates: Interval) -> list[tuple[int, int]]:
    """The highest and the lowest rank that each policy may have, as far as the intervals tell; 1 is the best."""
    above = are_apart(rates)
    known = np.isfinite(rates.estimate)
    return [(1 + int(above[known, p].sum()), int(known.sum() - above[p, known].sum())) for p in range(len(known))]


def _missed_goals(summary: TaskSummary) -> Iterator[Limit]:
    missed = [finding for finding in judge_goals(summary.agreement) if finding.is_met is False]
    if not missed:
        return
    goals = "; ".join(f"{f.goal.metric.title or f.goal.metric.name} {f.goal.text} is {f.verdict}" for f in missed)
    wrong = ", ".join(
        f"{summary.policies[p]} ({_rate(summary.agreement.imagined_rates, p)} imagined, "
        f"{_rate(summary.agreement.true_rates, p)} true)"
        for p in _widest_gaps(summary)
    )
    because = f" The widest gaps are those of {wrong}." if wrong else ""
    names = tuple(finding.goal.metric.name for finding in missed)
    yield Limit(kind="missed_goals", task=summary.task, text=f"Goals are missed: {goals}.{because}", names=names)


def _widest_gaps(summary: TaskSummary) -> list[int]:
    """Policies whose two rates differ beyond chance; where there is none, the one that differs most."""
    gap = summary.over_estimates
    ranked = sorted(range(len(summary.policies)), key=lambda p: -abs(np.nan_to_num(gap.estimate[p])))
    differ = [p for p in ranked if gap.estimate[p]]
    return [p for p in differ if gap.low[p] > 0 or gap.high[p] < 0][:NAMED] or differ[:1]


def _no_truth(summary: TaskSummary) -> Iterator[Limit]:
    if not summary.has_truth:
        text = "No true outcome is known, so nothing here says whether the imagined success rates are right."
        yield Limit(kind="no_truth", task=summary.task, text=text)


def _undefined_r(summary: TaskSummary) -> Iterator[Limit]:
    agreement = summary.agreement
    if summary.has_truth and not np.isfinite(agreement.rates.pearson.estimate):
        sides = {"imagined": agreement.imagined_rates, "true": agreement.true_rates}
        why = {side: reason for side, rates in sides.items() if (reason := _no_variation(rates))}
        told = " and ".join(f"{reason} {side} success rate" for side, reason in why.items()) or "too few are known"
        text = f"Pearson's r does not exist: {told}."
        yield Limit(kind="undefined_r", task=summary.task, text=text, names=tuple(why))
    members = int(agreement.middle.sum())
    if summary.has_truth and members < FEWEST_FOR_R:
        text = (
            f"Policies with a true success between {MIDDLE[0]:.0%} and {MIDDLE[1]:.0%}: {members}. So r within this "
            f"middle group says nothing; at least {FEWEST_FOR_R} are needed, {ADVISED_FOR_R} are advised."
        )
        yield Limit(kind="small_middle_group", task=summary.task, text=text)


def _no_variation(rates: Interval) -> str:
    """In words, where the known rates do not differ; empty where they do."""
    different = len(set(rates.estimate[np.isfinite(rates.estimate)].tolist()))
    return {0: "no policy has a known", 1: "all policies have the same"}.get(different, "")


def _unknown_order(summary: TaskSummary) -> Iterator[Limit]:
    sides = {"imagined": (summary.agreement.imagined_rates, summary.imagined)}
    if summary.has_truth:
        sides["true"] = summary.agreement.true_rates, summary.true
    for side, (rates, outcomes) in sides.items():
        pairs = [
            pair for pair in combinations(range(len(summary.policies)), 2) if np.isfinite(rates.estimate[[*pair]]).all()
        ]
        above = are_apart(rates)
        open_pairs = [(a, b) for a, b in pairs if not above[a, b] and not above[b, a]]
        if not open_pairs:
            continue
        decided = sum(_is_decided(outcomes[a], outcomes[b], summary.draws.confidence) for a, b in open_pairs)
        best = [summary.policies[p] for p, (highest, _) in enumerate(rank_range(rates)) if highest == 1]
        text = (
            f"The {side} order of {len(open_pairs)} of {len(pairs)} pairs of policies is unknown: their intervals "
            f"overlap. Paired by start state, {decided} of these are told apart by a test that may be asked at any "
            f"time (each pair by itself). The {side} best may be any of {_listed(best)}."
        )
        names = tuple(f"{summary.policies[a]} / {summary.policies[b]}" for a, b in open_pairs)
        yield Limit(kind=f"unknown_{side}_order", task=summary.task, text=text, names=names)


def _detectable(summary: TaskSummary) -> Iterator[Limit]:
    agreement = summary.agreement
    show = RATE_METRICS.over_estimate.show
    paired = (
        f"less than {show(agreement.detectable_paired, unit=True)} on the same start states and "
        if agreement.detectable_paired > 0
        else ""
    )
    text = (
        f"With {agreement.starts} start states, two policies whose success rates differ by {paired}less than "
        f"{show(agreement.detectable_unpaired, unit=True)} on different ones are told apart in less than 80 % of the "
        "evaluations."
    )
    if not np.isfinite(agreement.detectable_unpaired):
        text = f"So few start states ({agreement.starts}) tell no two policies apart."
    yield Limit(kind="detectable_difference", task=summary.task, text=text)


def _biased_policies(summary: TaskSummary) -> Iterator[Limit]:
    gap = summary.over_estimates
    sides: dict[str, tuple[str, Callable[[int], bool]]] = {
        "over_optimistic": ("better than they are", lambda p: bool(gap.low[p] > 0)),
        "over_pessimistic": ("worse than they are", lambda p: bool(gap.high[p] < 0)),
    }
    for kind, (how, belongs) in sides.items():
        members = sorted(filter(belongs, range(len(summary.policies))), key=lambda p: -abs(gap.estimate[p]))
        if not members:
            continue
        shown = [
            f"{summary.policies[p]} {RATE_METRICS.over_estimate.show_interval(gap[p], signed=True)} pp" for p in members
        ]
        text = f"Imagination takes {len(members)} policies for {how}, beyond chance: {_listed(shown)}."
        yield Limit(kind=kind, task=summary.task, text=text, names=tuple(summary.policies[p] for p in members))


def _unjudged(summary: TaskSummary) -> Iterator[Limit]:
    worlds = {"imagined": (summary.imagined_tally, summary.imagined), "true": (summary.true_tally, summary.true)}
    for world, (found, outcomes) in worlds.items():
        left = found.units - found.counted
        if not left or (world == "true" and not summary.has_truth):
            continue
        parts = {"abstained": found.abstained, "invalid": found.invalid.total(), "not tried": found.missing}
        kinds = ", ".join(f"{number} {name}" for name, number in parts.items() if number)
        unknown = np.isnan(outcomes).mean(axis=1)
        most = [f"{summary.policies[p]} {unknown[p]:.0%}" for p in np.argsort(-unknown, kind="stable") if unknown[p]]
        text = (
            f"{left / found.units:.1%} of the {world} units have no outcome ({kinds}); what they would have shown is "
            f"not in any rate. They belong to {_listed(most)}."
        )
        yield Limit(kind=f"unjudged_{world}", task=summary.task, text=text, names=tuple(sorted(found.invalid)))


def _unlike_training(summary: TaskSummary) -> Iterator[Limit]:
    if not np.isfinite(summary.trust).any():
        text = "The imagination says nothing of its trust, so start states unlike its training cannot be told."
        yield Limit(kind="unknown_trust", task=summary.task, text=text)
    elif summary.distrusted:
        names = tuple(map(str, summary.distrusted))
        text = (
            f"On {len(names)} of {len(summary.trust)} start states the imagination trusts itself by less than "
            f"{FLAGGED:g}; they may be unlike its training: {_listed(names)}."
        )
        yield Limit(kind="unlike_training", task=summary.task, text=text, names=names)


def _contacts(summary: TaskSummary, contacts: Sequence[ContactSummary]) -> Iterator[Limit]:
    bad = [contact for contact in contacts if contact.over_estimate.low > 0]
    if bad:
        shown = [
            f"{contact.kind} {RATE_METRICS.over_estimate.show_interval(contact.over_estimate, signed=True)} pp"
            for contact in bad
        ]
        text = f"Imagination is over-optimistic where the contact was: {_listed(shown)}."
        names = tuple(contact.kind for contact in bad)
        yield Limit(kind="over_optimistic_contacts", task=summary.task, text=text, names=names)


_FINDERS: tuple[Callable[[TaskSummary], Iterator[Limit]], ...] = (
    _missed_goals,
    _no_truth,
    _undefined_r,
    _biased_policies,
    _unknown_order,
    _detectable,
    _unjudged,
    _unlike_training,
)


def _is_decided(first: FloatArray, second: FloatArray, confidence: float) -> bool:
    return compare_paired(first, second, confidence=confidence).decided_at is not None


def _rate(rates: Interval, policy: int) -> str:
    return f"{float(rates.estimate[policy]):.0%}"


def _listed(names: Sequence[str]) -> str:
    rest = len(names) - NAMED
    return ", ".join(names[:NAMED]) + (f" and {rest} more" if rest > 0 else "")
