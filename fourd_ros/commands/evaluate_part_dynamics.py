"""``fourd evaluate part-dynamics``: pulls at generated objects that no training has seen."""

import argparse
import json
import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from fourd_ros.commands.arguments import cores, positive_int

if TYPE_CHECKING:
    from fourd_ros.evaluation.part_dynamics import Method, PartCase
    from fourd_ros.evaluation.report import Picture
    from fourd_ros.evaluation.results import ResultTable
    from fourd_ros.model_io.folder import ModelFolder

SUMMARY = "pulls at doors, drawers and lids of objects that no training has seen"
EXAMPLES = [
    "fourd evaluate part-dynamics --out out/evaluate/part_dynamics",
    "fourd evaluate part-dynamics out/train/part_dynamics/motion/model --objects 20 --json",
    "fourd evaluate part-dynamics --write-card",
]

TITLES = {"test": "New objects of known kinds", "new_kind": "Objects of a kind never trained on"}
SEEN = {"cameras": "four pictures", "drawn": "one picture with depth"}
TUNED_ON = "validation"
SHOWN_PICTURES = 6
DIGITS = 4


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The model, and the objects it is tried on."""
    parser.add_argument(
        "model",
        nargs="?",
        default="part_dynamics_compact",
        help="model folder, or name of a shipped model (the default)",
    )
    parser.add_argument("--objects", type=positive_int, default=40, help="of each test set (default 40)")
    parser.add_argument("--pulls", type=positive_int, default=3, help="at each object (default 3)")
    parser.add_argument("--data", type=Path, default=Path("out/articulated"), help="where generated objects are kept")
    parser.add_argument("--size", type=positive_int, default=128, help="of the pictures (default 128)")
    parser.add_argument("--points", type=positive_int, default=4096, help="on the surface (default 4096)")
    parser.add_argument("--workers", type=positive_int, default=cores(), help="processes that make objects")
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="write a report with charts and pictures there")
    parser.add_argument("--allow-noncommercial", action="store_true", help="accept weights with such terms")
    parser.add_argument("--write-card", action="store_true", help="put the figures into the card of the model")
    parser.add_argument("--json", action="store_true", help="print the means as JSON")


def run(args: argparse.Namespace) -> int:
    """Evaluate and print tables; a report and the card of the model are written when asked."""
    from fourd_ros.evaluation.part_dynamics import best_radius
    from fourd_ros.evaluation.report import report_markdown, write_report
    from fourd_ros.model_io.folder import ModelFolder, find_model

    folder = ModelFolder(find_model(args.model))
    radius = best_radius(_cases(TUNED_ON, args))
    tables, pictures = [], []
    for split, title in TITLES.items():
        found = _cases(split, args)
        methods = _methods(split, folder, radius, args)
        tables.append(_table(found, methods, title, args))
        pictures += _pictures(found, methods, title)
    if args.write_card:
        _write_card(folder, tables, args)
    print(json.dumps(_means(tables)) if args.json else report_markdown(tables))
    if args.out is not None:
        notes = [_command(args), f"What is near: within {radius} half diagonals, the best on the split {TUNED_ON}."]
        write_report(args.out, title=folder.card.name, tables=tables, pictures=pictures, notes=notes)
    return 0


def _cases(split: str, args: argparse.Namespace) -> list["PartCase"]:
    """Pulls at the objects of a split; those that are missing are made first."""
    from tqdm import tqdm

    from fourd_ros.data.articulated_shards import ArticulatedShards
    from fourd_ros.evaluation.part_dynamics import cases
    from fourd_ros.simulation.articulated import articulated_seeds
    from fourd_ros.simulation.articulated_dataset import record_articulated
    from fourd_ros.simulation.articulated_rendering import ArticulatedOptions

    options = ArticulatedOptions(size=args.size, points=args.points, joints=1, depth=True)
    folder, seeds = args.data / split, articulated_seeds(split, seed=0, objects=args.objects)
    with tqdm(desc=f"{split}: objects", total=len(seeds), unit="object", disable=args.json or None) as bar:
        for done in record_articulated(folder, split, seeds, options, layout="packed", workers=args.workers):
            bar.update(done)
    found = cases(ArticulatedShards(folder), pulls=args.pulls)
    return list(islice(found, args.objects * args.pulls))


def _methods(split: str, folder: "ModelFolder", radius: float, args: argparse.Namespace) -> dict[str, "Method"]:
    from fourd_ros.data.articulated_shards import ArticulatedShards
    from fourd_ros.evaluation.part_dynamics import COPY, NEAR, OURS, near_moves, network, nothing_moves
    from fourd_ros.part_dynamics.model import PartDynamics

    model = PartDynamics.from_folder(folder.path, allow_noncommercial=args.allow_noncommercial)
    shards = ArticulatedShards(args.data / split)
    ours = {f"{OURS}, {told}": network(model, shards, seen=seen) for seen, told in SEEN.items()}  # type: ignore[arg-type]
    return {**ours, NEAR: near_moves(radius), COPY: nothing_moves}


def _table(
    found: Sequence["PartCase"], methods: dict[str, "Method"], title: str, args: argparse.Namespace
) -> "ResultTable":
    from tqdm import tqdm

    from fourd_ros.evaluation.part_dynamics import evaluate

    return evaluate(tqdm(found, desc=title, unit="pull", disable=args.json or None), methods, title=title)


def _pictures(found: Sequence["PartCase"], methods: dict[str, "Method"], title: str) -> list["Picture"]:
    import numpy as np

    from fourd_ros.evaluation.report import Picture

    chosen = found[:: max(1, len(found) // SHOWN_PICTURES)][:SHOWN_PICTURES]
    told = list(methods)[: len(SEEN)]
    caption = f"{title}: what is seen, what comes out, {', '.join(told)}"
    rows = [
        np.concatenate([case.source[0], case.target[0], *(methods[name](case).pictures[0] for name in told)], axis=1)
        for case in chosen
    ]
    return [Picture(caption=caption, rgb=(row.clip(0, 1) * 255).round().astype(np.uint8)) for row in rows]


def _write_card(folder: "ModelFolder", tables: Sequence["ResultTable"], args: argparse.Namespace) -> None:
    """The figures, in ``fourd.json`` and as tables in ``README.md``."""
    from fourd_ros.evaluation.report import report_markdown
    from fourd_ros.model_io.folder import describe_model

    card = replace(folder.card, metrics=_means(tables), metrics_command=_command(args))
    describe_model(folder.path, card, results=report_markdown(tables))


def _means(tables: Sequence["ResultTable"]) -> dict[str, dict[str, tuple[float, float, float]]]:
    """Mean and interval in display units, by test set and method, then by metric."""
    means: dict[str, dict[str, tuple[float, float, float]]] = {}
    for split, table in zip(TITLES, tables, strict=True):
        for aggregate in table.aggregate().values():
            mean, metric = aggregate.mean, aggregate.metric
            numbers = (metric.scale * float(value) for value in (mean.estimate, mean.low, mean.high))
            middle, low, high = (round(number, DIGITS) for number in numbers)
            if math.isfinite(middle):
                means.setdefault(f"{split}: {aggregate.method}", {})[metric.label] = (middle, low, high)
    return means


def _command(args: argparse.Namespace) -> str:
    """What makes the same figures again."""
    return f"fourd evaluate part-dynamics {args.model} --objects {args.objects} --pulls {args.pulls}"
