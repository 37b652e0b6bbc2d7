"""``fourd convert SYSTEM``: from a published checkpoint to a model folder."""

import argparse
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from fourd_ros.commands.arguments import Parser, positive_float
from fourd_ros.evaluation.table import Table

if TYPE_CHECKING:
    from fourd_ros.model_io.conversion import Progress
    from fourd_ros.model_io.conversion_plan import Conversion
    from fourd_ros.model_io.conversion_rules import Converter

EXAMPLES = [
    "fourd convert lpips alex_shift_tolerant.pth out/lpips_alex --dtype fp16",
    "fourd convert lpips alex_shift_tolerant.pth out/lpips_alex --dry-run",
]

_GB = 10**9


def add_options(parser: Parser) -> list[argparse.Action]:
    """What can be said about the weights."""
    from fourd_ros.model_io.conversion_plan import DTYPES
    from fourd_ros.model_io.weights import MAX_SHARD_BYTES

    return [
        parser.add_argument("--dtype", choices=DTYPES, help="of floating-point weights (default: as they are)"),
        parser.add_argument(
            "--max-shard-gb",
            type=positive_float,
            default=MAX_SHARD_BYTES / _GB,
            metavar="GB",
            help="larger weights are split; a shard is held in memory (default: %(default)g)",
        ),
        parser.add_argument("--dry-run", action="store_true", help="only say what would become of every tensor"),
        parser.add_argument("--json", action="store_true", help="print what became of every tensor as JSON"),
    ]


def run(args: argparse.Namespace) -> int:
    """Make the model folder, or say what it would hold."""
    from fourd_ros.model_io.converters import find_converter

    converter = find_converter(args.system)
    conversion = _preview(converter, args) if args.dry_run else _convert(converter, args)
    print(json.dumps(conversion.report(), indent=1) if args.json else _text(conversion, converter, args))
    return 1 if conversion.problems else 0


def _preview(converter: "Converter", args: argparse.Namespace) -> "Conversion":
    from fourd_ros.model_io.conversion_plan import open_checkpoint, plan

    with open_checkpoint(converter, args.source) as checkpoint:
        return plan(converter, checkpoint, dtype=args.dtype)


def _convert(converter: "Converter", args: argparse.Namespace) -> "Conversion":
    from fourd_ros.model_io.conversion import convert

    with _bar(hidden=args.json or not sys.stderr.isatty()) as progress:
        return convert(
            converter,
            args.source,
            args.target,
            dtype=args.dtype,
            max_shard_bytes=round(args.max_shard_gb * _GB),
            overwrite=args.overwrite,
            progress=progress,
        )


@contextmanager
def _bar(*, hidden: bool) -> "Iterator[Progress]":
    from tqdm import tqdm

    with tqdm(unit="B", unit_scale=True, disable=hidden) as bar:

        def show(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        yield show


def _text(conversion: "Conversion", converter: "Converter", args: argparse.Namespace) -> str:
    lines = [str(_table(conversion, converter)), ""]
    if conversion.others or conversion.skipped:
        lines.append(f"left out: {len(conversion.others)} values that are no tensors, {len(conversion.skipped)} files")
    lines += conversion.problems
    used = sum(len(step.sources) for step in conversion.steps)
    lines.append(
        f"{len(conversion.found)} tensors found, {used} used, {len(conversion.unused)} left out, "
        f"{len(conversion.problems)} problems; {conversion.target_bytes / 1e6:,.1f} MB of weights"
    )
    if not args.dry_run:
        card = converter.card
        terms = "".join(f"\n  - {term}" for term in card.upstream_terms)
        use = ", not for commercial use" if card.non_commercial else ""
        lines.append(f"written: {args.target} ({card.licence}{use}){terms}")
    return "\n".join(lines)


def _table(conversion: "Conversion", converter: "Converter") -> Table:
    rows = [
        (str(source), str(list(source.shape)), source.dtype, f"{step.component}/{', '.join(step.targets)}")
        for step in conversion.steps
        for source in step.sources
    ]
    rows += [
        (str(one.source), str(list(one.source.shape)), one.source.dtype, f"left out: {one.reason}")
        for one in conversion.unused
    ]
    return Table(
        title=f"{conversion.source} as {converter.system}: {converter.summary}",
        columns=("source", "shape", "type", "becomes"),
        rows=tuple(rows),
    )
