"""The reliability diagram: what came of what was trusted alike."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from fourd_ros.evaluation.charts import MARKERS, Palette, dress

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LARGEST_DOT = 90
"""Area of the dot of the fullest bin [pt^2]."""


def paint_reliability(
    panel: "Axes",
    bins: Mapping[str, NDArray[np.float64]],
    *,
    palette: Palette,
    score: str,
    success: str,
    title: str = "",
) -> None:
    """Share of successes over the score, a line a method; on the diagonal a score is the probability it claims to be.

    Args:
        panel: what is painted on.
        bins: of each method, as from `reliability.reliability_bins`.
        palette: colours.
        score: what the scores are called.
        success: what a success is called.
        title: of the panel.
    """
    panel.plot([0, 1], [0, 1], color=palette.quiet, linewidth=1, linestyle=(0, (4, 3)))
    for number, (method, found) in enumerate(bins.items()):
        if not len(found):
            continue
        colour, marker = palette.methods[number % len(palette.methods)], MARKERS[number % len(MARKERS)]
        mean_score, share, units = found.T
        panel.plot(mean_score, share, color=colour, linewidth=1.5, clip_on=False)
        sizes = LARGEST_DOT * units / units.max()
        panel.scatter(mean_score, share, s=sizes, color=colour, marker=marker, label=method, clip_on=False, zorder=3)
    dress(panel, palette, title=title, lines="both")
    panel.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    panel.set_xlabel(score, color=palette.quiet)
    panel.set_ylabel(success, color=palette.quiet)
    if any(map(len, bins.values())):
        legend = panel.legend(frameon=False, loc="upper left", labelcolor=palette.ink, fontsize=8)
        for text in legend.get_texts():
            text.set_parse_math(False)
