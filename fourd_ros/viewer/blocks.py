"""Pieces of HTML that pages of results are put together from; all text is escaped here."""

import base64
import html
import re
from collections.abc import Collection, Iterable, Mapping, Sequence

from fourd_ros.evaluation.table import Table

_NUMBER = re.compile(r"[+-]?\d+(\.\d+)?")


def data_address(content: bytes, kind: str) -> str:
    """An address that holds what it points to.

    Args:
        content: of the file.
        kind: its media type.
    """
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def chart_html(charts: Mapping[str, bytes], *, alternative: str) -> str:
    """A chart in both schemes; nothing where there is none.

    Args:
        charts: PNG by scheme, ``light`` and ``dark``.
        alternative: text in place of the picture.
    """
    if not charts:
        return ""
    images = (
        f'<img class="{scheme}" src="{data_address(picture, "image/png")}" alt="{html.escape(alternative)}">'
        for scheme, picture in charts.items()
    )
    return f'<div class="chart">{"".join(images)}</div>'


def table_html(table: Table, *, verdicts: Collection[str] = ()) -> str:
    """A table that sorts by the number at the beginning of a cell.

    Args:
        table: text; one without a title has no caption.
        verdicts: words at the end of a cell that become badges, named like their class in ``report.css``.
    """
    head = "".join(f'<th scope="col">{html.escape(name)}</th>' for name in table.columns)
    body = "\n".join(_row(row, verdicts) for row in table.rows)
    caption = f"<caption>{html.escape(table.title)}</caption>" if table.title else ""
    return (
        f'<div class="scroll"><table>{caption}\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody></table></div>'
    )


def _row(cells: Sequence[str], verdicts: Collection[str]) -> str:
    name, *values = cells
    shown = "".join(_cell(value, verdicts) for value in values)
    return f'<tr><th scope="row">{html.escape(name)}</th>{shown}</tr>'


def _cell(text: str, verdicts: Collection[str]) -> str:
    number = _NUMBER.match(text)
    value = f' data-value="{float(number[0]):g}"' if number else ""
    rest, _, word = text.rpartition(" ")
    if word in verdicts:
        return f'<td{value}>{html.escape(rest)} <span class="badge {html.escape(word)}">{html.escape(word)}</span></td>'
    return f"<td{value}>{html.escape(text)}</td>"


def list_html(items: Iterable[str]) -> str:
    """Sentences one below the other."""
    return f"<ul>{''.join(f'<li>{html.escape(item)}</li>' for item in items)}</ul>"


def facts_html(facts: Mapping[str, str]) -> str:
    """Names and what they stand for."""
    return f"<dl>{''.join(f'<dt>{html.escape(k)}</dt><dd>{html.escape(v)}</dd>' for k, v in facts.items())}</dl>"


def films_html(films: Iterable[tuple[str, bytes]]) -> str:
    """Films beside each other; nothing plays by itself.

    Args:
        films: pairs of caption and mp4.
    """
    figures = "\n".join(
        f'<figure><video controls loop muted playsinline src="{data_address(mp4, "video/mp4")}"></video>'
        f"<figcaption>{html.escape(caption)}</figcaption></figure>"
        for caption, mp4 in films
    )
    return f'<div class="pictures">\n{figures}\n</div>' if figures else ""
