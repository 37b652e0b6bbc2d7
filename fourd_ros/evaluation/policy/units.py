"""The unit of an evaluation: one policy, one task, one start, one seed; what came of it, and the file that keeps it."""

import csv
import io
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fourd_ros.errors import FourdError, InvalidResults, TooLarge
from fourd_ros.evaluation.statistics import mean_of_known
from fourd_ros.whole_file import write_whole

FloatArray = NDArray[np.float64]

IMAGINED, TRUE = "imagined", "true"

MAX_BYTES = 500_000_000
"""Largest file that is read."""


@dataclass(frozen=True, kw_only=True, order=True)
class Unit:
    """What is tried once.

    Args:
        task: kind of task.
        policy: name of the policy.
        start: number of the start state.
        seed: of the policy and of the model.
    """

    task: str
    policy: str
    start: int
    seed: int


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What came of a unit in one world.

    Args:
        success: whether the task was done; None where that is not known (invalid, or abstained).
        probability: that the task was done, as far as the world knows; NaN where unknown.
        invalid: why it does not count, empty where it does.
        trust: in the world's own account, 0 to 1; NaN where it says nothing.
        abstained: the trust was too low to judge.
        seconds: of computing.
    """

    success: bool | None
    probability: float = math.nan
    invalid: str = ""
    trust: float = math.nan
    abstained: bool = False
    seconds: float = math.nan

    @property
    def counts(self) -> bool:
        """Whether it tells of success: neither invalid nor abstained, nor unknown for another reason."""
        return self.success is not None and not self.invalid and not self.abstained


def invalid_outcome(error: Exception) -> Outcome:
    """Of a unit whose policy failed, whatever it raised: policies are not ours."""
    reason = f"{error.kind}: {error}" if isinstance(error, FourdError) else f"{type(error).__name__}: {error}"
    return Outcome(success=None, invalid=reason)


@dataclass(frozen=True, kw_only=True)
class UnitResult:
    """A unit and what came of it.

    Args:
        unit: what was tried.
        imagined: in the imagination.
        true: in the simulator; None where there was none.
        start_sha256: of the start state.
        model_sha256: of the world model's weights, empty for a model without any.
        backend: the rung that imagined.
    """

    unit: Unit
    imagined: Outcome
    true: Outcome | None
    start_sha256: str = ""
    model_sha256: str = ""
    backend: str = ""


_UNIT = tuple(field.name for field in fields(Unit))
_OUTCOME = tuple(field.name for field in fields(Outcome))
_REST = ("backend", "model_sha256", "start_sha256")
COLUMNS = (*_UNIT, *(f"{world}_{name}" for world in (IMAGINED, TRUE) for name in _OUTCOME), *_REST)
"""Of the file, in their order."""


def write_units(path: Path, results: Iterable[UnitResult]) -> None:
    """One row for each unit, sorted; whole or not at all."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(to_row(result) for result in sorted(results, key=lambda result: result.unit))
    write_whole(path, text.getvalue())


