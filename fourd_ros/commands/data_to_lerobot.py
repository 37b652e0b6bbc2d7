"""``fourd data to-lerobot``: a data set as a LeRobotDataset v3.0 folder."""

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from tqdm import tqdm

from fourd_ros.commands.arguments import add_parallel_options, names, parallel_options, positive_float
from fourd_ros.data.lerobot_features import OPTIONAL
from fourd_ros.data.splits import SPLITS
from fourd_ros.data.video import FORMATS, MAX_CRF

if TYPE_CHECKING:
    from fourd_ros.data.lerobot_plan import Conversion
    from fourd_ros.data.lerobot_writer import Written

SUMMARY = "write a data set for LeRobot (LeRobotDataset v3.0)"
EXAMPLES = [
    "fourd data to-lerobot out/dataset out/lerobot",
    "fourd data to-lerobot out/dataset out/lerobot --without depth,segmentation --video compatible",
    "fourd data to-lerobot out/dataset out/lerobot_train --split train --video lossless --jobs 4",
]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which episodes, and how they are written."""
    parser.add_argument("dataset", type=Path, help="folder of episodes")
    parser.add_argument("folder", type=Path, help="new, or with an interrupted conversion that is to go on")
    parser.add_argument("--episodes", default="*", metavar="PATTERN", help="only those whose names match, like 'sim_*'")
    parser.add_argument("--split", choices=SPLITS, help="only those of a split")
    parser.add_argument(
        "--video",
        choices=tuple(FORMATS),
        default="faithful",
        help="faithful: above 40 dB, every pixel its colour (default); lossless: every bit; compatible: plays "
        "everywhere, a quarter of the colour; small: AV1",
    )
    parser.add_argument("--crf", type=int, metavar=f"0..{MAX_CRF}", help="quality of the films, lower is better")
    parser.add_argument("--without", type=names, default=(), metavar="A,B", help=f"leave out, of {', '.join(OPTIONAL)}")
    parser.add_argument("--robot-type", default="", metavar="NAME", help="what LeRobot is told the robot is")
    parser.add_argument("--data-file-mb", type=positive_float, default=100.0, metavar="MB", help="default 100")
    parser.add_argument("--video-file-mb", type=positive_float, default=200.0, metavar="MB", help="default 200")
    add_parallel_options(parser)
    parser.add_argument("--json", action="store_true", help="print a report for scripts; no progress bar")


def run(args: argparse.Namespace) -> int:
    """Convert, and say what was left out."""
    from fourd_ros.data.lerobot_plan import LeRobotOptions, plan_conversion
    from fourd_ros.data.lerobot_writer import convert

    options = LeRobotOptions(
        video=FORMATS[args.video].with_crf(args.crf),
        without=args.without,
        robot_type=args.robot_type,
        data_file_mb=args.data_file_mb,
        video_file_mb=args.video_file_mb,
    )
    conversion = plan_conversion(args.dataset, args.folder, options, episodes=args.episodes, split=args.split)
    with tqdm(total=conversion.frames, unit="frame", disable=args.json or None, bar_format=_PROGRESS) as bar:
        written = convert(conversion, progress=bar.update, **parallel_options(args))
    if args.json:
        facts = {"episodes": conversion.episodes, "frames": conversion.frames, "files": len(conversion.files)}
        dropped = [asdict(dropped) for dropped in conversion.dropped]
        print(json.dumps({"folder": str(args.folder), **facts, "written": asdict(written), "dropped": dropped}))
    else:
        _print_report(args.folder, conversion, written)
    return 0


_PROGRESS = "{l_bar}{bar}| {n:.0f}/{total} frames [{elapsed}<{remaining}, {rate_fmt}]"


def _print_report(folder: Path, conversion: "Conversion", written: "Written") -> None:
    there = conversion.episodes - written.episodes
    print(
        f"{folder}: {conversion.episodes} episodes, {conversion.frames} frames in {len(conversion.files)} files"
        + (f"; {there} were there already" if there else "")
    )
    for dropped in conversion.dropped:
        print(f"left out: {dropped.what} of {dropped.count} episodes ({dropped.why})")
    if written.unknown_actions:
        print(
            f"the action of {written.unknown_actions} frames is not a number: nothing was commanded there; "
            "LeRobot's policies cannot be trained on these"
        )
