"""The report of a policy evaluation: a page, every unit, every figure, and a summary for documentation."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fourd_ros.errors import InvalidResults
from fourd_ros.evaluation.policy.detector_scores import DetectorScore
from fourd_ros.evaluation.policy.report_films import UnitVideo, make_films
from fourd_ros.evaluation.policy.report_manifest import FORMAT, detector_as_json, provenance, task_as_json
from fourd_ros.evaluation.policy.report_page import render_page
from fourd_ros.evaluation.policy.report_tables import agreement_table, goals_table, policies_table, units_table
from fourd_ros.evaluation.policy.task_report import TaskReport, judge_task
from fourd_ros.evaluation.policy.task_summary import Draws, check_consistent, tasks_of, with_truth
from fourd_ros.evaluation.policy.units import Unit, UnitResult, write_units
from fourd_ros.strict_json import to_bytes
from fourd_ros.whole_file import whole_file, write_whole

PAGE, UNITS, MANIFEST, SUMMARY = "report.html", "per_unit.csv", "manifest.json", "summary.md"
BESIDE = {UNITS: "every unit as CSV", MANIFEST: "every figure as JSON", SUMMARY: "summary as Markdown"}
DRAWS = Draws()
MAX_VIDEO_BYTES = 12_000_000


def write_report(
    folder: Path,
    results: Sequence[UnitResult],
    *,
    controls: Mapping[str, Sequence[UnitResult]] = {},
    videos: Iterable[UnitVideo] = (),
    detectors: Sequence[DetectorScore] = (),
    contacts: Mapping[Unit, str] = {},
    config: Mapping[str, Any] = {},
    sloppy: Collection[str] = (),
    title: str = "Policies in the imagination",
    draws: Draws = DRAWS,
    max_video_bytes: int = MAX_VIDEO_BYTES,
) -> Path:
    """Write ``report.html``, ``per_unit.csv``, ``manifest.json`` and ``summary.md``, each whole or not at all.

    The page stands alone and needs no network and no JavaScript. The same input gives the same bytes on one machine.

    Args:
        folder: where the files go; what else is there stays.
        results: of a finished or a partial evaluation, each unit once.
        controls: the same units imagined by other rungs, by name; a missing truth is taken from `results`.
        videos: of some units; disagreements come first.
        detectors: how right detectors of success are on ground truth.
        contacts: what the robot truly did to things, by unit.
        config: of the evaluation, for the manifest; plain JSON.
        sloppy: policies whose over-estimate is told on its own.
        title: of the page.
        draws: how intervals are made.
        max_video_bytes: of all videos on the page together; the others are left out and counted.

    Returns:
        The page.

    Raises:
        InvalidResults: no units, one twice, different start states under one number, or the folder cannot be written.
        InvalidImage, InvalidDataset, TooLarge: a video cannot be shown, see `make_films`.
        ValueError: `config` is no plain JSON, or `draws.confidence` not between 0 and 1.
    """
    check_consistent(results)
    with _writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    rivals = {name: with_truth(found, results) for name, found in controls.items()}
    tasks = [
        judge_task(results, task, controls=rivals, contacts=contacts, sloppy=sloppy, draws=draws)
        for task in tasks_of(results)
    ]
    films, left_out = make_films(videos, results, max_bytes=max_video_bytes)
    manifest = {
        "format": FORMAT,
        "title": title,
        "files": [UNITS, SUMMARY, PAGE, MANIFEST],
        "config": dict(config),
        **provenance(results, rivals),
        "statistics": vars(draws),
        "tasks": [task_as_json(task) for task in tasks],
        "detectors": [detector_as_json(score) for score in detectors],
        "films": [{**vars(film.unit), "kind": film.kind} for film in films],
        "films_left_out": left_out,
    }
    page = render_page(
        title=title, tasks=tasks, detectors=detectors, films=films, left_out=left_out, facts=manifest, files=BESIDE
    )
    encoded = to_bytes(manifest)
    with _writing(folder):
        write_units(folder / UNITS, results)
        write_whole(folder / SUMMARY, summary_markdown(tasks))
        write_whole(folder / PAGE, page)
        with whole_file(folder / MANIFEST) as file:
            file.write(encoded)
    return folder / PAGE


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise InvalidResults(f"no report can be written to '{folder}': {error}") from error


def summary_markdown(tasks: Sequence[TaskReport]) -> str:
    """Goals, agreement, policies, units and what cannot be told, for documentation."""
    summaries = [task.summary for task in tasks]
    tables = [goals_table(summaries)]
    for task in tasks:
        tables += [agreement_table(task.summary, task.controls), policies_table(task.summary)]
    parts = ["**Goals**", *(table.markdown for table in (*tables, units_table(summaries)))]
    parts.append("**What this evaluation cannot tell**")
    parts += ["\n".join(f"- {limit.task}: {limit.text}" for limit in task.limits) for task in tasks]
    return "\n\n".join(parts) + "\n"
