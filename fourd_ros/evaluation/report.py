"""Reports: result tables as a page with charts, as JSON and CSV in one folder, and as Markdown for model cards."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fourd_ros.errors import InvalidResults
from fourd_ros.evaluation.charts import DARK, LIGHT, MAX_METHODS, draw_chart
from fourd_ros.evaluation.metric import Verdict
from fourd_ros.evaluation.results import Aggregate, ResultTable
from fourd_ros.evaluation.results_file import aggregate_as_json, csv_text, results_text, summary_csv_text
from fourd_ros.records import Pixels
from fourd_ros.viewer.report_page import Section, render_report
from fourd_ros.whole_file import whole_folder

PAGE, RESULTS = "index.html", "results.json"
Aggregates = Mapping[tuple[str, str], Aggregate]


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A picture below the tables.

    Args:
        caption: what it shows.
        rgb: shape [H, W, 3], uint8.
    """

    caption: str
    rgb: Pixels


def write_report(
    folder: Path | str,
    *,
    title: str,
    tables: Sequence[ResultTable],
    pictures: Sequence[Picture] = (),
    notes: Sequence[str] = (),
    confidence: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> Path:
    """Write a folder with everything that the tables say, whole or not at all.

    ``index.html`` stands alone: it can be mailed, opened from the file system and printed. Beside it lie
    ``results.json`` (`read_results` gives the tables back), and for each table its chart as PNG, its summary as CSV
    and every value as CSV. The same input gives the same bytes.

    Args:
        folder: where it goes; a report that is there already is replaced.
        title: heading.
        tables: in reading order, at least one.
        pictures: shown below the tables.
        notes: paragraphs below the heading: what was measured, by which command.
        confidence: coverage of the intervals, between 0 and 1.
        resamples: number of bootstrap samples.
        seed: of the bootstrap.

    Returns:
        The page.

    Raises:
        InvalidResults: no tables, or a folder that holds other files or cannot be written.
    """
    if not tables:
        raise InvalidResults("a report needs at least one table")
    folder = Path(folder)
    _check_replaceable(folder)
    encoded = [(picture.caption, _png(picture.rgb)) for picture in pictures]
    aggregates = [table.aggregate(confidence=confidence, resamples=resamples, seed=seed) for table in tables]
    files = {f"picture_{number}.png": png for number, (_, png) in enumerate(encoded, 1)}
    sections = []
    for number, (table, means) in enumerate(zip(tables, aggregates, strict=True), 1):
        section, beside = _section(f"{number}_{_slug(table.title)}", table, means, _lead(table, confidence))
        sections.append(section)
        files |= beside
    files[PAGE] = render_report(title=title, notes=notes, sections=sections, pictures=encoded).encode()
    files[RESULTS] = results_text(
        tables,
        title=title,
        notes=list(notes),
        files=sorted([*files, RESULTS]),
        bootstrap={"confidence": confidence, "resamples": resamples, "seed": seed},
        aggregates=[[aggregate_as_json(mean) for mean in means.values()] for means in aggregates],
    ).encode()
    try:
        with whole_folder(folder) as new:
            for name, content in files.items():
                (new / name).write_bytes(content)
    except OSError as error:
        raise InvalidResults(f"no report can be written to '{folder}': {error}") from error
    return folder / PAGE


def _section(name: str, table: ResultTable, means: Aggregates, lead: str) -> tuple[Section, dict[str, bytes]]:
    """A table on the page, and the files beside the page, by name."""
    files = {f"{name}.csv": summary_csv_text(means.values()).encode(), f"{name}_values.csv": csv_text(table).encode()}
    links = {f"{name}.csv": "these figures as CSV", f"{name}_values.csv": f"every {table.unit_name} as CSV"}
    light, dark = (draw_chart(table, means, palette=palette) for palette in (LIGHT, DARK))
    charts = {"light": light, "dark": dark} if light is not None and dark is not None else {}
    if light is not None:
        files[f"{name}.png"], links[f"{name}.png"] = light, "chart as PNG"
    links[RESULTS] = "everything as JSON"
    return Section(table=table, aggregates=means, lead=lead, charts=charts, files=links), files


def report_markdown(
    tables: Sequence[ResultTable], *, confidence: float = 0.95, resamples: int = 2000, seed: int = 0
) -> str:
    """Tables for a README or a model card: means with intervals; bold is better than the baseline.

    Methods or metrics, whichever are more, make the rows.

    Args:
        tables: in reading order.
        confidence: coverage of the intervals, between 0 and 1.
        resamples: number of bootstrap samples.
        seed: of the bootstrap.
    """
    return "\n\n".join(
        "\n".join(_markdown(table, table.aggregate(confidence=confidence, resamples=resamples, seed=seed), confidence))
        for table in tables
    )


def _markdown(table: ResultTable, means: Aggregates, confidence: float) -> Iterator[str]:
    methods = [_escape(method) + (" (baseline)" if method == table.baseline else "") for method in table.methods]
    metrics = [f"{_escape(metric.label)} {'↑' if metric.higher_is_better else '↓'}" for metric in table.metrics]
    cells = [[_markdown_cell(means[method, metric.name]) for metric in table.metrics] for method in table.methods]
    corner, columns, names = "method", metrics, methods
    if len(metrics) > len(methods):
        corner, columns, names, cells = "metric", methods, metrics, [list(row) for row in zip(*cells, strict=True)]
    yield f"**{_escape(table.title)}**: {_escape(_lead(table, confidence))}"
    yield ""
    yield f"| {corner} | {' | '.join(columns)} |"
    yield f"|---|{'---|' * len(columns)}"
    for name, row in zip(names, cells, strict=True):
        yield f"| {name} | {' | '.join(row)} |"


def _markdown_cell(aggregate: Aggregate) -> str:
    if not np.isfinite(aggregate.mean.estimate):
        return "-"
    estimate, interval = aggregate.metric.show_interval(aggregate.mean).split(" ", 1)
    return f"**{estimate}** {interval}" if aggregate.verdict is Verdict.BETTER else f"{estimate} {interval}"


def _lead(table: ResultTable, confidence: float) -> str:
    units = f"{len(table.units)} {table.unit_name}{'' if len(table.units) == 1 else 's'}"
    averages = ", ".join(dict.fromkeys(f"{metric.average}s" for metric in table.metrics)).capitalize()
    text = f"{averages} over {units} [{100 * confidence:g} % bootstrap interval]."
    if table.baseline is not None:
        text += f" Verdicts come from the differences to “{table.baseline}”, paired by {table.unit_name}."
    if len(table.methods) > MAX_METHODS:
        text += f" The chart shows the first {MAX_METHODS} of {len(table.methods)} methods."
    return text


def _escape(text: str) -> str:
    """Markdown in which every character stands for itself."""
    return re.sub(r"([\\`*_{}\[\]<>|])", r"\\\1", " ".join(text.split()))


def _slug(title: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", title.lower()).strip("_")[:60] or "table"


def _png(rgb: Pixels) -> bytes:
    import cv2

    if rgb.ndim != 3 or rgb.shape[-1] != 3 or rgb.dtype != np.uint8:
        raise InvalidResults(f"a picture is {rgb.dtype} of shape {list(rgb.shape)}, needed is uint8 [H, W, 3]")
    return bytes(cv2.imencode(".png", np.ascontiguousarray(rgb[..., ::-1]))[1])


def _check_replaceable(folder: Path) -> None:
    """Only a report is replaced, and only when nothing else lies in its folder."""
    if not folder.exists():
        return
    if not folder.is_dir():
        raise InvalidResults(f"'{folder}' is a file; a report is a folder")
    there = {path.name for path in folder.iterdir()}
    strangers = sorted(there - _files_of_report(folder))
    if strangers:
        raise InvalidResults(
            f"'{folder}' holds {strangers[:5]}, which no report wrote, so it is not replaced; name another folder"
        )


def _files_of_report(folder: Path) -> set[str]:
    try:
        files = json.loads((folder / RESULTS).read_text(encoding="utf-8"))["files"]
        return set(map(str, files))
    except (OSError, ValueError, KeyError, TypeError):
        return set()
