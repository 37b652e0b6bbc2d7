"""What came of many scenes: kept line by line, told as a table, shown from above."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np

from fourd_ros.errors import InvalidResults
from fourd_ros.evaluation.statistics import wilson_interval
from fourd_ros.evaluation.table import Table
from fourd_ros.records import FloatArray
from fourd_ros.whole_file import whole_file, write_whole

Point = tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class PushResult:
    """One scene with one model.

    Args:
        seed: of the scene.
        model: that the planner imagined with.
        kind: of the object.
        goal: for the object [m].
        start: where it truly was [m].
        end: where it truly ended [m].
        expected: where it was to end; None without a model, or if it already lay there.
        pushes: that were carried out.
        planning_seconds: of all of them [s].
    """

    seed: int
    model: str
    kind: str
    goal: Point
    start: Point
    end: Point
    expected: Point | None
    pushes: int
    planning_seconds: float

    @classmethod
    def from_json(cls, line: str) -> Self:
        """What `json` gave.

        Raises:
            ValueError, TypeError: it is something else.
        """
        values: dict[str, Any] = json.loads(line)
        points = {name: tuple(value) for name, value in values.items() if isinstance(value, list)}
        return cls(**(values | points))

    @property
    def json(self) -> str:
        """All of it in one line."""
        return json.dumps(asdict(self))

    @property
    def distance(self) -> float:
        """From the goal in the end [m]."""
        return float(np.hypot(*np.subtract(self.end, self.goal)))

    @property
    def surprise(self) -> float:
        """From where it was to end [m]; NaN without a model."""
        return np.nan if self.expected is None else float(np.hypot(*np.subtract(self.end, self.expected)))


class ResultFile:
    """Results in a file of JSON lines that is whole at any time; its first line holds the settings behind them.

    Args:
        path: of the file; results that it holds are read.
        settings: that results depend on.

    Raises:
        InvalidResults: it is damaged, or holds results of other settings.
    """

    def __init__(self, path: Path, settings: Mapping[str, Any]) -> None:
        self._path = path
        self._lines = [json.dumps({"settings": settings})]
        self.results: dict[tuple[int, str], PushResult] = {}
        if path.is_file():
            self._read(path.read_text().splitlines())

    def add(self, result: PushResult) -> None:
        """Keep one more."""
        self.results[result.seed, result.model] = result
        self._lines.append(result.json)
        write_whole(self._path, "\n".join(self._lines) + "\n")

    def _read(self, lines: Sequence[str]) -> None:
        if lines[:1] != self._lines:
            raise InvalidResults(f"'{self._path}' holds results of other settings; choose another folder with --out")
        try:
            results = [PushResult.from_json(line) for line in lines[1:]]
        except (TypeError, ValueError) as error:
            raise InvalidResults(f"'{self._path}' is damaged ({error}); remove it, or choose another folder") from error
        self._lines += lines[1:]
        self.results = {(result.seed, result.model): result for result in results}


def summary(results: Iterable[PushResult], models: Sequence[str], *, tolerance: float) -> dict[str, dict[str, Any]]:
    """Figures of every model."""
    by_model = {model: [result for result in results if result.model == model] for model in models}
    return {model: _figures(own, tolerance) for model, own in by_model.items() if own}


def table(figures: Mapping[str, Mapping[str, Any]], *, tolerance: float) -> Table:
    """The figures beside each other."""
    columns = (
        "model",
        "scenes",
        f"within {1e3 * tolerance:.0f} mm",
        "95 % interval",
        "median mm",
        "expected off by mm",
        "planning s",
    )
    rows = tuple(
        (
            model,
            str(row["scenes"]),
            f"{100 * row['success_rate']:.0f} %",
            f"{100 * row['interval'][0]:.0f} to {100 * row['interval'][1]:.0f} %",
            f"{row['median_distance_mm']:.0f}",
            "-" if row["median_surprise_mm"] is None else f"{row['median_surprise_mm']:.0f}",
            f"{row['median_planning_s']:.1f}",
        )
        for model, row in figures.items()
    )
    return Table(title="Objects pushed to a goal", columns=columns, rows=rows)


def draw(results: Iterable[PushResult], models: Sequence[str], path: Path, *, tolerance: float) -> None:
    """From above, turned so that every goal is in the middle and every start to its left: one panel a model."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4 * len(models), 3.4), layout="constrained")
    kept = list(results)
    for axes, model in zip(figure.subplots(1, len(models), squeeze=False)[0], models, strict=True):
        _draw_panel(axes, [result for result in kept if result.model == model], model, tolerance)
    figure.axes[0].legend(loc="upper right", fontsize=7)
    with whole_file(path) as file:
        figure.savefig(file, format="png", dpi=110)


def _draw_panel(axes: Any, results: Sequence[PushResult], model: str, tolerance: float) -> None:
    """In centimetres; what ends outside the panel is not shown."""
    starts, ends = _from_goal(results)
    inside = np.hypot(*ends.T) <= tolerance
    starts, ends = 100 * starts, 100 * ends
    for way in np.stack([starts, ends], axis=1):
        axes.plot(*way.T, color="0.85", linewidth=0.8, zorder=1)
    axes.scatter(*starts.T, s=9, color="0.5", label="start")
    axes.scatter(*ends[inside].T, s=16, color="tab:green", label="end, near enough")
    axes.scatter(*ends[~inside].T, s=16, color="tab:red", label="end")
    turn, radius = np.linspace(0, 2 * np.pi, 100), 100 * tolerance
    axes.plot(radius * np.cos(turn), radius * np.sin(turn), color="black", linewidth=1, label="goal")
    axes.set_title(f"{model}: {inside.sum()} of {len(results)}")
    axes.set(xlabel="cm", aspect="equal", xlim=(-20, 16), ylim=(-14, 14))


def _figures(results: Sequence[PushResult], tolerance: float) -> dict[str, Any]:
    distances = np.array([result.distance for result in results])
    surprises = np.array([result.surprise for result in results])
    known = surprises[np.isfinite(surprises)]
    successes = int((distances <= tolerance).sum())
    interval = wilson_interval(successes, len(results))
    return {
        "scenes": len(results),
        "successes": successes,
        "success_rate": successes / len(results),
        "interval": [float(interval.low), float(interval.high)],
        "median_distance_mm": 1e3 * float(np.median(distances)),
        "median_surprise_mm": 1e3 * float(np.median(known)) if len(known) else None,
        "median_planning_s": float(np.median([result.planning_seconds for result in results])),
    }


def _from_goal(results: Sequence[PushResult]) -> tuple[FloatArray, FloatArray]:
    """Starts and ends seen from the goals, the starts along -x, shape [N, 2] each."""
    goals = np.array([result.goal for result in results]).reshape(-1, 2)
    starts = np.array([result.start for result in results]).reshape(-1, 2) - goals
    ends = np.array([result.end for result in results]).reshape(-1, 2) - goals
    ahead = -starts / np.linalg.norm(starts, axis=1, keepdims=True)
    turned = np.stack([ahead, np.column_stack([-ahead[:, 1], ahead[:, 0]])], axis=1)
    return np.einsum("nij,nj->ni", turned, starts), np.einsum("nij,nj->ni", turned, ends)
