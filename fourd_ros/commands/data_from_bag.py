"""``fourd data from-bag``: episodes out of bags."""

import argparse
import json
import math
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from tqdm import tqdm

from fourd_ros.commands.arguments import (
    add_parallel_options,
    image_size,
    names,
    non_negative_float,
    parallel_options,
    positive_float,
    positive_int,
    renaming,
)

if TYPE_CHECKING:
    from fourd_ros.bridge.bag_conversion import BagJob, BagReport
    from fourd_ros.bridge.episode_options import EpisodeOptions

SUMMARY = "episodes out of bags with camera, joint and TF topics"
EXAMPLES = [
    "fourd data from-bag demo/bag out/dataset",
    "fourd data from-bag bags/* out/dataset --instruction 'clear the table' --size 320x240 --jobs 4",
    "fourd data from-bag drive.mcap out/drives --rate 10 --action-topic /cmd_vel --episode-length 60",
    "fourd data from-bag day.mcap out/day --instruction-topic /task --split-topic /task --gap 0.2",
    "fourd data from-bag old_bag out/dataset --remap /cam/rgb:=/front/image /cam/info:=/front/camera_info",
]

MEGABYTE = 1e6


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which bags, what of them, and where episodes begin and end."""
    parser.add_argument("bags", type=Path, nargs="+", metavar="BAG", help="rosbag2 folder, .mcap or .db3 file")
    parser.add_argument("dataset", type=Path, metavar="DATASET", help="folder; what is there already stays")
    _add_contents(parser.add_argument_group("what is in a frame"))
    _add_topics(parser.add_argument_group("topics"))
    _add_segments(parser.add_argument_group("where episodes begin and end"))
    add_parallel_options(parser)
    parser.add_argument("--json", action="store_true", help="a line of JSON for each bag, no progress bar")


def _add_contents(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--cameras", type=names, default=(), metavar="A,B", help="default: all with a calibration")
    group.add_argument("--rate", type=positive_float, default=0.0, metavar="HZ", help="default: of the slowest camera")
    group.add_argument("--size", type=image_size, metavar="WxH", help="of the pictures; calibrations are scaled too")
    group.add_argument("--slop", type=positive_float, default=0.0, metavar="S", help="between images of one frame")
    group.add_argument("--max-joint-age", type=positive_float, default=0.2, metavar="S", help="default 0.2")
    group.add_argument(
        "--patience",
        type=non_negative_float,
        default=1.0,
        metavar="S",
        help="longest wait for TF and joints (default 1)",
    )
    group.add_argument("--frame", default="", help="the world (default: the robot's root link)")
    group.add_argument("--urdf", type=Path, metavar="FILE", help="robot description where the bag has none")
    group.add_argument("--instruction", default="", metavar="TEXT", help="of all episodes")


def _add_topics(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--remap", nargs="+", action="extend", default=[], type=renaming, metavar="FROM:=TO")
    group.add_argument(
        "--command-topics",
        type=names,
        default=(),
        metavar="A,B",
        help="commanded joints, JointTrajectory or JointState (default: every .../joint_trajectory)",
    )
    group.add_argument(
        "--action-topic", action="append", default=[], metavar="TOPIC", help="written as actions; may be repeated"
    )
    group.add_argument("--instruction-topic", default="", metavar="TOPIC", help="std_msgs/String")


def _add_segments(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--split-topic", default="", metavar="TOPIC", help="a String, Int32 or Bool whose changes begin an episode"
    )
    group.add_argument(
        "--gap", type=non_negative_float, default=0.5, metavar="S", help="a longer hole ends an episode (default 0.5)"
    )
    group.add_argument("--episode-length", type=positive_float, default=math.inf, metavar="S", help="cut longer ones")
    group.add_argument(
        "--max-memory", type=positive_float, default=1024.0, metavar="MB", help="cut larger episodes (default 1024)"
    )
    group.add_argument("--min-frames", type=positive_int, default=2, help="leave shorter ones out (default 2)")


def run(args: argparse.Namespace) -> int:
    """Convert the bags; 1 where one of them could not be read."""
    from fourd_ros.bridge.bag_conversion import bag_jobs

    reports = _converted(bag_jobs(args.bags, args.dataset, _options(args)), args)
    if not args.json:
        print("\n".join(_summary(reports, args.dataset)))
    return int(any(report.error for report in reports))


def _options(args: argparse.Namespace) -> "EpisodeOptions":
    from fourd_ros.bridge.episode_options import EpisodeOptions
    from fourd_ros.robot.description import load_description

    return EpisodeOptions(
        cameras=args.cameras,
        remaps=dict(args.remap),
        rate=args.rate,
        slop=args.slop,
        size=args.size,
        frame=args.frame,
        robot_description=load_description(args.urdf, visuals=False).text if args.urdf else "",
        command_topics=args.command_topics,
        action_topics=tuple(args.action_topic),
        instruction=args.instruction,
        instruction_topic=args.instruction_topic,
        split_topic=args.split_topic,
        gap=args.gap,
        max_duration=args.episode_length,
        max_bytes=round(args.max_memory * MEGABYTE),
        min_frames=args.min_frames,
        max_joint_age=args.max_joint_age,
        patience=args.patience,
    )


def _converted(jobs: "dict[str, BagJob]", args: argparse.Namespace) -> "list[BagReport]":
    from fourd_ros.bridge.bag_conversion import bag_bytes, convert_bag
    from fourd_ros.data.parallel import run_jobs, runs_here

    sizes = {key: bag_bytes(job.bag) if job.bag.exists() else 0 for key, job in jobs.items()}
    parallel = parallel_options(args)
    here = runs_here(jobs, workers=parallel["workers"], ray=parallel["ray"])
    reports: list[BagReport] = []
    with tqdm(total=sum(sizes.values()), unit="B", unit_scale=True, disable=args.json or None) as bar:

        def show(share: float) -> None:
            """Set the bar to what is done and a share of the bag that is next in line."""
            done = sum(sizes[report.bag] for report in reports)
            bar.update(round(done + share * list(sizes.values())[len(reports)]) - bar.n)

        function = partial(convert_bag, progress=show) if here else convert_bag
        for _, report in run_jobs(function, jobs, **parallel):
            reports.append(report)
            bar.update(sum(sizes[report.bag] for report in reports) - bar.n)
            if args.json:
                print(json.dumps(report.as_dict()), flush=True)
    return reports


def _summary(reports: "Sequence[BagReport]", dataset: Path) -> Iterator[str]:
    """A line a bag, then what was left out of them."""
    from fourd_ros.bridge.times import readable
    from fourd_ros.evaluation.table import Table

    rows = [
        (report.bag, str(len(report.frames)), str(sum(report.frames.values())), _outcome(report)) for report in reports
    ]
    title = f"{dataset}: {sum(len(report.frames) for report in reports)} episodes"
    yield str(Table(title=title, columns=("bag", "episodes", "frames", ""), rows=tuple(rows)))
    for report in reports:
        if report.dropped or report.error:
            yield f"\nleft out of {report.bag}:"
        if report.error:
            yield f"  everything: {report.error}"
        for dropped in report.dropped:
            what = f"{dropped.count} x {dropped.what}, {dropped.kind}, from {readable(dropped.first_ns)}"
            yield f"  {what}: {dropped.why}"


def _outcome(report: "BagReport") -> str:
    if report.error:
        return "not read"
    if report.resumed:
        return "was there"
    return f"{report.bytes / MEGABYTE:.1f} MB in {report.seconds:.1f} s"
