"""``fourd data scenes``: the data of scene language."""

import argparse
import json
from pathlib import Path

from tqdm import tqdm

from fourd_ros.commands.arguments import add_parallel_options, image_size, parallel_options, positive_int

SUMMARY = "simulated sequences of a moving camera with depth, poses and named things; goes on where it stopped"
EXAMPLES = [
    "fourd data scenes out/scenes/train --split train --sequences 2000",
    "fourd data scenes out/scenes/new --split new_combinations --sequences 100 --jobs 2",
]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which sequences, and how they are filmed."""
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="of the data set; made where it is missing")
    parser.add_argument(
        "--split",
        default="train",
        metavar="NAME",
        help="train, validation, test, new_things or new_combinations (default train)",
    )
    parser.add_argument("--sequences", type=positive_int, default=100, metavar="N", help="how many (default 100)")
    parser.add_argument("--frames", type=positive_int, default=16, help="of a sequence, 2 to 17 (default 16)")
    parser.add_argument(
        "--size", type=image_size, default=(140, 112), metavar="WxH", help="of pictures (default 140x112)"
    )
    parser.add_argument("--no-shadows", dest="shadows", action="store_false", help="quicker")
    parser.add_argument("--json", action="store_true", help="what is in the folder, for scripts; no progress bar")
    add_parallel_options(parser)


def run(args: argparse.Namespace) -> int:
    """Film what is missing, then say what is in the folder."""
    from fourd_ros.simulation.scene_dataset import content, record_scenes
    from fourd_ros.simulation.scene_sequences import SequenceOptions
    from fourd_ros.simulation.scene_splits import scene_seeds

    width, height = args.size
    options = SequenceOptions(width=width, height=height, frames=args.frames, shadows=args.shadows)
    seeds = scene_seeds(args.split, sequences=args.sequences)
    with tqdm(total=len(seeds), unit="sequence", disable=args.json or None) as bar:
        for done in record_scenes(args.folder, args.split, seeds, options, **parallel_options(args)):
            bar.update(done)
    found = content(args.folder)
    if args.json:
        print(json.dumps({"dataset": str(args.folder), "split": args.split, **found}))
    else:
        categories = ", ".join(f"{name} {count}" for name, count in found["categories"].items())
        print(f"{args.folder}: {found['sequences']} sequences of {found['frames']} frames ({categories})")
    return 0
