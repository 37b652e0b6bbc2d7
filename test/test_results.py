"""Tables of results: what they say together, and that files give back what was written."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from fourd_ros.errors import InvalidResults, TooLarge
from fourd_ros.evaluation import results as results_module
from fourd_ros.evaluation.metric import Metric, Verdict
from fourd_ros.evaluation.results import Result, ResultTable
from fourd_ros.evaluation.results_file import csv_text, read_csv, read_results, summary_csv_text, write_results
from fourd_ros.evaluation.statistics import bootstrap_difference, bootstrap_interval, wilson_interval

ERROR = Metric(name="error", title="error", unit="mm", scale=1000.0, tolerance=0.002, source="nobody")
SCORE = Metric(name="score", higher_is_better=True)
UNITS = 30


def make_table(seed: int = 0, **changes: object) -> ResultTable:
    """Method `good` is better by 10 mm and 0.1 on every unit than `base`, `same` differs by noise."""
    generator = np.random.default_rng(seed)
    difficulty = generator.normal(0, 0.05, (UNITS, 1, 1))
    gains = np.array([[0.0, 0.0], [-0.01, 0.1], [0.0, 0.0]])
    noise = np.array([0.0005, 0.01]) * generator.normal(size=(UNITS, 3, 2))
    table = ResultTable(
        title="A <table> of, say, results",
        metrics=(ERROR, SCORE),
        methods=("base", "good", "same"),
        units=tuple(f"unit {index}" for index in range(UNITS)),
        values=0.1 + difficulty + gains + noise,
        baseline="base",
        unit_name="episode",
    )
    return replace(table, **changes)  # type: ignore[arg-type]


def assert_equal(first: ResultTable, second: ResultTable) -> None:
    for name in ("title", "metrics", "methods", "units", "baseline", "unit_name"):
        assert getattr(first, name) == getattr(second, name)
    np.testing.assert_array_equal(first.values, second.values)


def test_aggregates_are_means_with_intervals_and_paired_differences() -> None:
    table = make_table()
    aggregates = table.aggregate()
    good = aggregates["good", "error"]
    values = table.column("good", "error")
    interval = bootstrap_interval(values)
    for name in ("estimate", "low", "high", "count"):
        assert float(getattr(good.mean, name)) == pytest.approx(float(getattr(interval, name)), rel=1e-12)
    assert good.difference is not None
    paired = bootstrap_difference(values, table.column("base", "error"))
    assert float(good.difference.low) == pytest.approx(float(paired.low), rel=1e-9)
    assert float(good.difference.high) - float(good.difference.low) < 0.1 * float(good.mean.high - good.mean.low)
    verdicts = {key: aggregate.verdict for key, aggregate in aggregates.items()}
    assert verdicts["good", "error"] is verdicts["good", "score"] is Verdict.BETTER
    assert verdicts["same", "error"] is Verdict.EQUAL, "noise is below the tolerance"
    assert verdicts["same", "score"] is Verdict.UNDECIDED
    assert verdicts["base", "error"] is None
    assert table.aggregate()["good", "score"].mean.low == aggregates["good", "score"].mean.low


@pytest.mark.parametrize("seed", range(3))
def test_intervals_are_those_of_scipy(seed: int) -> None:
    values = np.random.default_rng(seed).gamma(2.0, size=40)
    ours = bootstrap_interval(values, resamples=8000, seed=seed)
    theirs = stats.bootstrap(
        (values,), np.mean, method="percentile", n_resamples=8000, rng=np.random.default_rng(seed + 100)
    ).confidence_interval
    width = theirs.high - theirs.low
    assert float(ours.low) == pytest.approx(theirs.low, abs=0.05 * width)
    assert float(ours.high) == pytest.approx(theirs.high, abs=0.05 * width)


def test_many_units_are_drawn_in_parts_that_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(0).normal(size=(50, 2, 3))
    values[3] = np.nan
    whole = bootstrap_interval(values)
    monkeypatch.setattr("fourd_ros.evaluation.statistics.DRAWS_AT_ONCE", 700)
    parts = bootstrap_interval(values)
    np.testing.assert_array_equal(whole.low, parts.low)
    np.testing.assert_array_equal(whole.high, parts.high)


def test_unknown_and_infinite_values_take_no_part_and_are_counted() -> None:
    values = make_table().values.copy()
    values[:3, 1, 1], values[5, 1, 1], values[:, 2, 0] = np.inf, np.nan, np.nan
    aggregates = make_table(values=values).aggregate()
    score = aggregates["good", "score"]
    assert (int(score.mean.count), score.infinite) == (UNITS - 4, 3)
    assert float(score.mean.estimate) == pytest.approx(values[[3, 4, *range(6, UNITS)], 1, 1].mean())
    assert score.difference is not None
    assert int(score.difference.count) == UNITS - 4
    assert aggregates["same", "error"].verdict is Verdict.NOTHING
    assert make_table(values=np.full(values.shape, np.inf)).aggregate()["good", "score"].verdict is Verdict.NOTHING


def test_long_form_in_any_order_gives_the_table_back() -> None:
    table = make_table()
    rows = list(table.results())
    assert len(rows) == UNITS * 3 * 2
    assert rows[0] == Result(unit="unit 0", method="base", metric="error", value=table.values[0, 0, 0])
    again = ResultTable.from_results(
        rows, title=table.title, metrics=table.metrics, baseline="base", unit_name="episode"
    )
    assert_equal(again, table)
    some = ResultTable.from_results(rows[:-1], title="t", metrics=table.metrics)
    assert np.isnan(some.values[-1, -1, -1])
    assert np.isfinite(some.values).sum() == len(rows) - 1


def test_files_give_back_every_bit(tmp_path: Path) -> None:
    values = make_table().values.copy()
    values[0, 0], values[1, 0, 0], values[1, 0, 1] = np.nan, np.inf, -np.inf
    tables = [make_table(values=values), make_table(1, title="Zwei: “ä”, \n 2", baseline=None)]
    write_results(tables, tmp_path / "results.json")
    for table, again in zip(tables, read_results(tmp_path / "results.json"), strict=True):
        assert_equal(again, table)
        (tmp_path / "table.csv").write_text(csv_text(table))
        assert_equal(
            read_csv(
                tmp_path / "table.csv",
                title=table.title,
                metrics=table.metrics,
                baseline=table.baseline,
                unit_name=table.unit_name,
            ),
            table,
        )


def test_summary_has_a_line_for_each_method_and_metric() -> None:
    lines = summary_csv_text(make_table().aggregate().values()).splitlines()
    assert len(lines) == 1 + 3 * 2
    assert lines[1].startswith("base,error,0.")
    assert lines[1].endswith(f",{UNITS},0,,,,")
    assert lines[3].endswith(",better")


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"methods": ("base", "base", "same")}, r"\['base'\] twice"),
        ({"units": ()}, "have nothing"),
        ({"units": ("", *map(str, range(UNITS - 1)))}, "an empty name"),
        ({"values": np.zeros((3, 3, 2))}, r"shape \[3, 3, 2\], needed .* \[30, 3, 2\]"),
        ({"baseline": "nobody"}, "baseline 'nobody'"),
    ],
)
def test_tables_that_contradict_themselves_are_refused(changes: dict[str, object], complaint: str) -> None:
    with pytest.raises(InvalidResults, match=complaint):
        make_table(**changes)


def test_results_given_twice_or_without_description_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = list(make_table().results())
    with pytest.raises(InvalidResults, match="two results of 'error' of 'base' on 'unit 0'"):
        ResultTable.from_results([*rows, rows[0]], title="t", metrics=(ERROR, SCORE))
    with pytest.raises(InvalidResults, match="result of metric 'score', described are"):
        ResultTable.from_results(rows, title="t", metrics=(ERROR,))
    with pytest.raises(InvalidResults, match="the methods of 't' have nothing"):
        ResultTable.from_results([], title="t", metrics=(ERROR,))
    monkeypatch.setattr(results_module, "MAX_VALUES", 10)
    with pytest.raises(TooLarge, match="allowed are 10"):
        ResultTable.from_results(rows, title="t", metrics=(ERROR, SCORE))


def test_columns_that_are_not_there_are_named() -> None:
    with pytest.raises(InvalidResults, match="has no 'worst'; it has"):
        make_table().column("worst", "error")


def broken(tmp_path: Path, **changes: object) -> Path:
    write_results([make_table()], tmp_path / "results.json")
    document = json.loads((tmp_path / "results.json").read_text())
    target = document if "format" in changes else document["tables"][0]
    target.update(changes)
    path = tmp_path / "broken.json"
    path.write_text(json.dumps(document))
    return path


def test_damaged_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidResults, match="needed is JSON with"):
        read_results(broken(tmp_path, format="something else"))
    with pytest.raises(InvalidResults, match="unknown entry 'colour'"):
        read_results(broken(tmp_path, metrics=[{"name": "error", "colour": "red"}]))
    with pytest.raises(InvalidResults, match="'scale' of metric 'error' is 'big'"):
        read_results(broken(tmp_path, metrics=[{"name": "error", "scale": "big"}]))
    with pytest.raises(InvalidResults, match="is no file of results"):
        read_results(broken(tmp_path, results=[["unit 0", "base", "error"]]))
    with pytest.raises(InvalidResults, match="cannot be read"):
        read_results(tmp_path / "none.json")
    (tmp_path / "cut.json").write_text((tmp_path / "results.json").read_text()[:200])
    with pytest.raises(InvalidResults, match="JSONDecodeError"):
        read_results(tmp_path / "cut.json")


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("unit,value\na,1\n", "needed are"),
        ("unit,method,metric,value\na,b,error\n", "line 2: needed are 4 cells"),
        ("unit,method,metric,value\na,b,error,1,2\n", "line 2: needed are 4 cells"),
        ("unit,method,metric,value\na,b,error,much\n", "line 2: could not convert"),
    ],
)
def test_damaged_csv_is_refused(text: str, complaint: str, tmp_path: Path) -> None:
    (tmp_path / "values.csv").write_text(text)
    with pytest.raises(InvalidResults, match=complaint):
        read_csv(tmp_path / "values.csv", title="t", metrics=(ERROR,))


def test_a_metric_may_be_told_by_its_median_or_as_a_share() -> None:
    """The median of a method is compared with that of the baseline; a share never has an interval of no width."""
    middle = Metric(name="middle", average="median")
    rate = Metric(name="rate", average="share", higher_is_better=True)
    values = np.ones((9, 2, 2))
    values[:, 0, 0], values[:, 1, 0] = [1, 2, 3, 4, 5, 6, 7, 8, 1000], np.arange(9) / 10
    values[0, 1, 1] = np.nan
    units = tuple(f"unit {index}" for index in range(9))
    table = ResultTable(
        title="t", metrics=(middle, rate), methods=("base", "other"), units=units, values=values, baseline="base"
    )
    found = table.aggregate()
    assert float(found["base", "middle"].mean.estimate) == 5
    assert found["other", "middle"].difference is not None
    assert float(found["other", "middle"].difference.estimate) == pytest.approx(0.4 - 5)
    assert found["other", "middle"].verdict is Verdict.BETTER
    share = found["other", "rate"].mean
    assert (float(share.estimate), int(share.count)) == (1.0, 8)
    assert float(share.low) == pytest.approx(float(wilson_interval(8, 8).low)) and share.low < 0.8
    with pytest.raises(InvalidResults, match="needed is one of"):
        Metric(name="mode", average="mode")
