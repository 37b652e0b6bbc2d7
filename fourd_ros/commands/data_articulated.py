"""``fourd data articulated``: the data of part dynamics."""

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from fourd_ros.commands.arguments import add_parallel_options, non_negative_int, parallel_options, positive_int

if TYPE_CHECKING:
    from fourd_ros.simulation.articulated_rendering import ArticulatedOptions

SUMMARY = (
    "articulated objects (cabinets, ovens, laptops, faucets ...) in many states, rendered; goes on where it stopped"
)
EXAMPLES = [
    "fourd data articulated out/articulated/train --split train --objects 1500 --packed --size 128 --points 4096",
    "fourd data articulated out/partdrag4d --split test --objects 20 --joints 0 --combinations 4",
    "fourd data articulated out/fine --objects 5 --renderer blender",
]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which objects, and how they are rendered."""
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="of the data set; made where it is missing")
    parser.add_argument(
        "--split", default="train", metavar="NAME", help="train, validation, test or new_kind (default train)"
    )
    parser.add_argument("--objects", type=positive_int, default=20, metavar="N", help="how many (default 20)")
    parser.add_argument(
        "--seed", type=non_negative_int, default=0, help="other objects of the split, 0 to 9 (default 0)"
    )
    parser.add_argument(
        "--packed", action="store_true", help="shards that training reads fast, instead of the files of PartDrag-4D"
    )
    parser.add_argument(
        "--size", type=positive_int, default=512, help="width and height of pictures (default 512, as PartDrag-4D)"
    )
    parser.add_argument("--views", type=positive_int, default=12, help="of the 12 cameras (default all)")
    parser.add_argument(
        "--samples", type=positive_int, default=2, help="rays a pixel along each axis, 1 to 4 (default 2)"
    )
    parser.add_argument(
        "--joints", type=non_negative_int, default=1, help="that move in turn, of every object; 0 for all (default 1)"
    )
    parser.add_argument(
        "--combinations",
        type=positive_int,
        default=1,
        help="of extremes of up to two other joints, 1 to 4; PartDrag-4D has 4 (default 1)",
    )
    parser.add_argument("--points", type=positive_int, default=10_000, help="on the surface (default 10000)")
    parser.add_argument("--depth", action="store_true", help="keep the depth of every picture too")
    parser.add_argument(
        "--renderer",
        choices=("mujoco", "blender"),
        default="mujoco",
        help="blender must be installed, and makes files of PartDrag-4D only (default mujoco)",
    )
    parser.add_argument("--json", action="store_true", help="what is in the folder, for scripts; no progress bar")
    add_parallel_options(parser)


def run(args: argparse.Namespace) -> int:
    """Render what is missing, then say what is in the folder."""
    from fourd_ros.errors import InvalidParameter
    from fourd_ros.simulation.articulated import articulated_seeds
    from fourd_ros.simulation.articulated_dataset import content, record_articulated

    if args.packed and args.renderer == "blender":
        raise InvalidParameter("Blender makes files of PartDrag-4D, not shards; leave out --packed or --renderer")
    layout: Any = "packed" if args.packed else "partdrag4d"
    seeds = articulated_seeds(args.split, seed=args.seed, objects=args.objects)
    recorded = record_articulated(
        args.folder,
        args.split,
        seeds,
        _options(args),
        layout=layout,
        renderer=args.renderer,
        **parallel_options(args),
    )
    with tqdm(total=len(seeds), unit="object", disable=args.json or None) as bar:
        for done in recorded:
            bar.update(done)
    found = content(args.folder, layout)
    if args.json:
        print(json.dumps({"dataset": str(args.folder), "split": args.split, "layout": layout, **found}))
    else:
        kinds = ", ".join(f"{name} {count}" for name, count in found["kinds"].items())
        print(f"{args.folder}: {found['objects']} objects in {found['states']} states ({kinds})")
    return 0


def _options(args: argparse.Namespace) -> "ArticulatedOptions":
    from fourd_ros.simulation.articulated_rendering import ArticulatedOptions

    return ArticulatedOptions(
        size=args.size,
        views=args.views,
        samples=args.samples,
        joints=args.joints or None,
        combinations=args.combinations,
        points=args.points,
        depth=args.depth,
    )
