"""Writes a page: template, style, scripts and data in one file that opens without network or server."""

import html
import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fourd_ros.errors import TooLarge
from fourd_ros.evaluation.findings import Finding
from fourd_ros.evaluation.statistics import Interval
from fourd_ros.evaluation.table import Table
from fourd_ros.viewer.content import Clip, ModelFindings, Page, Plot
from fourd_ros.viewer.geometry import (
    SIGMA_LIMIT,
    Box,
    label_names,
    pack_candidate,
    pack_mesh,
)
from fourd_ros.viewer.images import ERROR_LIMIT, clip_films, legend_stops
from fourd_ros.viewer.templates import fill, scripts, styles
from fourd_ros.whole_file import whole_file

SCRIPTS = (
    "errors.js",
    "state.js",
    "decode.js",
    "models.js",
    "loop.js",
    "plots.js",
    "camera.js",
    "cloud.js",
    "scene.js",
    "main.js",
)
"""In the order in which they are inlined."""

MAX_BYTES = 25_000_000


def write_page(page: Page, path: Path, *, max_bytes: int = MAX_BYTES) -> int:
    """Write `page` to `path`, whole or not at all.

    Args:
        page: its content.
        path: the HTML file; its folder is made.
        max_bytes: refuse to write more than this.

    Returns:
        Size of the file in bytes.

    Raises:
        TooLarge: the page would be bigger than `max_bytes`.
    """
    text = render(page).encode()
    if len(text) > max_bytes:
        raise TooLarge(
            f"the page would have {len(text) / 1e6:.1f} MB, allowed are {max_bytes / 1e6:.1f} MB; "
            "show fewer instants, smaller images or fewer points"
        )
    with whole_file(path) as file:
        file.write(text)
    return len(text)


def render(page: Page) -> str:
    """The page as one HTML text."""
    parts = {
        "title": html.escape(page.title),
        "lead": html.escape(page.lead),
        "verdicts": "\n".join(_verdicts(findings) for findings in page.findings),
        "tables": "\n".join(_table(table) for table in page.tables),
        "links": "\n".join(_link(*link) for link in page.links),
        "provenance": _provenance(page.provenance),
        "style": styles("base.css", "style.css"),
        "data": _json(_payload(page)),
        "scripts": scripts(SCRIPTS),
    }
    return fill("page.html", parts)


def _payload(page: Page) -> dict[str, object]:
    clouds = [cloud for candidate in page.candidates for cloud in candidate.clouds]
    box = Box.around(clouds)
    return {
        "models": [findings.model for findings in page.findings],
        "errorScale": {"limit": ERROR_LIMIT * 1000, "colours": legend_stops()},
        "clips": [_clip(clip) for clip in page.clips],
        "plots": [_plot(plot) for plot in page.plots],
        "scene": {
            "low": box.low.tolist(),
            "size": box.size.tolist(),
            "sigmaLimit": SIGMA_LIMIT * 1000,
            "labels": label_names(clouds),
            "robot": [pack_mesh(mesh) for mesh in page.robot],
            "candidates": [pack_candidate(candidate, box) for candidate in page.candidates],
        },
    }


def _clip(clip: Clip) -> dict[str, object]:
    return {
        "instant": clip.instant,
        "view": clip.view,
        "times": clip.times.tolist(),
        "films": clip_films(clip),
    }


def _plot(plot: Plot) -> dict[str, object]:
    curves = [{"name": curve.name, **_series(curve.values)} for curve in (*plot.predictions, plot.baseline)]
    return {
        "view": plot.view,
        "title": plot.title,
        "unit": plot.unit,
        "verdict": plot.verdict,
        "times": plot.times.tolist(),
        "curves": curves,
    }


def _series(values: Interval) -> dict[str, list[float | None]]:
    return {
        "estimate": _numbers(values.estimate),
        "low": _numbers(values.low),
        "high": _numbers(values.high),
    }


def _numbers(values: NDArray[np.float64]) -> list[float | None]:
    """JSON knows no NaN: unknown becomes null."""
    return [float(value) if np.isfinite(value) else None for value in values]


def _json(payload: object) -> str:
    """JSON that cannot end the script element it stands in."""
    return json.dumps(payload, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")


def _verdicts(findings: ModelFindings) -> str:
    model = html.escape(findings.model)
    sides = "\n".join(
        f'<section class="{side.lower()}"><h2>{side} by {model}</h2><ul>\n{_items(items)}\n</ul></section>'
        for side, items in (("Found", findings.found), ("Missed", findings.missed))
    )
    remark = f'<p class="note">{html.escape(findings.remark)}</p>'
    return f'<div data-model="{model}"><div class="verdicts">\n{sides}\n</div>{remark}</div>'


def _items(findings: tuple[Finding, ...]) -> str:
    items = [
        f"<li><b>{html.escape(finding.subject)}</b> <span>{html.escape(finding.figures)}</span></li>"
        for finding in findings
    ]
    return "\n".join(items) or "<li>nothing</li>"


def _table(table: Table) -> str:
    head = "".join(f'<th scope="col">{html.escape(column)}</th>' for column in table.columns)
    body = "\n".join(
        f'<tr><th scope="row">{html.escape(row[0])}</th>'
        + "".join(f"<td>{html.escape(cell)}</td>" for cell in row[1:])
        + "</tr>"
        for row in table.rows
    )
    return (
        f'<div class="scroll"><table><caption>{html.escape(table.title)}</caption>\n'
        f"<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody></table></div>"
    )


def _link(text: str, target: str) -> str:
    return f'<p><a href="{html.escape(target)}">{html.escape(text)}</a></p>'


def _provenance(pairs: tuple[tuple[str, str], ...]) -> str:
    return "\n".join(f"<dt>{html.escape(name)}</dt><dd><code>{html.escape(value)}</code></dd>" for name, value in pairs)
