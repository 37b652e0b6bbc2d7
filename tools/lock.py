"""Writes constraints.txt: the newest versions of everything, resolved together. Run it to move the locks.

    .venv/bin/python tools/lock.py

Extras that exclude each other are resolved one after the other on top of the common set.
"""

import json
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CONSTRAINTS = ROOT / "constraints.txt"
COMMON = "cpu,language,ray,sim,test,train,viewer"
ALONE = ("gpu",)
HELD = {"torch": "2.13.0"}  # moved by hand, together with a new comparison of every model
HEADER = "# Every version, in this one place; tools/lock.py writes it. setup.py and pyproject.toml hold names only.\n"


def resolve(*requirements: str, locked: dict[str, str]) -> dict[str, str]:
    """Versions by name that pip would install for `requirements` into an empty environment."""
    with tempfile.TemporaryDirectory() as folder:
        known, report = Path(folder, "known.txt"), Path(folder, "report.json")
        known.write_text("".join(f"{name}=={version}\n" for name, version in locked.items()))
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--dry-run", "--ignore-installed"]
        command += ["--no-build-isolation", "--report", str(report), "-c", str(known), *requirements]
        subprocess.run(command, check=True, cwd=ROOT)
        found = json.loads(report.read_text())["install"]
    pairs = {item["metadata"]["name"]: item["metadata"]["version"].partition("+")[0] for item in found}
    return {name: version for name, version in pairs.items() if name != "fourd_ros"}


def main() -> None:
    build = tomllib.loads((ROOT / "pyproject.toml").read_text())["build-system"]["requires"]
    locked = resolve(f".[{COMMON}]", *build, locked=HELD)
    for extra in ALONE:
        locked |= resolve(f".[{extra}]", locked=locked)
    lines = sorted((f"{name}=={version}\n" for name, version in locked.items()), key=str.lower)
    CONSTRAINTS.write_text(HEADER + "".join(lines))


if __name__ == "__main__":
    main()
