"""Summaries in words and tables: what was found, what was missed, and the figures behind it."""

from collections.abc import Mapping
from dataclasses import dataclass

from fourd_ros.evaluation.metric import Metric, Verdict
from fourd_ros.evaluation.summary import MetricSummary, Summary
from fourd_ros.evaluation.table import Table

SUBJECTS = {
    "robot_iou": "Where the robot will be seen",
    "depth_robot": "How far away the robot will be",
    "depth_static": "What stands still",
    "depth_held": "Objects already in the gripper",
    "depth_free": "Objects that are pushed, grasped later, or fall",
    "psnr": "Light, shadows and colours",
}
"""What a metric speaks about, in the words of a headline."""

MENTIONED_SILENCE = 0.005
"""A larger share of pixels without a prediction is mentioned."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that was found or missed.

    Args:
        subject: what it is about.
        figures: how well it was predicted, against the first frame repeated, camera by camera.
    """

    subject: str
    figures: str

    def __str__(self) -> str:
        return f"{self.subject}: {self.figures}"


def findings(summaries: Mapping[str, Summary]) -> tuple[tuple[Finding, ...], tuple[Finding, ...]]:
    """What was found and what was missed; a subject stands on both sides when the cameras disagree."""
    found: list[Finding] = []
    missed: list[Finding] = []
    for name, subject in SUBJECTS.items():
        seen = {view: summary.metrics[name] for view, summary in summaries.items()}
        seen = {view: metric for view, metric in seen.items() if metric.verdict is not Verdict.NOTHING}
        for side, wanted in ((found, True), (missed, False)):
            figures = [_figures(view, metric) for view, metric in seen.items() if _is_found(metric) is wanted]
            if figures:
                what = _quantity(next(iter(seen.values())).metric)
                side.append(Finding(subject=subject, figures=f"{what} {', '.join(figures)}"))
    silent = {view: 1 - float(s.metrics["coverage"].prediction_overall.estimate) for view, s in summaries.items()}
    figures = [f"{share:.1%} of the pixels ({view})" for view, share in silent.items() if share > MENTIONED_SILENCE]
    if figures:
        missed.append(Finding(subject="What was hidden before", figures="; ".join(figures) + " are left unknown"))
    return tuple(found), tuple(missed)


def _is_found(metric: MetricSummary) -> bool:
    """So near to the truth that a depth camera could not tell, or good and better than the baseline."""
    reached = float(metric.prediction_overall.estimate)
    if metric.metric.unit == "mm" and reached < metric.metric.tolerance:
        return True
    return metric.metric.is_good(reached) and metric.verdict is Verdict.BETTER


def _quantity(metric: Metric) -> str:
    return "error" if metric.unit == "mm" else metric.title.split()[-1]


def _figures(view: str, metric: MetricSummary) -> str:
    prediction, baseline = (float(v.estimate) for v in (metric.prediction_overall, metric.first_frame_overall))
    shown = [metric.metric.show(value, unit=True) for value in (prediction, baseline)]
    return f"{shown[0]} against {shown[1]} ({view}{_remark(metric)})"


def _remark(metric: MetricSummary) -> str:
    if _is_found(metric):
        return ""
    remarks = {Verdict.WORSE: ", worse", Verdict.BETTER: ", better but not good"}
    return remarks.get(metric.verdict, ", no better")


def overall_table(models: Mapping[str, Mapping[str, Summary]]) -> Table:
    """One row for each camera and metric, averaged over the horizon, with intervals over the instants.

    Args:
        models: summaries by camera, of each model; the best model is the last one.
    """
    best, last = list(models.items())[-1]
    rows = []
    for view, summary in last.items():
        for name, metric in summary.metrics.items():
            judged = [views[view].metrics[name] for views in models.values()]
            if all(one.verdict is Verdict.NOTHING for one in judged):
                continue
            values = [metric.metric.show_interval(one.prediction_overall) for one in judged]
            baseline = metric.metric.show_interval(metric.first_frame_overall)
            unit = metric.metric.unit or "-"
            rows.append((metric.metric.title, view, unit, *values, baseline, metric.verdict.value))
    some = next(iter(last.values()))
    return Table(
        title=f"Mean over {some.times[-1]:.1f} s and {some.instants} instants [95 % bootstrap interval over instants]",
        columns=("metric", "camera", "unit", *models, "first frame repeated", f"{best} is"),
        rows=tuple(rows),
    )


def horizon_table(model: str, view: str, summary: Summary) -> Table:
    """One row for each time of the horizon: what the model imagined / first frame repeated."""
    metrics = [metric for metric in summary.metrics.values() if metric.verdict is not Verdict.NOTHING]
    rows = []
    for step, time in enumerate(summary.times):
        pairs = [
            f"{m.metric.show(float(m.prediction.estimate[step]))} / "
            f"{m.metric.show(float(m.first_frame.estimate[step]))}"
            for m in metrics
        ]
        rows.append((f"+{time:.2f} s", *pairs))
    return Table(
        title=f"Over the horizon, {view} camera: {model} / first frame repeated",
        columns=("horizon", *(_short(metric.metric) for metric in metrics)),
        rows=tuple(rows),
    )


def _short(metric: Metric) -> str:
    return metric.label.replace("depth error, ", "")
