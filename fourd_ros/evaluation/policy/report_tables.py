"""Tables of a report: goals, agreement beside its ceiling and controls, policies, units, detectors, contacts."""

from collections.abc import Mapping, Sequence

import numpy as np

from fourd_ros.evaluation.episode_agreement import CALIBRATION_ERROR, EPISODE_METRICS, EpisodeAgreement
from fourd_ros.evaluation.metric import Metric
from fourd_ros.evaluation.policy.contacts import ContactSummary
from fourd_ros.evaluation.policy.detector_scores import DetectorScore
from fourd_ros.evaluation.policy.limits import rank_range
from fourd_ros.evaluation.policy.report_goals import GOALS, SLOPPY, GoalFinding, judge_goals
from fourd_ros.evaluation.policy.task_summary import Tally, TaskSummary
from fourd_ros.evaluation.rate_agreement import RATE_METRICS, RateAgreement
from fourd_ros.evaluation.statistics import Interval
from fourd_ros.evaluation.table import Table

PERCENT = Metric(name="share", unit="%", scale=100.0)
P_VALUE = Metric(name="permutation_p", decimals=4)

UNDEFINED = "undefined"


def goals_table(summaries: Sequence[TaskSummary]) -> Table:
    """Every goal and what each task reaches; a cell ends with ``met`` or ``missed``."""
    found = [judge_goals(summary.agreement) for summary in summaries]
    rows = [
        (goal.metric.label, goal.text, *(_goal_cell(task[number]) for task in found))
        for number, goal in enumerate(GOALS)
    ]
    return Table(title="", columns=("figure", "goal", *(summary.task for summary in summaries)), rows=tuple(rows))


def _goal_cell(finding: GoalFinding) -> str:
    if finding.is_met is None:
        return UNDEFINED
    metric, found = finding.goal.metric, finding.found
    is_point = found.low == found.high == found.estimate
    shown = metric.show(float(found.estimate)) if is_point else metric.show_interval(found)
    return f"{shown} {'met' if finding.is_met else 'missed'}"


def agreement_table(summary: TaskSummary, controls: Mapping[str, TaskSummary]) -> Table:
    """Every statistic of the imagination beside its goal, the truth against itself and the controls.

    Args:
        summary: of the task.
        controls: of the same task, by name.
    """
    columns = [_figures(summary), _ceiling(summary), *map(_figures, controls.values())]
    goals = {goal.metric.label: goal.text for goal in GOALS}
    rows = [(name, goals.get(name, ""), *(column.get(name, "") for column in columns)) for name in columns[0]]
    half = summary.agreement.starts // 2
    return Table(
        title=f"{summary.task}: agreement of imagined with true success, {len(summary.policies)} policies, "
        f"{summary.agreement.starts} start states [{_percent(summary)} interval over start states]",
        columns=("figure", "goal", summary.backend, f"ceiling: truth against truth, {half} starts each", *controls),
        rows=tuple(rows),
    )


def _figures(summary: TaskSummary) -> dict[str, str]:
    agreement = summary.agreement
    r = RATE_METRICS.pearson
    return {
        r.label: _shown(r, agreement.rates.pearson),
        "Pearson r [Fisher's interval]": _shown(r, agreement.fisher),
        "Pearson r [one policy left out]": _shown(r, agreement.leave_one_out),
        "p of r by permutation": _number(P_VALUE, agreement.permutation_p),
        **_rates(agreement.rates, summary),
        **{
            metric.label: _shown(metric, found)
            for metric, found in zip(EPISODE_METRICS, agreement.episodes, strict=True)
        },
        f"{EPISODE_METRICS.agreement.label} [Wilson]": _shown(
            EPISODE_METRICS.agreement, agreement.episodes_wilson.agreement
        ),
        CALIBRATION_ERROR.label: _shown(CALIBRATION_ERROR, agreement.calibration_error),
        "policies of the middle group": str(int(agreement.middle.sum())),
        "units not judged [%]": _number(PERCENT, agreement.imagined_unknown),
        "detectable, same starts [pp]": _number(PERCENT, agreement.detectable_paired),
        "detectable, other starts [pp]": _number(PERCENT, agreement.detectable_unpaired),
    }


def _ceiling(summary: TaskSummary) -> dict[str, str]:
    r = RATE_METRICS.pearson
    return {r.label: _shown(r, summary.agreement.ceiling.pearson), **_rates(summary.agreement.ceiling, summary)}


def _rates(rates: RateAgreement[Interval], summary: TaskSummary) -> dict[str, str]:
    """All that two columns of rates say but Pearson's r; the over-estimate of sloppy policies only if there are any."""
    metrics = RATE_METRICS._replace(group_over_estimate=SLOPPY)
    left_out = {"pearson"} if summary.sloppy.any() else {"pearson", SLOPPY.name}
    return {
        metric.label: _shown(metric, found)
        for metric, found in zip(metrics, rates, strict=True)
        if metric.name not in left_out
    }