def read_units(path: Path) -> list[UnitResult]:
    """What `write_units` wrote.

    Raises:
        InvalidResults: the file is missing, lacks a column, holds something else or a unit twice.
        TooLarge: it is larger than `MAX_BYTES`.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise TooLarge(f"'{path}' has {path.stat().st_size / 1e6:.0f} MB; at most {MAX_BYTES / 1e6:.0f} are read")
        with path.open(encoding="utf-8", newline="") as file:
            reader = csv.DictReader(file)
            if tuple(reader.fieldnames or ()) != COLUMNS:
                raise InvalidResults(f"'{path}' has the columns {reader.fieldnames}, needed are {list(COLUMNS)}")
            results = [from_row(row) for row in reader]
    except (OSError, csv.Error, ValueError) as error:
        raise InvalidResults(f"'{path}' holds no units: {error}") from error
    check_distinct(results, what=f"'{path}'")
    return results


def check_distinct(results: Iterable[UnitResult], *, what: str) -> None:
    """See that no unit is there twice.

    Raises:
        InvalidResults: one is; `what` names where.
    """
    times = Counter(result.unit for result in results)
    twice = [unit for unit, number in times.items() if number > 1]
    if twice:
        raise InvalidResults(f"{what} holds {len(twice)} units more than once, such as {twice[0]}; needed is each once")


def to_row(result: UnitResult) -> dict[str, str]:
    """Text by column."""
    row = {name: str(getattr(result.unit, name)) for name in _UNIT}
    for world, outcome in ((IMAGINED, result.imagined), (TRUE, result.true)):
        row |= {f"{world}_{name}": "" if outcome is None else _text(getattr(outcome, name)) for name in _OUTCOME}
    return row | {name: getattr(result, name) for name in _REST}


def from_row(row: Mapping[str, str]) -> UnitResult:
    """What `to_row` told.

    Raises:
        ValueError: there are too many or too few cells, a text is no number, or a number out of range.
    """
    if set(row) != set(COLUMNS) or None in row.values():
        raise ValueError(f"a row holds {sum(cell is not None for cell in row.values())} cells, needed {len(COLUMNS)}")
    unit = Unit(task=row["task"], policy=row["policy"], start=int(row["start"]), seed=int(row["seed"]))
    worlds = {world: _outcome({name: row[f"{world}_{name}"] for name in _OUTCOME}) for world in (IMAGINED, TRUE)}
    imagined = worlds[IMAGINED]
    if imagined is None:
        raise ValueError(f"nothing was imagined for {unit}")
    return UnitResult(unit=unit, imagined=imagined, true=worlds[TRUE], **{name: row[name] for name in _REST})


def rate_tables(results: Sequence[UnitResult], task: str) -> tuple[tuple[str, ...], FloatArray, FloatArray, FloatArray]:
    """Successes of one task.

    Args:
        results: of any tasks.
        task: the one that is wanted.

    Returns:
        policies in alphabetic order; imagined successes, imagined probabilities and true successes (0, 1, or NaN for
        what does not count), each a mean over the seeds of a start, shape [P, S].
    """
    own = [result for result in results if result.unit.task == task]
    policies = tuple(sorted({result.unit.policy for result in own}))
    row = {policy: number for number, policy in enumerate(policies)}
    column = {start: number for number, start in enumerate(sorted({result.unit.start for result in own}))}
    cells: dict[tuple[int, int], list[tuple[float, float, float]]] = {}
    for result in own:
        values = (_success(result.imagined), _probability(result.imagined), _success(result.true))
        cells.setdefault((row[result.unit.policy], column[result.unit.start]), []).append(values)
    tables = np.full((3, len(row), len(column)), np.nan)
    for place, seeds in cells.items():
        tables[:, *place] = mean_of_known(np.array(seeds))
    return policies, tables[0], tables[1], tables[2]


def _outcome(row: dict[str, str]) -> Outcome | None:
    if not any(row.values()):
        return None
    return Outcome(
        success=None if row["success"] == "" else _flag(row["success"]),
        probability=_share(row["probability"]),
        invalid=row["invalid"],
        trust=_share(row["trust"]),
        abstained=_flag(row["abstained"]),
        seconds=float(row["seconds"]),
    )


def _flag(text: str) -> bool:
    if text not in ("0", "1"):
        raise ValueError(f"'{text}' is neither 0 nor 1")
    return text == "1"


def _share(text: str) -> float:
    value = float(text)
    if value < 0 or value > 1:
        raise ValueError(f"{value} is not between 0 and 1")
    return value


def _success(outcome: Outcome | None) -> float:
    return float(outcome.success or 0) if outcome is not None and outcome.counts else math.nan


def _probability(outcome: Outcome) -> float:
    return outcome.probability if outcome.counts else math.nan


def _text(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(int(value))
    return repr(value) if isinstance(value, float) else str(value)
