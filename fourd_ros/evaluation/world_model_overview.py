"""The results of a split as tables of text beside its goals, and for scripts."""

from typing import Any

import numpy as np

from fourd_ros.evaluation.metric import Metric
from fourd_ros.evaluation.reliability import FLAGGED, Reliability
from fourd_ros.evaluation.results import Aggregate
from fourd_ros.evaluation.table import Table
from fourd_ros.evaluation.world_model_goals import goals_of
from fourd_ros.evaluation.world_model_results import SplitResults

LEAST_DISPLACEMENT, LEAST_GRASPED, LEAST_SEVERAL = 0.10, 0.30, 0.30
"""What a test set must hold: mean way of the objects that move [m], share of grasps, share with several objects."""

BAR = 20
"""Length of a bar that stands for all episodes."""


def _share(title: str) -> Metric:
    return Metric(name=title, unit="%", scale=100.0)


_TRUST = {
    "success": _share("every object within 25 mm of its place"),
    "calibration_error": Metric(name="expected calibration error"),
    "brier": Metric(name="Brier score"),
    "area": Metric(name="area under the ROC curve"),
    "flagged": _share(f"failures with trust below {FLAGGED:g}"),
    "alarms": _share(f"successes with trust below {FLAGGED:g}"),
}
_WARNED = _share("rollouts that carry a warning flag")


def overview(found: SplitResults) -> Table:
    """Every figure of every method, what is asked for, and whether the last method reaches it."""
    goals = {goal.metric.name: goal for goal in goals_of(found.split)}
    rows = []
    for metric in dict.fromkeys(item.metric for item in found.figures.values()):
        items = [found.figures.get((method, metric.name)) for method in found.methods]
        cells = [_cell(item) for item in items]
        goal, last = goals.get(metric.name), items[-1]
        wanted = (goal.text, goal.verdict(last)) if goal and last else ("", "")
        rows.append((metric.label, *cells, *wanted))
    return Table(
        title=f"{found.split}: {len(found.scores)} episodes [95 % interval]",
        columns=("figure", *found.methods, "goal", found.judged),
        rows=tuple(rows),
    )


def _cell(item: Aggregate | None) -> str:
    return item.metric.show_interval(item.mean) if item and np.isfinite(item.mean.estimate) else "-"


def verdicts(found: SplitResults) -> list[str]:
    """What the last method reaches and what not, a phrase for each goal."""
    items = ((goal, found.figures.get((found.judged, goal.metric.name))) for goal in goals_of(found.split))
    return [f"{goal.metric.label} {goal.text}: {goal.verdict(item)}" for goal, item in items if item]


def episodes_table(found: SplitResults) -> Table:
    """What happens in the episodes, beside what a test set must hold."""
    facts = found.statistics
    shares = {
        "an object is carried": (facts.grasped, LEAST_GRASPED),
        "several objects": (facts.several, LEAST_SEVERAL),
        "nothing moves": (facts.still, None),
        "objects seen in the first frame": (facts.visible, None),
    }
    way = _verdict(facts.displacement, LEAST_DISPLACEMENT)
    rows = [
        (
            "mean way of objects that move",
            f"{100 * facts.displacement:.1f} cm",
            f">= {100 * LEAST_DISPLACEMENT:g} cm",
            way,
        )
    ]
    for name, (value, least) in shares.items():
        wanted = ("", "") if least is None else (f">= {least:.0%}", _verdict(value, least))
        rows.append((name, f"{value:.0%}", *wanted))
    return Table(title=f"{found.split}: what happens", columns=("", "value", "needed", "verdict"), rows=tuple(rows))


def _verdict(value: float, least: float) -> str:
    return "met" if value >= least else "missed"


def trust_table(found: SplitResults) -> Table | None:
    """How reliable the trust is, and how often a flag warns; None where no method gives any trust."""
    known = {method: item for method in found.methods if (item := found.reliability(method)) is not None}
    if not known:
        return None
    rows = [
        (metric.label, *(metric.show_interval(getattr(item, name)) for item in known.values()))
        for name, metric in _TRUST.items()
    ]
    rows.append((_WARNED.label, *(_WARNED.show_interval(found.warned(method)) for method in known)))
    return Table(title=f"{found.split}: trust", columns=("figure", *known), rows=tuple(rows))


def reliability_table(found: SplitResults) -> Table | None:
    """The reliability diagram in words: what came of futures that are trusted alike; None without trust."""
    judged = found.reliability(found.methods[-1])
    if judged is None:
        return None
    rows = tuple(
        (f"{trust:.2f}", f"{success:.2f}", f"{units:.0f}", "█" * round(BAR * success))
        for trust, success, units in judged.bins
    )
    return Table(
        title=f"{found.split}: reliability of {found.methods[-1]}",
        columns=("trust", "went as imagined", "episodes", "diagram"),
        rows=rows,
    )


def as_json(found: SplitResults) -> dict[str, Any]:
    """Everything for scripts, in display units."""
    return {
        "episodes": len(found.scores),
        "statistics": vars(found.statistics),
        "figures": {
            method: {item.metric.name: _numbers(item) for item in found.known_of(method)} for method in found.methods
        },
        "judged": found.judged,
        "goals": [
            {"metric": goal.metric.name, "goal": goal.text, "met": goal.is_met(item), "verdict": goal.verdict(item)}
            for goal in goals_of(found.split)
            if (item := found.figures.get((found.judged, goal.metric.name))) is not None
        ],
        "trust": {
            method: _trust(trust) for method in found.methods if (trust := found.reliability(method)) is not None
        },
    }


def _numbers(aggregate: Aggregate) -> dict[str, float | int]:
    mean, scale = aggregate.mean, aggregate.metric.scale
    ends = {name: scale * float(getattr(mean, name)) for name in ("estimate", "low", "high")}
    return {**ends, "count": int(mean.count)}


def _trust(found: Reliability) -> dict[str, Any]:
    intervals = {name: getattr(found, name) for name in _TRUST}
    ends = {name: [_plain(end) for end in (item.estimate, item.low, item.high)] for name, item in intervals.items()}
    return {**ends, "bins": found.bins.tolist()}


def _plain(value: "np.typing.NDArray[np.float64]") -> float | None:
    return float(value) if np.isfinite(value) else None
