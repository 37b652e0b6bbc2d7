"""How long ``import fourd_ros`` and ``fourd --help`` take in a fresh interpreter (files in the page cache).

``import`` rows: the clock starts before the import statement and stops after it, inside the new interpreter.
``command`` rows: it starts before the process and stops when that has ended; ``python -c pass`` is the part that is
not ours. The second start-up that the ROS wheels force on a new interpreter is left out by its own guard variable.

    python benchmarks/import_time.py
"""

import argparse
import os
import subprocess
import sys
from pathlib import Path

from measure import durations_ms, percentiles, report

ROOT = Path(__file__).resolve().parent.parent
MODULES = ("fourd_ros", "fourd_ros.records", "fourd_ros.cli", "fourd_ros.bridge.clouds", "fourd_ros.bridge.tf", "rclpy")
COMMANDS = {
    "python -c pass": ("-c", "pass"),
    "fourd --help": ("-m", "fourd_ros.cli", "--help"),
}
TIMED_IMPORT = "import time; t = time.perf_counter(); import {0}; print((time.perf_counter() - t) * 1e3)"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeat", type=int, default=15)
    repeat = parser.parse_args().repeat
    rows: list[dict[str, object]] = []
    for module in MODULES:
        times = [float(_run("-c", TIMED_IMPORT.format(module))) for _ in range(repeat)]
        rows.append({"what": f"import {module}", "ms": percentiles(times)})
    for name, words in COMMANDS.items():
        times = durations_ms(lambda words=words: _run(*words), repeat=repeat, warmup=1)
        rows.append({"what": name, "ms": percentiles(times)})
    report("import_time", rows)


def _run(*words: str) -> str:
    environment = {**os.environ, "_ROS_WHEELS_BOOTSTRAP_COMPLETE": "1", "PYTHONPATH": str(ROOT)}
    result = subprocess.run([sys.executable, *words], env=environment, capture_output=True, text=True, check=True)
    return result.stdout


if __name__ == "__main__":
    main()
