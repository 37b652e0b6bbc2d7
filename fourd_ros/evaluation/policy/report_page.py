"""The page of a report: goals, what cannot be told, then task by task charts, tables and films."""

import html
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from fourd_ros.evaluation.charts import DARK, LIGHT
from fourd_ros.evaluation.policy.detector_scores import DetectorScore
from fourd_ros.evaluation.policy.report_films import PairOfFilms
from fourd_ros.evaluation.policy.report_pictures import agreement_chart, ranking_chart
from fourd_ros.evaluation.policy.report_tables import (
    agreement_table,
    contacts_table,
    detectors_table,
    goals_table,
    policies_table,
    reasons_table,
    units_table,
)
from fourd_ros.evaluation.policy.task_report import TaskReport
from fourd_ros.viewer.blocks import chart_html, facts_html, films_html, list_html, table_html
from fourd_ros.viewer.report_page import report_html

VERDICTS = ("met", "missed")
SCHEMES = {"light": LIGHT, "dark": DARK}

LEAD = (
    "Every policy met the same start states in the imagination and, where it was asked, in the simulator, whose "
    "outcomes are called true here. Goals are judged by the estimate; brackets hold its interval."
)


def render_page(
    *,
    title: str,
    tasks: Sequence[TaskReport],
    detectors: Sequence[DetectorScore],
    films: Sequence[PairOfFilms],
    left_out: int,
    facts: Mapping[str, Any],
    files: Mapping[str, str],
) -> str:
    """The page as one HTML text.

    Args:
        title: heading.
        tasks: in reading order.
        detectors: on ground truth.
        films: of units of any task.
        left_out: videos that are not among them.
        facts: the manifest, for what stands at the end.
        files: beside the page, what they hold by their names.
    """
    summaries = [task.summary for task in tasks]
    sections = [
        _section("Goals", _contents(tasks), table_html(goals_table(summaries), verdicts=VERDICTS)),
        _section("What this evaluation cannot tell", *_limits(tasks)),
        *(_task(number, task, films) for number, task in enumerate(tasks, 1)),
        _section("Units and detectors", *_units(tasks, detectors, left_out)),
        _section("How it was made", facts_html(_provenance(facts)), _files(files)),
    ]
    return report_html(title=title, notes=[LEAD], body="\n".join(sections))


def _section(title: str, *parts: str, anchor: str = "") -> str:
    place = f' id="{anchor}"' if anchor else ""
    return "\n".join((f"<section{place}>\n<h2>{html.escape(title)}</h2>", *filter(None, parts), "</section>"))


def _contents(tasks: Sequence[TaskReport]) -> str:
    links = (f'<a href="#task-{number}">{html.escape(task.summary.task)}</a>' for number, task in enumerate(tasks, 1))
    return f"<nav>{''.join(links)}</nav>"


def _limits(tasks: Sequence[TaskReport]) -> Iterator[str]:
    for task in tasks:
        yield f"<h3>{html.escape(task.summary.task)}</h3>"
        yield list_html(limit.text for limit in task.limits)


def _task(number: int, task: TaskReport, films: Sequence[PairOfFilms]) -> str:
    summary = task.summary
    rankings = {scheme: ranking_chart(summary, palette) for scheme, palette in SCHEMES.items()}
    parts = [chart_html(rankings, alternative=f"{summary.task}: success rates with intervals, as in the table below")]
    if summary.has_truth:
        bins = {summary.backend: summary.bins, **{name: control.bins for name, control in task.controls.items()}}
        agreements = {scheme: agreement_chart(summary, bins, palette) for scheme, palette in SCHEMES.items()}
        parts.append(chart_html(agreements, alternative=f"{summary.task}: imagined against true success; calibration"))
        parts.append(table_html(agreement_table(summary, task.controls)))
    parts.append(table_html(policies_table(summary)))
    contacts = contacts_table(summary, task.contacts)
    parts.append(table_html(contacts) if contacts else "")
    own = [film for film in films if film.unit.task == summary.task]
    if own:
        parts.append("<h3>Imagined (left) and true (right)</h3>")
        parts.append(films_html((_caption(film), film.mp4) for film in own))
    return _section(summary.task, *parts, anchor=f"task-{number}")


def _caption(film: PairOfFilms) -> str:
    return f"{film.kind}: {film.unit.policy}, start {film.unit.start}, seed {film.unit.seed}"


def _units(tasks: Sequence[TaskReport], detectors: Sequence[DetectorScore], left_out: int) -> Iterator[str]:
    summaries = [task.summary for task in tasks]
    yield table_html(units_table(summaries))
    reasons = reasons_table(summaries)
    yield table_html(reasons) if reasons else ""
    yield table_html(detectors_table(summaries, detectors))
    if left_out:
        yield f'<p class="note">{left_out} videos are not shown: no room was left, or an outcome is unknown.</p>'


def _provenance(facts: Mapping[str, Any]) -> dict[str, str]:
    models = (f"{model['backend']} {model['sha256'][:12]}".strip() for model in facts["models"])
    draws = facts["statistics"]
    return {
        "models": ", ".join(models),
        "start states": ", ".join(f"{len(starts)} of {task}" for task, starts in facts["starts"].items()),
        "seeds of policies and models": ", ".join(map(str, facts["seeds"])),
        "statistics": f"{100 * draws['confidence']:g} % intervals, {draws['resamples']} draws, seed {draws['seed']}",
        "versions": ", ".join(f"{name} {version}" for name, version in facts["versions"].items()),
        "machine": ", ".join(f"{name} {value}" for name, value in facts["machine"].items()),
        **{f"config: {name}": str(value) for name, value in facts["config"].items()},
    }


def _files(files: Mapping[str, str]) -> str:
    links = "".join(f'<li><a href="{html.escape(name)}">{html.escape(text)}</a></li>' for name, text in files.items())
    return f'<ul class="files">{links}</ul>'
