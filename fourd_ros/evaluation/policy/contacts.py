"""Outcomes by what the robot did to things: where imagination errs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fourd_ros.evaluation.episode_agreement import EpisodeAgreement, episode_sums, wilson_agreement
from fourd_ros.evaluation.policy.task_summary import Draws
from fourd_ros.evaluation.policy.units import Unit, UnitResult
from fourd_ros.evaluation.statistics import Interval, bootstrap_of_means, share

FloatArray = NDArray[np.float64]

_NAN = np.array(np.nan)
UNKNOWN = Interval(estimate=_NAN, low=_NAN, high=_NAN, count=np.array(0, np.int64))


@dataclass(frozen=True, kw_only=True)
class ContactSummary:
    """Units of one task in which the robot truly did the same to things.

    Args:
        kind: of contact.
        units: how many.
        over_estimate: imagined minus true success where both are known, with a bootstrap interval over start states.
        episodes: agreement of single outcomes, with Wilson's interval.
    """

    kind: str
    units: int
    over_estimate: Interval
    episodes: EpisodeAgreement[Interval]


def by_contact(
    results: Sequence[UnitResult], task: str, contacts: Mapping[Unit, str], *, draws: Draws
) -> tuple[ContactSummary, ...]:
    """Judge the units of one task by the kind of their contact, most units first.

    Args:
        results: of any tasks.
        task: the one that is wanted.
        contacts: what the robot truly did to things; units that are not named are left out.
        draws: how intervals are made.
    """
    kinds: dict[str, list[UnitResult]] = {}
    for result in results:
        if result.unit.task == task and result.unit in contacts:
            kinds.setdefault(contacts[result.unit], []).append(result)
    return tuple(
        _summarise(kind, kinds[kind], draws) for kind in sorted(kinds, key=lambda kind: (-len(kinds[kind]), kind))
    )


def _summarise(kind: str, results: Sequence[UnitResult], draws: Draws) -> ContactSummary:
    start, imagined, true = _known(results).T
    gaps, episodes = (np.bincount(start.astype(int), weights) for weights in (imagined - true, np.ones_like(true)))
    by_start = np.stack([gaps, episodes], axis=1)[episodes > 0]
    return ContactSummary(
        kind=kind,
        units=len(results),
        over_estimate=bootstrap_of_means(by_start, _ratio, lowest=-1.0, highest=1.0, **vars(draws))[0]
        if len(by_start)
        else UNKNOWN,
        episodes=wilson_agreement(episode_sums(imagined[None], true[None]).sum(axis=0), confidence=draws.confidence),
    )


def _known(results: Sequence[UnitResult]) -> FloatArray:
    """Number of the start state, imagined and true success of units where both are known, shape [N, 3]."""
    numbers = {start: number for number, start in enumerate(sorted({result.unit.start for result in results}))}
    rows = [
        (numbers[result.unit.start], result.imagined.success, result.true.success)
        for result in results
        if result.imagined.counts and result.true is not None and result.true.counts
    ]
    return np.array(rows, dtype=np.float64).reshape(-1, 3)


def _ratio(means: FloatArray) -> FloatArray:
    return share(means[..., :1], means[..., 1:])
