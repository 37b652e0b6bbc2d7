"""Summaries in words and tables: what was found, what was missed, and the figures behind it."""

from collections.abc import Mapping

import numpy as np

from fourd_ros.evaluation.futures import Metric
from fourd_ros.evaluation.statistics import Interval
from fourd_ros.evaluation.summary import MetricSummary, Summary, Verdict
from fourd_ros.evaluation.table import Table

SUBJECTS = {
    "robot_iou": "where the robot will be seen",
    "depth_robot": "how far the robot will be",
    "depth_static": "the scene that stands still",
    "depth_held": "an object in the gripper",
    "depth_free": "objects that are pushed, grasped later, or fall",
}
"""What a metric speaks about, in the words of a headline."""


def findings(summaries: Mapping[str, Summary]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Sentences about what was found and what was missed, camera by camera, each with its figures."""
    found: list[str] = []
    missed: list[str] = []
    for view, summary in summaries.items():
        for name, subject in SUBJECTS.items():
            metric = summary.metrics[name]
            if metric.verdict is Verdict.NOTHING:
                continue
            sentence = f"{subject} ({view} camera): {_figures(metric)}"
            (found if _is_found(metric) else missed).append(sentence)
        silent = 1 - float(summary.metrics["coverage"].prediction_overall.estimate)
        if silent > 0.005:
            missed.append(f"{silent:.1%} of the pixels ({view} camera): nothing is said about what was hidden before")
    return tuple(found), tuple(missed)


def _is_found(metric: MetricSummary) -> bool:
    """Better than the baseline, or so near to the truth that a depth camera could not tell."""
    exact = metric.metric.unit == "mm" and float(metric.prediction_overall.estimate) < metric.metric.tolerance
    return exact or metric.verdict is Verdict.BETTER


def _figures(metric: MetricSummary) -> str:
    prediction, baseline = (float(v.estimate) for v in (metric.prediction_overall, metric.first_frame_overall))
    what = "error" if metric.metric.unit == "mm" else metric.metric.title.split()[-1]
    return (
        f"{what} {show(prediction, metric.metric, unit=True)} against {show(baseline, metric.metric, unit=True)} "
        f"for the first frame repeated{_remark(metric)}"
    )


def _remark(metric: MetricSummary) -> str:
    if metric.verdict is Verdict.WORSE:
        return ", worse than that"
    return "" if _is_found(metric) else ", no better than that"


def overall_table(summaries: Mapping[str, Summary]) -> Table:
    """One row for each camera and metric, averaged over the horizon, with intervals over the instants."""
    rows = [
        (
            metric.metric.title,
            view,
            metric.metric.unit or "-",
            show_interval(metric.prediction_overall, metric.metric),
            show_interval(metric.first_frame_overall, metric.metric),
            metric.verdict.value,
        )
        for view, summary in summaries.items()
        for metric in summary.metrics.values()
        if metric.verdict is not Verdict.NOTHING
    ]
    some = next(iter(summaries.values()))
    return Table(
        title=f"Mean over {some.times[-1]:.1f} s and {some.instants} instants [95 % bootstrap interval over instants]",
        columns=("metric", "camera", "unit", "imagined", "first frame repeated", "imagined is"),
        rows=tuple(rows),
    )


def horizon_table(view: str, summary: Summary) -> Table:
    """One row for each time of the horizon: imagined / first frame repeated."""
    metrics = [metric for metric in summary.metrics.values() if metric.verdict is not Verdict.NOTHING]
    rows = []
    for step, time in enumerate(summary.times):
        pairs = [
            f"{show(float(m.prediction.estimate[step]), m.metric)} / "
            f"{show(float(m.first_frame.estimate[step]), m.metric)}"
            for m in metrics
        ]
        rows.append((f"+{time:.2f} s", *pairs))
    return Table(
        title=f"Over the horizon, {view} camera: imagined / first frame repeated",
        columns=("horizon", *(_short(metric.metric) for metric in metrics)),
        rows=tuple(rows),
    )


def show(value: float, metric: Metric, *, unit: bool = False) -> str:
    """A value in the display unit of its metric, `-` where it is not known."""
    if not np.isfinite(value):
        return "-"
    shown = value * metric.scale
    text = f"{shown:.3f}" if not metric.unit else f"{shown:.1f}"
    return f"{text} {metric.unit}".rstrip() if unit else text


def show_interval(interval: Interval, metric: Metric) -> str:
    """``estimate [low, high]`` in the display unit."""
    estimate, low, high = (show(float(v), metric) for v in (interval.estimate, interval.low, interval.high))
    return f"{estimate} [{low}, {high}]"


def _short(metric: Metric) -> str:
    name = metric.title.replace("depth error, ", "")
    return f"{name} [{metric.unit}]" if metric.unit else name
