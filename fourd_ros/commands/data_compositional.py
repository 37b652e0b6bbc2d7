"""``fourd data compositional``: the data of compositional objects."""

import argparse
import json
from pathlib import Path

from tqdm import tqdm

from fourd_ros.commands.arguments import add_parallel_options, non_negative_int, parallel_options, positive_int

SUMMARY = "solids alone, side by side and moving, with their surfaces and masks; goes on where it stopped"
EXAMPLES = [
    "fourd data compositional out/compositional/train --split train --single 2500 --scene 1500 --moving 800 --clip 200",
    "fourd data compositional out/compositional/new --split new_kinds --single 50 --clip 50 --occupancy --jobs 2",
]
_COUNTS = {
    "single": "with one solid",
    "scene": "with 2 to 5 solids in one picture",
    "moving": "of several frames with one solid that moves",
    "clip": "of several frames with 2 or 3 solids, of which one moves",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which scenes, and how they are filmed."""
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="of the data set; made where it is missing")
    parser.add_argument(
        "--split", default="train", metavar="NAME", help="train, validation, test or new_kinds (default train)"
    )
    for layout, meaning in _COUNTS.items():
        parser.add_argument(
            f"--{layout}", type=non_negative_int, default=16, metavar="N", help=f"scenes {meaning} (default 16)"
        )
    parser.add_argument("--size", type=positive_int, default=112, help="width and height of pictures (default 112)")
    parser.add_argument("--frames", type=positive_int, default=8, help="of what moves (default 8)")
    parser.add_argument("--points", type=positive_int, default=2048, help="on the surface of each solid (default 2048)")
    parser.add_argument("--occupancy", action="store_true", help="keep a grid of what is filled, for measuring")
    parser.add_argument("--json", action="store_true", help="what is in the folder, for scripts; no progress bar")
    add_parallel_options(parser)


def run(args: argparse.Namespace) -> int:
    """Film what is missing, then say what is in the folder."""
    from fourd_ros.simulation.compositional_dataset import content, record_compositional
    from fourd_ros.simulation.compositional_scenes import CompositionalOptions

    options = CompositionalOptions(
        size=args.size, frames=args.frames, points=args.points, occupancy=bool(args.occupancy)
    )
    scenes = {layout: getattr(args, layout) for layout in _COUNTS}
    with tqdm(total=sum(scenes.values()), unit="scene", disable=args.json or None) as bar:
        for done in record_compositional(args.folder, args.split, scenes, options, **parallel_options(args)):
            bar.update(done)
    found = content(args.folder)
    if args.json:
        print(json.dumps({"dataset": str(args.folder), "split": args.split, **found}))
    else:
        kinds = ", ".join(f"{name} {count}" for name, count in found["kinds"].items())
        print(f"{args.folder}: {found['scenes']} scenes ({kinds})")
    return 0
