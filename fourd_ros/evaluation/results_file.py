"""Result tables in files: JSON holds everything, CSV the values."""

import csv
import io
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, get_type_hints

from fourd_ros.errors import InvalidResults, TooLarge
from fourd_ros.evaluation.metric import Metric
from fourd_ros.evaluation.results import Aggregate, Result, ResultTable
from fourd_ros.evaluation.statistics import Interval
from fourd_ros.whole_file import write_whole

FORMAT = "fourd results 1"
MAX_BYTES = 500_000_000
"""Largest file that is read."""

CSV_COLUMNS = ("unit", "method", "metric", "value")
SUMMARY_COLUMNS = (
    *("method", "metric", "mean", "low", "high", "count", "infinite"),
    *("difference", "difference_low", "difference_high", "verdict"),
)


def results_text(tables: Sequence[ResultTable], **more: object) -> str:
    """Tables as JSON; every finite value comes back bit for bit.

    Args:
        tables: what the file holds.
        more: further entries of the document, which `read_results` passes over.
    """
    document = {"format": FORMAT, **more, "tables": [_as_json(table) for table in tables]}
    return json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def write_results(tables: Sequence[ResultTable], path: Path | str) -> None:
    """Write tables as JSON, whole or not at all."""
    write_whole(path, results_text(tables))


def read_results(path: Path | str) -> tuple[ResultTable, ...]:
    """The tables of a JSON file.

    Raises:
        InvalidResults: there is no such file, it is no JSON of this format, or its tables contradict themselves.
        TooLarge: it is larger than `MAX_BYTES`, or a table than `MAX_VALUES`.
    """
    try:
        document = json.loads(_read(path))
        if not isinstance(document, dict) or document.get("format") != FORMAT:
            raise InvalidResults(f'\'{path}\' holds no results: needed is JSON with "format": "{FORMAT}"')
        return tuple(_from_json(entry) for entry in document["tables"])
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise InvalidResults(f"'{path}' is no file of results: {type(error).__name__}: {error}") from error


def csv_text(table: ResultTable) -> str:
    """Every value in long form, one line for each unit, method and metric; unknown values are empty."""
    rows = ((r.unit, r.method, r.metric, _plain(r.value)) for r in table.results())
    return _csv(CSV_COLUMNS, rows)


def read_csv(
    path: Path | str, *, title: str, metrics: Iterable[Metric], baseline: str | None = None, unit_name: str = "unit"
) -> ResultTable:
    """The table of a CSV file as `csv_text` gives it; what CSV cannot hold is given here.

    Raises:
        InvalidResults: there is no such file, or it has other columns, no values or no numbers.
        TooLarge: it is larger than `MAX_BYTES`, or the table than `MAX_VALUES`.
    """
    reader = csv.DictReader(io.StringIO(_read(path), newline=""))
    if tuple(reader.fieldnames or ()) != CSV_COLUMNS:
        raise InvalidResults(f"'{path}' has the columns {reader.fieldnames}, needed are {list(CSV_COLUMNS)}")
    try:
        results = [_result(row) for row in reader]
    except (ValueError, csv.Error) as error:
        raise InvalidResults(f"'{path}', line {reader.line_num}: {error}") from error
    return ResultTable.from_results(results, title=title, metrics=metrics, baseline=baseline, unit_name=unit_name)


def _result(row: Mapping[str, str | None]) -> Result:
    cells = [row.get(name) for name in CSV_COLUMNS]
    unit, method, metric, value = (cell or "" for cell in cells)
    if None in cells or len(row) > len(CSV_COLUMNS):
        raise ValueError(f"needed are {len(CSV_COLUMNS)} cells")
    return Result(unit=unit, method=method, metric=metric, value=float(value or "nan"))


def summary_csv_text(aggregates: Iterable[Aggregate]) -> str:
    """One line for each method and metric, in the units of the values (SI)."""
    rows = (
        (
            a.method,
            a.metric.name,
            *map(_plain, _numbers(a.mean)),
            str(int(a.mean.count)),
            str(a.infinite),
            *(map(_plain, _numbers(a.difference)) if a.difference else ("", "", "")),
            a.verdict.value if a.verdict else "",
        )
        for a in aggregates
    )
    return _csv(SUMMARY_COLUMNS, rows)


def aggregate_as_json(aggregate: Aggregate) -> dict[str, Any]:
    """One aggregate for scripts, in the units of the values (SI)."""
    return {
        "method": aggregate.method,
        "metric": aggregate.metric.name,
        "mean": interval_as_json(aggregate.mean),
        "infinite": aggregate.infinite,
        "difference": interval_as_json(aggregate.difference) if aggregate.difference else None,
        "verdict": aggregate.verdict.value if aggregate.verdict else None,
    }


def interval_as_json(interval: Interval) -> dict[str, Any]:
    """One interval of shape [] for scripts; null is unknown."""
    estimate, low, high = map(number_as_json, _numbers(interval))
    return {"estimate": estimate, "low": low, "high": high, "count": int(interval.count)}


def _as_json(table: ResultTable) -> dict[str, Any]:
    return {
        "title": table.title,
        "unit_name": table.unit_name,
        "baseline": table.baseline,
        "metrics": [asdict(metric) for metric in table.metrics],
        "results": [[r.unit, r.method, r.metric, number_as_json(r.value)] for r in table.results()],
    }


def _from_json(entry: Mapping[str, Any]) -> ResultTable:
    results = (
        Result(unit=str(unit), method=str(method), metric=str(metric), value=_decode(value))
        for unit, method, metric, value in entry["results"]
    )
    return ResultTable.from_results(
        results,
        title=str(entry["title"]),
        metrics=[_metric(given) for given in entry["metrics"]],
        baseline=entry["baseline"],
        unit_name=str(entry["unit_name"]),
    )


def _metric(given: Mapping[str, Any]) -> Metric:
    kinds = get_type_hints(Metric)
    for name, value in given.items():
        if name not in kinds:
            raise InvalidResults(f"metric '{given.get('name')}' has the unknown entry '{name}'")
        fits = isinstance(value, kinds[name]) or (type(value) is int and isinstance(1.0, kinds[name]))
        if not fits:
            raise InvalidResults(f"'{name}' of metric '{given.get('name')}' is {value!r}, needed is {kinds[name]}")
    return Metric(**given)


def number_as_json(value: float) -> float | str | None:
    """JSON knows neither NaN nor infinity: null and ``"inf"``."""
    if math.isnan(value):
        return None
    return value if math.isfinite(value) else str(value)


def _decode(value: float | str | None) -> float:
    return math.nan if value is None else float(value)


def _plain(value: float) -> str:
    return "" if math.isnan(value) else repr(value)


def _numbers(interval: Interval) -> list[float]:
    """Estimate and ends, without the last digits, in which sums differ from machine to machine."""
    return [float(f"{float(value):.12g}") for value in (interval.estimate, interval.low, interval.high)]


def _csv(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    return text.getvalue()


def _read(path: Path | str) -> str:
    try:
        size = Path(path).stat().st_size
        if size > MAX_BYTES:
            raise TooLarge(f"'{path}' has {size / 1e6:.0f} MB, read are at most {MAX_BYTES / 1e6:.0f} MB")
        return Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidResults(f"'{path}' cannot be read: {error}") from error
