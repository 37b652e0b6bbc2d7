"""What is told of one task of an evaluation: the imagination, its controls, its contacts, its limits."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from fourd_ros.evaluation.policy.contacts import ContactSummary, by_contact
from fourd_ros.evaluation.policy.limits import Limit, limits_of
from fourd_ros.evaluation.policy.task_summary import Draws, TaskSummary, summarise, tasks_of
from fourd_ros.evaluation.policy.units import Unit, UnitResult


@dataclass(frozen=True, kw_only=True, eq=False)
class TaskReport:
    """What is told of one task.

    Args:
        summary: of the imagination.
        controls: the same of other rungs, by name; those that did not try the task are left out.
        contacts: outcomes by what the robot truly did, where that is known.
        limits: what cannot be told.
    """

    summary: TaskSummary
    controls: Mapping[str, TaskSummary]
    contacts: tuple[ContactSummary, ...]
    limits: tuple[Limit, ...]


def judge_task(
    results: Sequence[UnitResult],
    task: str,
    *,
    controls: Mapping[str, Sequence[UnitResult]],
    contacts: Mapping[Unit, str],
    sloppy: Collection[str],
    draws: Draws,
) -> TaskReport:
    """Judge one task.

    Args:
        results: of any tasks.
        task: the one that is wanted.
        controls: results of other rungs, with their truth, by name.
        contacts: what the robot truly did to things, by unit.
        sloppy: names of the policies whose over-estimate is told on its own.
        draws: how intervals are made.

    Raises:
        ValueError: `draws.confidence` is not between 0 and 1.
    """
    summary = summarise(results, task, sloppy=sloppy, draws=draws)
    found = by_contact(results, task, contacts, draws=draws)
    tried = {name: units for name, units in controls.items() if task in tasks_of(units)}
    return TaskReport(
        summary=summary,
        controls={name: summarise(units, task, sloppy=sloppy, draws=draws) for name, units in tried.items()},
        contacts=found,
        limits=limits_of(summary, found),
    )
