"""``fourd data partdrag4d``: objects of PartNet-Mobility in many states, rendered."""

import argparse
import json
from pathlib import Path

from tqdm import tqdm

from fourd_ros.commands.arguments import add_parallel_options, non_negative_int, parallel_options, positive_int

SUMMARY = "PartDrag-4D out of folders of PartNet-Mobility, rendered without Blender; goes on where it stopped"
EXAMPLES = [
    "fourd data partdrag4d partnet-mobility-v0/dataset out/partdrag4d --list partnet_mobility.csv",
    "fourd data partdrag4d partnet-mobility-v0/dataset out/quick --list partnet_mobility.csv --size 128 --joints 1",
]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which objects, and how they are rendered."""
    parser.add_argument("source", type=Path, metavar="SOURCE", help="with a folder for each object, named by its id")
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="of the data set; made where it is missing")
    parser.add_argument(
        "--list", type=Path, required=True, metavar="CSV", help="classes of the objects: columns category and id"
    )
    parser.add_argument("--seed", type=non_negative_int, default=0, help="draws where other joints stand (default 0)")
    parser.add_argument("--size", type=positive_int, default=512, help="width and height of pictures (default 512)")
    parser.add_argument("--views", type=positive_int, default=12, help="of the 12 cameras (default all)")
    parser.add_argument(
        "--samples", type=positive_int, default=2, help="rays a pixel along each axis, 1 to 4 (default 2)"
    )
    parser.add_argument(
        "--joints", type=non_negative_int, default=0, help="that move in turn, of every object; 0 for all (default)"
    )
    parser.add_argument(
        "--combinations", type=positive_int, default=4, help="of ends of up to two other joints (default 4, all)"
    )
    parser.add_argument("--depth", action="store_true", help="keep the depth of every picture too")
    parser.add_argument("--json", action="store_true", help="a line of JSON for each object, no progress bar")
    add_parallel_options(parser)


def run(args: argparse.Namespace) -> int:
    """Render what is missing; 1 where an object had to be left out."""
    from fourd_ros.data.partnet_mobility import read_categories
    from fourd_ros.errors import InvalidDataset
    from fourd_ros.simulation.articulated_rendering import ArticulatedOptions
    from fourd_ros.simulation.mobility_dataset import record_mobility

    listed = read_categories(args.list)
    categories = {name: category for name, category in listed.items() if (args.source / name).is_dir()}
    if not categories:
        raise InvalidDataset(f"'{args.source}' has none of the {len(listed)} objects of '{args.list}'")
    options = ArticulatedOptions(
        size=args.size,
        views=args.views,
        samples=args.samples,
        joints=args.joints or None,
        combinations=args.combinations,
        depth=args.depth,
    )
    recorded = record_mobility(args.source, args.folder, categories, options, seed=args.seed, **parallel_options(args))
    left_out = 0
    for name, reason in tqdm(recorded, total=len(categories), unit="object", disable=args.json or None):
        left_out += bool(reason)
        if args.json:
            print(json.dumps({"object": name, "left_out": reason}), flush=True)
        elif reason:
            tqdm.write(f"{name} is left out: {reason}")
    if not args.json:
        print(f"{args.folder}: {len(categories) - left_out} of {len(listed)} listed objects")
    return 1 if left_out else 0
