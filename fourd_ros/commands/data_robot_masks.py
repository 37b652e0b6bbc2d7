"""``fourd data robot-masks``: where the robot is in every clip of a folder."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from fourd_ros.commands.arguments import add_parallel_options, non_negative_int, parallel_options
from fourd_ros.commands.robo4d_options import add_shard_option, add_size_options, chosen_size, follow

if TYPE_CHECKING:
    from fourd_ros.data.robo4d_masks import MaskOptions

SUMMARY = "masks of the robot for the clips of a folder (layout of Robo4D-200k), from the films of the robot alone"
EXAMPLES = [
    "fourd data robot-masks robo4d",
    "fourd data robot-masks robo4d --official --jobs 4",
    "fourd data robot-masks robo4d --threshold 12 --shard 3/32",
]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which clips, and how their masks are made."""
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="with mask_videos/<name>.mp4")
    add_size_options(parser)
    parser.add_argument(
        "--threshold",
        type=non_negative_int,
        default=0,
        metavar="N",
        help="a channel above it is the robot (default 0: all that is not black); more, where lossy films have a rim",
    )
    parser.add_argument(
        "--official",
        action="store_true",
        help="the first frames of longer films at the size of the film, as the original does though its latents are "
        "of the middle ones",
    )
    add_shard_option(parser)
    add_parallel_options(parser)
    parser.add_argument("--json", action="store_true", help="a line of JSON for each clip, no progress bar")


def run(args: argparse.Namespace) -> int:
    """Make the masks that are missing; 1 where one could not be made."""
    from fourd_ros.data.robo4d_folder import Robo4DFolder
    from fourd_ros.data.robo4d_masks import prepare_masks

    options = _options(args)
    count, found = prepare_masks(Robo4DFolder(args.folder), options, shard=args.shard, **parallel_options(args))
    return follow(found, count, args, what="masks")


def _options(args: argparse.Namespace) -> "MaskOptions":
    from fourd_ros.data.robo4d_masks import MaskOptions

    return MaskOptions(**chosen_size(args), threshold=args.threshold, official=args.official)
