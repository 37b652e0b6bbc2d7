"""The page about speed: fresh, complete, and its figures are in the reports."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

BENCHMARKS = Path(__file__).resolve().parent.parent / "benchmarks"
NOT_BENCHMARKS = {"bundle_peers", "figures", "measure", "run_all"}


@pytest.fixture(scope="module")
def run_all() -> Iterator[Any]:
    """The module that writes the page."""
    sys.path.insert(0, str(BENCHMARKS))
    import run_all

    yield run_all
    sys.path.remove(str(BENCHMARKS))


def test_the_page_says_what_was_measured(run_all: Any) -> None:
    assert run_all.PAGE.read_text() == run_all.page(run_all.load_results()), "run: python benchmarks/run_all.py --only"


def test_every_script_is_on_the_page(run_all: Any) -> None:
    scripts = {path.stem for path in BENCHMARKS.glob("*.py")} - NOT_BENCHMARKS
    assert {benchmark.name for benchmark in run_all.BENCHMARKS} == scripts


def test_every_figure_is_reported(run_all: Any) -> None:
    results = run_all.load_results()
    for benchmark in run_all.BENCHMARKS:
        for figure in benchmark.figures:
            assert figure.value(results[benchmark.name]["rows"]) is not None, f"{benchmark.name}: {figure.what}"


def test_every_script_says_what_it_measures_and_when_its_clock_runs(run_all: Any) -> None:
    for benchmark in run_all.BENCHMARKS:
        what, *clock = run_all.paragraphs(BENCHMARKS / f"{benchmark.name}.py")
        assert what
        assert clock, benchmark.name


def test_goals_have_a_side(run_all: Any) -> None:
    from figures import Figure

    less = Figure(what="time", value=lambda rows: 1.0, unit="ms", at_most=2.0)
    more = Figure(what="share", value=lambda rows: 1.0, unit="%", at_least=2.0)
    report = {"rows": [], "machine": {}}
    assert run_all.line(less, report) == "| time | ≤ 2 ms | 1 ms | met |"
    assert run_all.line(more, report) == "| share | ≥ 2 % | 1 % | **missed** |"
    assert run_all.line(less, None) == "| time | ≤ 2 ms | not measured | |"
