"""Pictures of an evaluation: what was imagined beside what happened, and how reliable the trust is."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np

from fourd_ros.evaluation.charts import LIGHT, draw_png
from fourd_ros.evaluation.reliability import Reliability
from fourd_ros.evaluation.reliability_diagram import paint_reliability
from fourd_ros.evaluation.report import Picture
from fourd_ros.evaluation.tabletop_pixels import XYZ_MOVED
from fourd_ros.evaluation.tabletop_run import Evaluation, episode_of, load_models, seen_depth
from fourd_ros.evaluation.tabletop_truth import Truth
from fourd_ros.evaluation.world_model import EpisodeScores, first_view, imagine
from fourd_ros.evaluation.world_model_results import SplitResults
from fourd_ros.records import Pixels

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FRAMES = 4
"""Later ones in a film strip, equally far apart; the last is among them."""

GAP = 2
"""Pixels between the frames of a film strip."""


def pictures(evaluation: Evaluation, found: SplitResults) -> Iterator[Picture]:
    """Film strips of the best, the middle and the worst episode of the last method, and its reliability diagram."""
    known = [scores for scores in found.scores if np.isfinite(_error(scores, found.judged))]
    ranked = sorted(known, key=lambda scores: _error(scores, found.judged))
    places = {"best": 0, "middle": len(ranked) // 2, "worst": len(ranked) - 1} if ranked else {}
    for name, place in places.items():
        scores = ranked[place]
        error = XYZ_MOVED.show(_error(scores, found.judged), unit=True)
        which = f"{found.split}, {name} of {len(ranked)} by {XYZ_MOVED.title} of {found.judged}, {error}"
        rows = f"rows: recorded, {', '.join(load_models(evaluation))}"
        yield Picture(caption=f"{which}: {scores.name}, {scores.task}; {rows}", rgb=film_strip(evaluation, scores))
    trusted = {method: item for method in found.methods if (item := found.reliability(method)) is not None}
    if trusted:
        caption = f"{found.split}: trust beside the share of episodes in which every object ends within 25 mm"
        yield Picture(caption=caption, rgb=reliability_diagram(trusted))


def _error(scores: EpisodeScores, method: str) -> float:
    return scores.methods[method].values[XYZ_MOVED.name]


def film_strip(evaluation: Evaluation, scores: EpisodeScores) -> Pixels:
    """First frame and later ones, recorded and as every backend imagines them, a row each."""
    from fourd_ros.simulation.tabletop import commanded_motion

    episode = episode_of(evaluation, scores.seed)
    truth = Truth(episode)
    start = first_view(truth, seen_depth(evaluation, episode))
    steps = len(truth.robot) - 1
    chosen = (np.arange(1, FRAMES + 1) * steps // FRAMES) - 1
    rows = [truth.view.rgb[1:][chosen]]
    for model in load_models(evaluation).values():
        rows.append(imagine(model, truth, start, commanded_motion(episode)).frames.rgb[chosen])
    return _grid([[start.rgb, *row] for row in rows])


def _grid(rows: list[list[Pixels]]) -> Pixels:
    """Pictures of one size side by side and below each other, on white."""
    framed = [[np.pad(picture, ((0, GAP), (0, GAP), (0, 0)), constant_values=255) for picture in row] for row in rows]
    return np.concatenate([np.concatenate(row, axis=1) for row in framed])


def reliability_diagram(found: Mapping[str, Reliability]) -> Pixels:
    """Share of successes over trust, a line a method; on the diagonal the trust is the probability it claims to be."""
    import cv2

    def paint(figure: "Figure") -> None:
        bins = {method: item.bins for method, item in found.items()}
        paint_reliability(
            figure.subplots(), bins, palette=LIGHT, score="trust", success="episodes that went as imagined"
        )

    png = draw_png(paint, width=4.5, height=4.2, palette=LIGHT)
    return np.asarray(cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR))[..., ::-1]
