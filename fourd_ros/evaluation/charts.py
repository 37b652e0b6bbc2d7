"""Charts as PNG: how all of them look, and the chart of a table of results, a panel a metric and a dot a method."""

import io
import math
import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle
from typing import TYPE_CHECKING, Literal

import numpy as np

from fourd_ros.evaluation.metric import Metric
from fourd_ros.evaluation.results import Aggregate, ResultTable

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MAX_METHODS = 40
"""A chart shows the first methods only, or nobody can read it."""

PANELS_ACROSS = 3
WIDTH = 9.0
"""Of the picture [inch]."""

DPI = 150
TITLE_CHARACTERS = 34
"""In one line of the title of a panel."""

MARKERS = "os^Dvp"


@dataclass(frozen=True, kw_only=True)
class Palette:
    """Colours of one scheme; those of the methods keep apart for all kinds of colour vision (Okabe and Ito 2008)."""

    paper: str
    ink: str
    quiet: str
    line: str
    methods: tuple[str, ...]


LIGHT = Palette(
    paper="#ffffff",
    ink="#1b2026",
    quiet="#5c6670",
    line="#dcdfe3",
    methods=("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#997300", "#56b4e9"),
)
DARK = Palette(
    paper="#1c2026",
    ink="#e8eaed",
    quiet="#9aa4ae",
    line="#323942",
    methods=("#56b4e9", "#e69f00", "#2fc79b", "#e79ac6", "#f0e442", "#4f94d4"),
)


def draw_chart(
    table: ResultTable, aggregates: Mapping[tuple[str, str], Aggregate], *, palette: Palette = LIGHT
) -> bytes | None:
    """A table as PNG; the same table gives the same bytes with the same version of matplotlib.

    Args:
        table: what is shown.
        aggregates: as from ``table.aggregate()``.
        palette: colours.

    Returns:
        None where no mean is known.
    """
    shown = [metric for metric in table.metrics if _is_known(metric, aggregates)]
    if not shown:
        return None
    methods = table.methods[:MAX_METHODS]
    across = min(PANELS_ACROSS, len(shown))
    down = math.ceil(len(shown) / across)

    def paint(figure: "Figure") -> None:
        panels = np.atleast_1d(figure.subplots(down, across, sharey=True)).ravel()
        for panel, metric in zip(panels, shown, strict=False):
            _draw_panel(panel, metric, [aggregates[method, metric.name] for method in methods], table, palette)
        for panel in panels[len(shown) :]:
            panel.set_axis_off()

    return draw_png(paint, width=WIDTH, height=down * (1.0 + 0.27 * len(methods)), palette=palette)


def draw_png(paint: "Callable[[Figure], None]", *, width: float, height: float, palette: Palette) -> bytes:
    """A figure as PNG, whatever style is set elsewhere; the same strokes give the same bytes.

    Args:
        paint: draws on the empty figure.
        width: of the picture [inch].
        height: of the picture [inch].
        palette: colours.
    """
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams["font.size"] = 9
        figure = Figure(figsize=(width, height), dpi=DPI, layout=ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.1))
        figure.set_facecolor(palette.paper)
        FigureCanvasAgg(figure)
        paint(figure)
        picture = io.BytesIO()
        figure.savefig(picture, format="png", dpi=DPI, metadata={"Software": None})
    return picture.getvalue()


def dress(panel: "Axes", palette: Palette, *, title: str, lines: Literal["x", "both"] = "x") -> None:
    """Give a panel the look of all charts.

    Args:
        panel: what is dressed.
        palette: colours.
        title: of the panel.
        lines: along which axis values are read off.
    """
    panel.set_title(title, color=palette.ink, fontsize=9, loc="left", parse_math=False)
    panel.tick_params(colors=palette.quiet, labelsize=8, length=0)
    panel.set_facecolor(palette.paper)
    panel.grid(axis=lines, color=palette.line, linewidth=0.8)
    panel.set_axisbelow(True)
    for side, spine in panel.spines.items():
        spine.set_visible(side == "left")
        spine.set_color(palette.line)


def _is_known(metric: Metric, aggregates: Mapping[tuple[str, str], Aggregate]) -> bool:
    return any(a.metric.name == metric.name and np.isfinite(a.mean.estimate) for a in aggregates.values())


def _draw_panel(
    panel: "Axes", metric: Metric, aggregates: Sequence[Aggregate], table: ResultTable, palette: Palette
) -> None:
    rivals = [aggregate.method for aggregate in aggregates if aggregate.method != table.baseline]
    colours = dict(zip(rivals, cycle(palette.methods), strict=False))
    for row, aggregate in enumerate(aggregates):
        estimate, low, high = (
            metric.scale * float(v) for v in (aggregate.mean.estimate, aggregate.mean.low, aggregate.mean.high)
        )
        is_baseline = aggregate.method == table.baseline
        colour = palette.quiet if is_baseline else colours[aggregate.method]
        panel.plot([low, high], [row, row], color=colour, linewidth=2, solid_capstyle="round")
        panel.plot(
            estimate,
            row,
            MARKERS[row % len(MARKERS)],
            color=colour,
            markersize=6,
            markerfacecolor=palette.paper if is_baseline else colour,
            markeredgewidth=1.6,
        )
        if is_baseline and np.isfinite(estimate):
            panel.axvline(estimate, color=palette.quiet, linewidth=1, linestyle=(0, (4, 3)), zorder=0)
    arrow = "more is better →" if metric.higher_is_better else "← less is better"
    dress(panel, palette, title=textwrap.fill(metric.label, TITLE_CHARACTERS))
    panel.set_xlabel(arrow, color=palette.quiet, fontsize=8)
    panel.set_yticks(range(len(aggregates)), [aggregate.method for aggregate in aggregates], parse_math=False)
    panel.set_ylim(len(aggregates) - 0.5, -0.5)
    panel.margins(x=0.08)
    for label in panel.get_yticklabels():
        label.set_color(palette.ink)
