"""``fourd evaluate compositional``: complete shapes of held-out objects, beside what depth shows of them."""

import argparse
import json
import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from fourd_ros.commands.arguments import cores, non_negative_float, positive_int

if TYPE_CHECKING:
    from fourd_ros.evaluation.compositional import Method, ObjectCase
    from fourd_ros.evaluation.report import Picture
    from fourd_ros.evaluation.results import ResultTable
    from fourd_ros.model_io.folder import ModelFolder

SUMMARY = "whole shapes of held-out objects, beside their visible points, convex hulls and boxes"
EXAMPLES = [
    "fourd evaluate compositional --out out/evaluate/compositional",
    "fourd evaluate compositional out/train/compositional/4/model --scenes 8 --json",
    "fourd evaluate compositional --write-card",
]

GROUPS = {
    "New shapes of known kinds": ("test", "single"),
    "Kinds never trained on": ("new_kinds", "single"),
    "Scenes of several objects": ("test", "scene"),
    "Moving objects": ("test", "moving"),
    "Scenes over time": ("test", "clip"),
}
"""Split and layout by title."""

SHOWN_PICTURES = 3
DIGITS = 4


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The model, and the scenes it is tried on."""
    parser.add_argument(
        "model", nargs="?", default="compositional_compact", help="model folder, or name of a shipped one (the default)"
    )
    parser.add_argument("--scenes", type=positive_int, default=32, help="of each group (default 32)")
    parser.add_argument("--data", type=Path, default=Path("out/compositional"), help="where generated scenes are kept")
    parser.add_argument("--workers", type=positive_int, default=cores(), help="processes that make scenes")
    parser.add_argument("--steps", type=positive_int, default=12, help="of the flow (default 12)")
    parser.add_argument("--guidance", type=non_negative_float, default=2.0, help="default 2")
    parser.add_argument("--resolution", type=positive_int, default=64, help="of meshes (default 64)")
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="write a report with charts and pictures there")
    parser.add_argument("--allow-noncommercial", action="store_true", help="accept weights with such terms")
    parser.add_argument("--write-card", action="store_true", help="put the figures into the card of the model")
    parser.add_argument("--json", action="store_true", help="print the means as JSON")


def run(args: argparse.Namespace) -> int:
    """Evaluate and print tables; a report and the card of the model are written when asked."""
    from fourd_ros.evaluation.report import report_markdown, write_report
    from fourd_ros.model_io.folder import ModelFolder, find_model

    folder = ModelFolder(find_model(args.model))
    methods = _methods(folder, args)
    tables, pictures = [], []
    for title, (split, layout) in GROUPS.items():
        found = _cases(split, layout, args)
        tables.append(_table(found, methods, title, args))
        if args.out is not None:
            pictures += _pictures(found, methods, title)
    if args.write_card:
        _write_card(folder, tables, args)
    print(json.dumps(_means(tables)) if args.json else report_markdown(tables))
    if args.out is not None:
        notes = [
            _command(args),
            "Every method has the same picture, masks, depth and camera; nothing is fitted to the truth. Objects are "
            "judged in the first frame, those that move in the last one too.",
        ]
        write_report(args.out, title=folder.card.name, tables=tables, pictures=pictures, notes=notes)
    return 0


def _cases(split: str, layout: str, args: argparse.Namespace) -> list["ObjectCase"]:
    """Scenes of a split; those that are missing are made first."""
    from tqdm import tqdm

    from fourd_ros.data.compositional_shards import CompositionalShards
    from fourd_ros.evaluation.compositional import cases
    from fourd_ros.simulation.compositional_dataset import record_compositional
    from fourd_ros.simulation.compositional_scenes import CompositionalOptions

    folder, options = args.data / split, CompositionalOptions(occupancy=True)
    with tqdm(desc=f"{split}: {layout}", total=args.scenes, unit="scene", disable=args.json or None) as bar:
        for done in record_compositional(folder, split, {layout: args.scenes}, options, workers=args.workers):
            bar.update(done)
    return list(islice(cases(CompositionalShards(folder), layout=layout, scenes=args.scenes), args.scenes))


def _methods(folder: "ModelFolder", args: argparse.Namespace) -> dict[str, "Method"]:
    from fourd_ros.compositional.model import CompositionalObjects
    from fourd_ros.compositional.options import MotionOptions, SceneOptions
    from fourd_ros.compositional.placed_objects import MIXED_SHARE, FilmOptions
    from fourd_ros.evaluation.compositional import BASELINES, networks

    model = CompositionalObjects.from_folder(folder.path, allow_noncommercial=args.allow_noncommercial)
    mixed = round(MIXED_SHARE * args.steps)
    options = FilmOptions(
        fill=None,
        resolution=args.resolution,
        max_faces=0,
        scene=SceneOptions(steps=args.steps, mixed_steps=args.steps, guidance=args.guidance),
        motion=MotionOptions(steps=args.steps, mix_cutoff=mixed - 1, block=8, memory=12, guidance=args.guidance),
    )
    return {**networks(model, options), **BASELINES}


def _table(
    found: Sequence["ObjectCase"], methods: dict[str, "Method"], title: str, args: argparse.Namespace
) -> "ResultTable":
    from tqdm import tqdm

    from fourd_ros.evaluation.compositional import evaluate

    return evaluate(tqdm(found, desc=title, unit="scene", disable=args.json or None), methods, title=title)


def _pictures(found: Sequence["ObjectCase"], methods: dict[str, "Method"], title: str) -> list["Picture"]:
    from fourd_ros.evaluation.compositional import HULL, PLACED
    from fourd_ros.evaluation.compositional_pictures import case_picture
    from fourd_ros.evaluation.report import Picture

    shown = (PLACED, HULL)
    caption = f"{title}: what is seen; then from three sides {', '.join(shown)}, the truth"
    return [
        Picture(caption=caption, rgb=case_picture(case, [dict(methods[name](case)) for name in shown]))
        for case in found[:: max(1, len(found) // SHOWN_PICTURES)][:SHOWN_PICTURES]
    ]


def _write_card(folder: "ModelFolder", tables: Sequence["ResultTable"], args: argparse.Namespace) -> None:
    """The figures, in ``fourd.json`` and as tables in ``README.md``."""
    from fourd_ros.evaluation.report import report_markdown
    from fourd_ros.model_io.folder import describe_model

    card = replace(folder.card, metrics=_means(tables), metrics_command=_command(args))
    describe_model(folder.path, card, results=report_markdown(tables))


def _means(tables: Sequence["ResultTable"]) -> dict[str, dict[str, tuple[float, float, float]]]:
    """Mean and interval by group and method, then by metric."""
    means: dict[str, dict[str, tuple[float, float, float]]] = {}
    for (split, layout), table in zip(GROUPS.values(), tables, strict=True):
        for aggregate in table.aggregate().values():
            mean, metric = aggregate.mean, aggregate.metric
            numbers = (metric.scale * float(value) for value in (mean.estimate, mean.low, mean.high))
            middle, low, high = (round(number, DIGITS) for number in numbers)
            if math.isfinite(middle):
                means.setdefault(f"{split} {layout}: {aggregate.method}", {})[metric.label] = (middle, low, high)
    return means


def _command(args: argparse.Namespace) -> str:
    """What makes the same figures again."""
    return (
        f"fourd evaluate compositional {args.model} --scenes {args.scenes} --steps {args.steps} "
        f"--guidance {args.guidance:g} --resolution {args.resolution}"
    )
