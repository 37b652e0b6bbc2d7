"""Timing of one function and the JSON report that every benchmark prints.

The clock starts just before a call and stops just after it; what a benchmark prepares outside the
function it hands over is not counted, and each benchmark says what that is.
"""

import json
import math
import os
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np

from fourd_ros.machine import machine_facts

PERCENTILES = (50, 95, 99)


def percentiles(values: Sequence[float]) -> dict[str, float]:
    """``p50``, ``p95`` and ``p99`` of `values`, in their unit; NaN where there are none."""
    if not len(values):
        return {f"p{rank}": float("nan") for rank in PERCENTILES}
    return {
        f"p{rank}": float(value) for rank, value in zip(PERCENTILES, np.percentile(values, PERCENTILES), strict=True)
    }


def durations_ms(function: Callable[[], object], *, repeat: int, warmup: int = 3) -> list[float]:
    """Wall time [ms] of each of `repeat` calls, after `warmup` calls that are not counted."""
    for _ in range(warmup):
        function()
    durations = []
    for _ in range(repeat):
        start = time.perf_counter_ns()
        function()
        durations.append((time.perf_counter_ns() - start) * 1e-6)
    return durations


def measure(function: Callable[[], object], *, repeat: int = 50, warmup: int = 3) -> dict[str, float]:
    """Percentiles of the wall time of `function` [ms]."""
    return percentiles(durations_ms(function, repeat=repeat, warmup=warmup))


def measure_side_by_side(
    functions: Mapping[str, Callable[[], object]], *, repeat: int = 50, warmup: int = 3
) -> dict[str, dict[str, float]]:
    """Percentiles [ms] of several functions called in turn, so that a busy machine slows them alike."""
    durations: dict[str, list[float]] = {name: [] for name in functions}
    for _ in range(warmup):
        for function in functions.values():
            function()
    for _ in range(repeat):
        for name, function in functions.items():
            durations[name] += durations_ms(function, repeat=1, warmup=0)
    return {name: percentiles(values) for name, values in durations.items()}


def resident_mb() -> float:
    """Resident memory of this process [MB]."""
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def machine() -> dict[str, object]:
    """What the figures depend on."""
    return {**machine_facts(), "load": round(os.getloadavg()[0], 2), "numpy": np.__version__}


def report(name: str, rows: Iterable[Mapping[str, object]]) -> None:
    """Print one benchmark as JSON: its name, the machine, and its rows."""
    document = {"benchmark": name, "machine": machine(), "rows": [_printable(row) for row in rows]}
    json.dump(document, sys.stdout, indent=2, default=str)
    sys.stdout.write("\n")


def _printable(value: object) -> object:
    """JSON knows no NaN, and nobody reads more than four digits."""
    if isinstance(value, Mapping):
        return {key: _printable(item) for key, item in value.items()}
    if isinstance(value, float):
        return round(value, 4) if math.isfinite(value) else None
    return value
