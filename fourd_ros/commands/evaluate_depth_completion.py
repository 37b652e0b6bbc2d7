"""``fourd evaluate depth_completion``: the errors in the holes of simulated depth images."""

import argparse
import json
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from fourd_ros.commands.arguments import cores, positive_int

if TYPE_CHECKING:
    from fourd_ros.depth_completion.completer import DepthCompleter
    from fourd_ros.evaluation.depth_completion import HoleImage
    from fourd_ros.evaluation.report import Picture
    from fourd_ros.evaluation.results import ResultTable
    from fourd_ros.model_io.folder import ModelFolder

SUMMARY = "errors in the holes of simulated depth images"
EXAMPLES = [
    "fourd evaluate depth_completion --out out/evaluate/depth_completion",
    "fourd evaluate depth_completion out/train/depth_completion/1/model --scenes 10 --json",
    "fourd evaluate depth_completion out/my_model --write-card",
]

TITLES = {
    "new_scenes": "New scenes, like those of the training",
    "new_views_and_things": "New scenes, seen from new sides, with new kinds of things",
}
SHOWN_PICTURES = 6
DIGITS = 4


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The model, and the pictures it is tried on."""
    parser.add_argument(
        "model", nargs="?", default="depth_completion", help="model folder, or name of a shipped model (the default)"
    )
    parser.add_argument("--scenes", type=positive_int, default=60, help="of each of both test sets (default 60)")
    parser.add_argument("--size", type=positive_int, default=192, help="width and height of the pictures (default 192)")
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="write a report with charts and pictures there")
    parser.add_argument(
        "--pictures", type=Path, default=Path("out/depth_completion"), help="where simulated pictures are kept"
    )
    parser.add_argument("--workers", type=positive_int, default=cores(), help="processes that take pictures")
    parser.add_argument("--runtime", choices=("onnx", "torch"), default="onnx", help="what computes the network")
    parser.add_argument("--allow-noncommercial", action="store_true", help="accept weights with such terms")
    parser.add_argument("--write-card", action="store_true", help="put the figures into the card of the model")
    parser.add_argument("--json", action="store_true", help="print the means as JSON")


def run(args: argparse.Namespace) -> int:
    """Evaluate and print tables; a report and the card of the model are written when asked."""
    from tqdm import tqdm

    from fourd_ros.depth_completion.completer import DepthCompleter
    from fourd_ros.evaluation.depth_completion import evaluate, fillers
    from fourd_ros.evaluation.report import report_markdown, write_report
    from fourd_ros.model_io.folder import ModelFolder, find_model

    folder = ModelFolder(find_model(args.model))
    completer = DepthCompleter.from_folder(
        folder.path, runtime=args.runtime, allow_noncommercial=args.allow_noncommercial
    )
    tables, pictures = [], []
    for split, title in TITLES.items():
        images = _images(split, args)
        shown = tqdm(images, desc=split, unit="picture", disable=args.json)
        tables.append(evaluate(shown, fillers(completer), title=title))
        pictures += _pictures(images, completer, title)
    if args.write_card:
        _write_card(folder, tables, args)
    print(json.dumps(_means(tables)) if args.json else report_markdown(tables))
    if args.out is not None:
        write_report(args.out, title=folder.card.name, tables=tables, pictures=pictures, notes=[_command(args)])
    return 0


def _images(split: str, args: argparse.Namespace) -> list["HoleImage"]:
    """The pictures of a test set through depth cameras; those that are missing are taken first."""
    from fourd_ros.depth_completion.sensor_noise import SensorRanges
    from fourd_ros.evaluation.depth_completion import measure
    from fourd_ros.simulation.stills import SPLITS, prepare_stills

    stills = prepare_stills(
        args.pictures / f"{split}_{args.size}",
        SPLITS[split].seeds(args.scenes),
        replace(SPLITS[split].options, size=args.size),
        workers=args.workers,
        bar=not args.json,
    )
    return [measure(still, SensorRanges(), seed=number) for number, still in enumerate(stills)]


def _pictures(images: Sequence["HoleImage"], completer: "DepthCompleter", title: str) -> list["Picture"]:
    from fourd_ros.evaluation.depth_completion import is_judged, picture
    from fourd_ros.evaluation.report import Picture

    judged = [image for image in images if is_judged(image)]
    chosen = judged[:: max(1, len(judged) // SHOWN_PICTURES)][:SHOWN_PICTURES]
    caption = f"{title}: colour, measured depth, filled, truth"
    return [
        Picture(caption=caption, rgb=picture(image, completer.complete(image.still.rgb, image.measured)))
        for image in chosen
    ]


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
    return f"fourd evaluate depth_completion {args.model} --scenes {args.scenes} --size {args.size}"