def policies_table(summary: TaskSummary) -> Table:
    """Every policy, best true rate first: rates, places that it may have, how far and how often imagination errs."""
    agreement = summary.agreement
    ranks = {
        side: rank_range(rates)
        for side, rates in (("true", agreement.true_rates), ("imagined", agreement.imagined_rates))
    }
    rows = []
    for policy in summary.ranking:
        both = np.isfinite(summary.imagined[policy] + summary.true[policy])
        rows.append(
            (
                summary.policies[policy] + (" *" if summary.sloppy[policy] else ""),
                _shown(PERCENT, agreement.true_rates[policy]),
                _shown(PERCENT, agreement.imagined_rates[policy]),
                _shown(RATE_METRICS.over_estimate, summary.over_estimates[policy], signed=True),
                _range(ranks["true"][policy]) if summary.has_truth else UNDEFINED,
                _range(ranks["imagined"][policy]),
                f"{int(both.sum())} of {both.size}",
            )
        )
    marked = "; * sloppy" if summary.sloppy.any() else ""
    return Table(
        title=f"{summary.task}: policies [Wilson's interval of rates, bootstrap of the over-estimate]{marked}",
        columns=(
            "policy",
            "true [%]",
            "imagined [%]",
            "over-estimate [pp]",
            "true rank",
            "imagined rank",
            "starts judged",
        ),
        rows=tuple(rows),
    )


def units_table(summaries: Sequence[TaskSummary]) -> Table:
    """What became of the units of each task in each world."""
    rows = [
        (
            summary.task,
            world,
            *map(str, (found.units, found.counted, found.abstained, found.invalid.total(), found.missing)),
        )
        for summary in summaries
        for world, found in tallies(summary).items()
    ]
    columns = ("task", "world", "units", "valid", "abstained", "invalid", "not tried")
    return Table(title="Units", columns=columns, rows=tuple(rows))


def reasons_table(summaries: Sequence[TaskSummary]) -> Table | None:
    """Why units are invalid, most frequent first; None where all are valid."""
    rows = [
        (reason, summary.task, world, number)
        for summary in summaries
        for world, found in tallies(summary).items()
        for reason, number in found.invalid.items()
    ]
    if not rows:
        return None
    shown = tuple((*row[:3], str(row[3])) for row in sorted(rows, key=lambda row: (-row[3], *row[:3])))
    return Table(title="Why units are invalid", columns=("reason", "task", "world", "units"), rows=shown)


def tallies(summary: TaskSummary) -> dict[str, Tally]:
    """Of both worlds, by name."""
    return {"imagined": summary.imagined_tally, "true": summary.true_tally}


def detectors_table(summaries: Sequence[TaskSummary], detectors: Sequence[DetectorScore]) -> Table:
    """Precision and recall of every detector on ground truth, and of imagination and detector together."""
    rows = [
        (score.name, str(score.judged), *_episode_cells(score.episodes), _number(PERCENT, score.unsure))
        for score in detectors
    ]
    rows += [
        (
            f"imagined, then judged: {summary.task}",
            str(int(np.isfinite(summary.imagined + summary.true).sum())),
            *_episode_cells(summary.agreement.episodes_wilson),
            _number(PERCENT, summary.agreement.imagined_unknown),
        )
        for summary in summaries
    ]
    columns = ("detector", "judged", "precision", "recall", "agreement", "unsure [%]")
    return Table(title="Detectors of success against the truth [Wilson's interval]", columns=columns, rows=tuple(rows))


def contacts_table(summary: TaskSummary, contacts: Sequence[ContactSummary]) -> Table | None:
    """How far and how often imagination errs by what the robot truly did; None where that is not known."""
    if not contacts:
        return None
    rows = [
        (
            contact.kind,
            str(contact.units),
            _shown(RATE_METRICS.over_estimate, contact.over_estimate, signed=True),
            *_episode_cells(contact.episodes),
        )
        for contact in contacts
    ]
    columns = ("contact", "units", "over-estimate [pp]", "precision", "recall", "agreement")
    return Table(title=f"{summary.task}: by what the robot truly did", columns=columns, rows=tuple(rows))


def _episode_cells(episodes: EpisodeAgreement[Interval]) -> tuple[str, str, str]:
    metrics = EPISODE_METRICS
    return (
        _shown(metrics.precision, episodes.precision),
        _shown(metrics.recall, episodes.recall),
        _shown(metrics.agreement, episodes.agreement),
    )


def _shown(metric: Metric, interval: Interval, *, signed: bool = False) -> str:
    return metric.show_interval(interval, signed=signed) if np.isfinite(interval.estimate) else UNDEFINED


def _number(metric: Metric, value: float) -> str:
    return metric.show(value) if np.isfinite(value) else UNDEFINED


def _range(ranks: tuple[int, int]) -> str:
    return str(ranks[0]) if ranks[0] == ranks[1] else f"{ranks[0]}–{ranks[1]}"


def _percent(summary: TaskSummary) -> str:
    return f"{100 * summary.draws.confidence:g} %"
