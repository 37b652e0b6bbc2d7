"""``fourd verify``: is a system numerically equal to the original?"""

import argparse
import json
import math
import sys
from pathlib import Path
from typing import Any

from fourd_ros.verify.checks import SYSTEMS
from fourd_ros.verify.runner import Row, verify

EXAMPLES = [
    "fourd verify SYSTEM DIR",
    "fourd verify SYSTEM DIR --json > report.json",
]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    registered = ", ".join(sorted(SYSTEMS)) or "none yet"
    parser.add_argument(
        "system", help=f"name the checks are registered under; systems are registered as they land (now: {registered})"
    )
    parser.add_argument("folder", type=Path, help="folder with MANIFEST.json and the vectors")
    parser.add_argument("--json", action="store_true", help="print the report as JSON")


def run(args: argparse.Namespace) -> int:
    from tqdm import tqdm

    hidden = args.json or not sys.stderr.isatty()
    rows = verify(args.system, args.folder, progress=lambda files: tqdm(files, unit="file", disable=hidden))
    ok = bool(rows) and all(row.ok for row in rows)
    print(json.dumps(_report(args.system, rows, ok), indent=1) if args.json else _table(rows))
    return 0 if ok else 1


def _report(system: str, rows: list[Row], ok: bool) -> dict[str, Any]:
    return {"system": system, "ok": ok, "files": [_row_report(row) for row in rows]}


def _row_report(row: Row) -> dict[str, Any]:
    tensors = [
        {
            "name": verdict.tensor,
            "max_abs_error": verdict.error if math.isfinite(verdict.error) else None,
            "tolerance": str(verdict.tolerance),
            "ok": verdict.ok,
            "note": verdict.note,
        }
        for verdict in row.verdicts
    ]
    return {"file": row.file, "ok": row.ok, "problem": row.problem, "described": row.described, "tensors": tensors}


def _table(rows: list[Row]) -> str:
    head = ("file", "tensors", "worst tensor", "max abs error", "tolerance", "")
    cells = [head, *(_cells(row) for row in rows)]
    widths = [max(len(line[column]) for line in cells) for column in range(len(head))]
    lines = ["  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip() for line in cells]
    failed = sum(not row.ok for row in rows)
    compared = sum(len(row.verdicts) for row in rows)
    lines.append(f"{len(rows)} files, {compared} tensors compared, {failed} files FAILED" if failed else "")
    return "\n".join(lines if failed else [*lines[:-1], f"{len(rows)} files, {compared} tensors compared, all ok"])


def _cells(row: Row) -> tuple[str, str, str, str, str, str]:
    worst = row.worst
    count = f"{len(row.verdicts)}/{row.described}" if row.described else str(len(row.verdicts))
    note = row.problem or next((verdict.note for verdict in row.verdicts if verdict.note), "")
    verdict = "ok" if row.ok else f"FAIL {note}".rstrip()
    if worst is None:
        return row.file, "" if row.ok else count, "read by other checks" if row.ok else "", "", "", verdict
    return row.file, count, worst.tensor, f"{worst.error:.3g}", str(worst.tolerance), verdict
