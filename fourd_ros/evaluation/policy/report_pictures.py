"""Charts of a task: policies ranked by their true success, imagined against true success, calibration."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from fourd_ros.evaluation.charts import MARKERS, WIDTH, Palette, draw_png, dress
from fourd_ros.evaluation.label_places import place_labels
from fourd_ros.evaluation.policy.task_summary import TaskSummary
from fourd_ros.evaluation.reliability_diagram import paint_reliability
from fourd_ros.evaluation.statistics import Interval

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FloatArray = NDArray[np.float64]

ROW = 0.3
"""Height of a policy in the ranking [inch]."""

AGREEMENT_HEIGHT = 4.7
SQUARE = 3.6
"""About the side of the scatter plot, for which labels are placed [inch]."""

MARGIN = 0.06
"""Of the axes beyond 0 and 1."""

APART = 0.17
"""From the middle of a row to each of its two dots, in rows."""


def ranking_chart(summary: TaskSummary, palette: Palette) -> bytes:
    """PNG: policies from the best to the worst true success, imagined and true rates with Wilson's intervals."""

    def paint(figure: "Figure") -> None:
        panel = figure.subplots()
        order = summary.ranking
        sides = {"imagined": summary.agreement.imagined_rates}
        if summary.has_truth:
            sides["true"] = summary.agreement.true_rates
        for number, (side, rates) in enumerate(sides.items()):
            rows = np.arange(len(order), dtype=np.float64) + (2 * number - 1) * APART * (len(sides) > 1)
            _paint_rates(panel, rates, order, rows, palette=palette, number=number, label=side)
        marked = "; * sloppy" if summary.sloppy.any() else ""
        names = [numbered(summary, place) for place in range(len(order))]
        dress(panel, palette, title=f"{summary.task}: policies by their success{marked}")
        panel.set_xlabel("success [% of the start states], Wilson's interval", color=palette.quiet)
        panel.set_yticks(range(len(order)), names, parse_math=False)
        for name in panel.get_yticklabels():
            name.set_color(palette.ink)
        panel.set(xlim=(-2, 102), ylim=(len(order) - 0.4, -0.6))
        panel.legend(
            frameon=False, loc="lower right", bbox_to_anchor=(1, 1), ncols=2, labelcolor=palette.ink, borderaxespad=0.2
        )

    return draw_png(paint, width=WIDTH, height=1.0 + ROW * len(summary.policies), palette=palette)


def agreement_chart(summary: TaskSummary, bins: Mapping[str, FloatArray], palette: Palette) -> bytes:
    """PNG: imagined against true success with the numbers of the ranking, and the reliability of probabilities.

    Args:
        summary: of the task.
        bins: of the reliability diagram by method.
        palette: colours.
    """

    def paint(figure: "Figure") -> None:
        scatter, reliability = figure.subplots(1, 2)
        _paint_scatter(scatter, summary, palette)
        paint_reliability(
            reliability,
            bins,
            palette=palette,
            score="imagined probability of success",
            success="share of true successes",
            title="Is the imagined probability right?",
        )
        reliability.set_box_aspect(1)

    return draw_png(paint, width=WIDTH, height=AGREEMENT_HEIGHT, palette=palette)


def numbered(summary: TaskSummary, place: int) -> str:
    """A policy by its place in the ranking, which is its number in the scatter plot; a star marks the sloppy ones."""
    policy = summary.ranking[place]
    return f"{summary.policies[policy]}{' *' if summary.sloppy[policy] else ''}  {place + 1}"


def _paint_rates(
    panel: "Axes", rates: Interval, order: list[int], rows: FloatArray, *, palette: Palette, number: int, label: str
) -> None:
    colour = palette.methods[number]
    estimate, low, high = (100 * part[order] for part in (rates.estimate, rates.low, rates.high))
    known = np.isfinite(estimate)
    panel.hlines(rows[known], low[known], high[known], color=colour, linewidth=2)
    panel.plot(estimate[known], rows[known], MARKERS[number], color=colour, markersize=5.5, label=label)


def _paint_scatter(panel: "Axes", summary: TaskSummary, palette: Palette) -> None:
    order = summary.ranking
    imagined, true = summary.agreement.imagined_rates, summary.agreement.true_rates
    x, y = 100 * true.estimate[order], 100 * imagined.estimate[order]
    known = np.isfinite(x) & np.isfinite(y)
    panel.plot([0, 100], [0, 100], color=palette.quiet, linewidth=1, linestyle=(0, (4, 3)), zorder=1)
    colour = palette.methods[0]
    left, right, low, high = (100 * end[order][known] for end in (true.low, true.high, imagined.low, imagined.high))
    panel.hlines(y[known], left, right, color=colour, alpha=0.3)
    panel.vlines(x[known], low, high, color=colour, alpha=0.3)
    panel.plot(x[known], y[known], "o", color=colour, markersize=5, zorder=3)
    _paint_labels(
        panel, np.stack([x[known], y[known]], axis=1), [int(place) + 1 for place in np.flatnonzero(known)], palette
    )
    dress(panel, palette, title=f"{summary.task}: imagined against true; numbers as above", lines="both")
    panel.set(xlim=(-100 * MARGIN, 100 * (1 + MARGIN)), ylim=(-100 * MARGIN, 100 * (1 + MARGIN)))
    panel.set_xlabel("true success [%]", color=palette.quiet)
    panel.set_ylabel("imagined success [%]", color=palette.quiet)
    panel.set_box_aspect(1)


def _paint_labels(panel: "Axes", points: FloatArray, numbers: Sequence[int], palette: Palette) -> None:
    inches = SQUARE / (100 * (1 + 2 * MARGIN))
    for label in place_labels((points + 100 * MARGIN) * inches, (SQUARE, SQUARE), numbers=numbers):
        point, edge, place = (end / inches - 100 * MARGIN for end in (label.point, label.edge, label.place))
        if label.is_far:
            panel.plot(*np.stack([point, edge], axis=1), color=palette.quiet, linewidth=0.6, zorder=2)
        panel.text(place[0], place[1], label.text, color=palette.ink, fontsize=8, ha="center", va="center", zorder=4)
