"""Run the benchmarks, keep what they report in results.json, and write README.md from it.

python benchmarks/run_all.py                      # all, some minutes; the machine should have nothing else to do
python benchmarks/run_all.py --only imagine bags  # these; the figures of the others stay
python benchmarks/run_all.py --only               # only write the page
"""

import argparse
import ast
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from figures import BENCHMARKS, Benchmark, Figure

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results.json"
PAGE = HERE / "README.md"
QUIET = 0.5
INTRODUCTION = """\
# Benchmarks

Written by `python benchmarks/run_all.py`, which runs every script of this folder; do not edit. A script alone prints
JSON with percentiles and the machine, and takes `--help`. Compare figures only within one machine, and only where its
load was well below its cores. Tests never look at a clock.
"""


def main() -> int:
    """Measure and write; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = [benchmark.name for benchmark in BENCHMARKS]
    parser.add_argument("--only", nargs="*", choices=names, default=names, help="which (default: all)")
    chosen = parser.parse_args().only
    load = round(os.getloadavg()[0], 2)
    if chosen and load > QUIET:
        print(f"this machine is busy (load {load}); the figures will be poor", file=sys.stderr)
    results = load_results()
    for name in chosen:
        print(f"{name} ...", flush=True)
        results[name] = measured(name)
        results[name]["machine"]["load"] = load  # of others: the benchmarks are not in it
        replace(RESULTS, json.dumps(results, indent=1) + "\n")
    replace(PAGE, page(results))
    return 0


def measured(name: str) -> dict[str, Any]:
    """The report of one benchmark, run in a process of its own."""
    done = subprocess.run([sys.executable, str(HERE / f"{name}.py")], stdout=subprocess.PIPE, check=True)
    report: dict[str, Any] = json.loads(done.stdout)
    return report


def load_results() -> dict[str, Any]:
    """Reports by name, as far as there are any."""
    return json.loads(RESULTS.read_text()) if RESULTS.exists() else {}


def page(results: Mapping[str, Any]) -> str:
    """The page about `results`."""
    sections = ["\n".join(section(benchmark, results.get(benchmark.name))) for benchmark in BENCHMARKS]
    return "\n".join([INTRODUCTION, *sections])


def section(benchmark: Benchmark, report: Mapping[str, Any] | None) -> Iterator[str]:
    """How it is measured, in the words of the script, and the figures."""
    what, *clock = paragraphs(HERE / f"{benchmark.name}.py")
    yield f"## {benchmark.name}\n"
    yield "| | |\n|---|---|"
    yield f"| measures | {what} |"
    yield f"| clock | {' '.join(clock)} |"
    yield f"| beside it | {benchmark.anchor} |"
    yield f"| run | `python benchmarks/{benchmark.name}.py` |\n"
    yield "| figure | goal | measured | |\n|---|---|---|---|"
    yield from (line(figure, report) for figure in benchmark.figures)
    yield f"\n{machine(report['machine'])}\n" if report else ""


def line(figure: Figure, report: Mapping[str, Any] | None) -> str:
    """One row of a table of figures."""
    value = figure.value(report["rows"]) if report else None
    if value is None:
        return f"| {figure.what} | {figure.goal} | not measured | |"
    verdict = ("met" if figure.is_met(value) else "**missed**") if figure.goal else ""
    return f"| {figure.what} | {figure.goal} | {float(f'{value:.3g}'):g} {figure.unit} | {verdict} |"


def machine(facts: Mapping[str, Any]) -> str:
    """Where it was measured."""
    return (
        f"Measured on {facts['cpu']}, {facts['cores']} cores, load {facts['load']} before, {facts['system']}, "
        f"Python {facts['python']}, NumPy {facts['numpy']}."
    )


def paragraphs(script: Path) -> list[str]:
    """The docstring of a script without its examples, a paragraph in one line."""
    text = ast.get_docstring(ast.parse(script.read_text())) or ""
    whole = [part for part in text.split("\n\n") if not part.startswith("    ")]
    return [" ".join(part.replace("``", "`").split()) for part in whole]


def replace(path: Path, text: str) -> None:
    """Write a file whole or not at all."""
    temporary = path.with_suffix(".new")
    temporary.write_text(text)
    os.replace(temporary, path)


if __name__ == "__main__":
    sys.exit(main())
