"""The page of a report: charts, sortable tables and pictures in one file that loads nothing."""

import html
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from fourd_ros.evaluation.metric import Metric, Verdict
from fourd_ros.evaluation.results import Aggregate, ResultTable
from fourd_ros.viewer.blocks import chart_html, data_address
from fourd_ros.viewer.templates import fill, scripts, styles


@dataclass(frozen=True, kw_only=True)
class Section:
    """One table on the page.

    Args:
        table: what was measured.
        aggregates: what is shown of it, by method and name of the metric.
        lead: how to read it, one or two sentences.
        charts: PNG by scheme, ``light`` and ``dark``; empty where nothing is known.
        files: beside the page, text by relative address.
    """

    table: ResultTable
    aggregates: Mapping[tuple[str, str], Aggregate]
    lead: str
    charts: Mapping[str, bytes]
    files: Mapping[str, str]


def render_report(
    *, title: str, notes: Sequence[str], sections: Sequence[Section], pictures: Sequence[tuple[str, bytes]]
) -> str:
    """The page as one HTML text.

    Args:
        title: heading.
        notes: paragraphs below it.
        sections: tables in reading order.
        pictures: pairs of caption and PNG.
    """
    body = "\n".join((*map(_section, sections), _pictures(pictures)))
    return report_html(title=title, notes=notes, body=body)


def report_html(*, title: str, notes: Sequence[str], body: str) -> str:
    """A page with the look of all reports.

    Args:
        title: heading.
        notes: paragraphs below it.
        body: sections as HTML.
    """
    parts = {
        "title": html.escape(title),
        "notes": "\n".join(f'  <p class="lead">{html.escape(note)}</p>' for note in notes),
        "body": body,
        "style": styles("base.css", "report.css"),
        "scripts": scripts(("errors.js", "report.js")),
    }
    return fill("report.html", parts)


def _section(section: Section) -> str:
    title = html.escape(section.table.title)
    return "\n".join(
        (
            f"<section>\n<h2>{title}</h2>\n<p>{html.escape(section.lead)}</p>",
            _chart(section),
            _table(section),
            _meanings(section.table.metrics),
            _files(section.files),
            "</section>",
        )
    )


def _chart(section: Section) -> str:
    alternative = f"Means with intervals: {section.table.title}; the table below holds the same figures"
    return chart_html(section.charts, alternative=alternative)


def _table(section: Section) -> str:
    table = section.table
    columns = ["metric", "method", "mean [interval]"]
    if table.baseline is not None:
        columns += [f"difference to {table.baseline} [interval]", "verdict"]
    columns.append(f"{table.unit_name}s")
    kinds = ["text" if name in ("metric", "method", "verdict") else "number" for name in columns]
    head = "".join(f'<th scope="col" class="{k}">{html.escape(c)}</th>' for c, k in zip(columns, kinds, strict=True))
    body = "\n".join(
        _row(section.aggregates[method, metric.name], table) for metric in table.metrics for method in table.methods
    )
    return f'<div class="scroll"><table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody></table></div>'


def _row(aggregate: Aggregate, table: ResultTable) -> str:
    metric = aggregate.metric
    cells = [
        f'<th scope="row">{html.escape(metric.label)}</th>',
        f'<td class="text">{html.escape(aggregate.method)}</td>',
        _value(metric, aggregate),
    ]
    if table.baseline is not None:
        cells += [_difference(metric, aggregate), _verdict(aggregate.verdict)]
    count = int(aggregate.mean.count)
    infinite = f" + {aggregate.infinite} infinite" if aggregate.infinite else ""
    cells.append(f'<td data-value="{count}">{count}{infinite} of {len(table.units)}</td>')
    kind = ' class="baseline"' if aggregate.method == table.baseline else ""
    return f"<tr{kind}>{''.join(cells)}</tr>"


def _value(metric: Metric, aggregate: Aggregate) -> str:
    return _interval(float(aggregate.mean.estimate), metric.show_interval(aggregate.mean))


def _difference(metric: Metric, aggregate: Aggregate) -> str:
    if aggregate.difference is None:
        return '<td data-value=""></td>'
    return _interval(float(aggregate.difference.estimate), metric.show_interval(aggregate.difference, signed=True))


def _interval(value: float, shown: str) -> str:
    if not np.isfinite(value):
        return '<td data-value="">-</td>'
    estimate, interval = map(html.escape, shown.split(" ", 1))
    return f'<td data-value="{value:.12g}">{estimate} <span class="interval">{interval}</span></td>'


def _verdict(verdict: Verdict | None) -> str:
    if verdict is None:
        return '<td class="text" data-value=""></td>'
    word = html.escape(verdict.value)
    return f'<td class="text"><span class="badge {word}">{word}</span></td>'


def _meanings(metrics: Iterable[Metric]) -> str:
    meanings = "\n".join(
        f"<dt>{html.escape(metric.label)}</dt><dd>{html.escape(_meaning(metric))}</dd>" for metric in metrics
    )
    return f"<details><summary>What the metrics mean</summary><dl>\n{meanings}\n</dl></details>"


def _meaning(metric: Metric) -> str:
    direction = "more is better" if metric.higher_is_better else "less is better"
    return f"{direction}; {metric.source}" if metric.source else direction


def _files(files: Mapping[str, str]) -> str:
    links = "".join(
        f'<li><a href="{html.escape(address)}">{html.escape(text)}</a></li>' for address, text in files.items()
    )
    return f'<ul class="files">{links}</ul>'


def _pictures(pictures: Sequence[tuple[str, bytes]]) -> str:
    if not pictures:
        return ""
    figures = "\n".join(
        f'<figure><img src="{data_address(picture, "image/png")}" alt="{html.escape(caption)}">'
        f"<figcaption>{html.escape(caption)}</figcaption></figure>"
        for caption, picture in pictures
    )
    return f'<section>\n<h2>Pictures</h2>\n<div class="pictures">\n{figures}\n</div>\n</section>'
