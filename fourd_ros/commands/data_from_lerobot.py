"""``fourd data from-lerobot``: a LeRobotDataset v3.0 folder as a data set."""

import argparse
import json
import math
from dataclasses import asdict
from pathlib import Path

from tqdm import tqdm

from fourd_ros.commands.arguments import add_parallel_options, parallel_options, positive_float

SUMMARY = "episodes out of a LeRobotDataset v3.0 folder"
EXAMPLES = [
    "fourd data from-lerobot out/lerobot out/dataset",
    "fourd data from-lerobot ~/aloha_sim out/aloha --fov 60",
    "fourd data from-lerobot ~/so101_pick out/pick --calibration cameras.yaml --name pick",
]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which folder, and what it does not say."""
    parser.add_argument("folder", type=Path, help="LeRobotDataset v3.0; what 'to-lerobot' wrote comes back exactly")
    parser.add_argument("dataset", type=Path, help="folder of episodes; what is there already stays")
    foreign = parser.add_argument_group("folders of others, which keep no calibration")
    foreign.add_argument("--calibration", type=Path, metavar="FILE", help="YAML, by camera: fov or K, distortion, pose")
    foreign.add_argument(
        "--fov", type=positive_float, metavar="DEGREES", help="over the width, of cameras without calibration"
    )
    foreign.add_argument("--name", default="", help="that names of episodes begin with (default: the folder's)")
    add_parallel_options(parser)
    parser.add_argument("--json", action="store_true", help="print a report for scripts; no progress bar")


def run(args: argparse.Namespace) -> int:
    """Read, and say what was left out."""
    from fourd_ros.data.lerobot_foreign import ForeignOptions, read_calibration
    from fourd_ros.data.lerobot_reader import plan_reading, read

    options = ForeignOptions(
        calibration=read_calibration(args.calibration) if args.calibration else {},
        fov=math.radians(args.fov) if args.fov else None,
        name=args.name,
    )
    reading = plan_reading(args.folder, args.dataset, options)
    with tqdm(total=reading.frames, unit="frame", disable=args.json or None) as bar:
        done = read(reading, progress=bar.update, **parallel_options(args))
    if args.json:
        dropped = [asdict(dropped) for dropped in reading.dropped]
        print(json.dumps({"dataset": str(args.dataset), **asdict(done), "frames": reading.frames, "dropped": dropped}))
        return 0
    there = f"; {done.known} were there already" if done.known else ""
    print(f"{args.dataset}: {done.added} episodes added{there}")
    for left_out in reading.dropped:
        print(f"left out: {left_out.what}: {left_out.why}")
    return 0
