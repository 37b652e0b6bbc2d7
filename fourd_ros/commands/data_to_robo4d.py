"""``fourd data to-robo4d``: a data set in the layout of Robo4D-200k."""

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from tqdm import tqdm

from fourd_ros.commands.arguments import (
    add_parallel_options,
    image_size,
    names,
    non_negative_int,
    parallel_options,
    positive_float,
    positive_int,
    renaming,
)
from fourd_ros.commands.robo4d_options import print_outcomes
from fourd_ros.data.robo4d_placement import Fit
from fourd_ros.data.robo4d_preparation import FRAMES, HEIGHT, WIDTH
from fourd_ros.data.splits import SPLITS
from fourd_ros.data.video import FORMATS
from fourd_ros.geometry.pointmap_range import Convention

if TYPE_CHECKING:
    from fourd_ros.data.robo4d_clips import ClipOptions
    from fourd_ros.data.robo4d_work import ClipOutcome

SUMMARY = "write a data set as clips of colour, points and rendered robot (layout of Robo4D-200k)"
EXAMPLES = [
    "fourd data to-robo4d out/dataset out/robo4d",
    "fourd data to-robo4d out/dataset out/robo4d --size 320x192 --frames 17 --rate 5 --cameras front",
    "fourd data to-robo4d out/dataset out/robo4d --fit crop --points 4dnex --films compatible --jobs 4",
    "fourd data to-robo4d out/dataset out/robo4d --mesh-root franka_description:=src/franka_description",
]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which episodes, and how they become clips."""
    parser.add_argument("dataset", type=Path, metavar="DATASET", help="folder of episodes, such as 'from-bag' makes")
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="new, or with an interrupted conversion")
    parser.add_argument("--episodes", default="*", metavar="PATTERN", help="only those whose names match, like 'sim_*'")
    parser.add_argument("--split", choices=SPLITS, help="only those of a split")
    _add_cutting(parser.add_argument_group("what a clip is"))
    _add_contents(parser.add_argument_group("what its files hold"))
    add_parallel_options(parser)
    parser.add_argument("--json", action="store_true", help="a line of JSON for each clip, no progress bar")


def _add_cutting(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--cameras", type=names, default=(), metavar="A,B", help="default: all; a clip for each")
    group.add_argument(
        "--frames", type=positive_int, default=FRAMES, metavar="N", help=f"4 k + 1 of them (default {FRAMES})"
    )
    group.add_argument("--rate", type=positive_float, default=0.0, metavar="HZ", help="default: that of the episode")
    group.add_argument(
        "--stride", type=non_negative_int, default=0, metavar="N", help="frames between beginnings (default: --frames)"
    )
    group.add_argument("--mirror", action="store_true", help="short episodes go on backwards instead of being left out")


def _add_contents(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--size",
        type=image_size,
        default=(WIDTH, HEIGHT),
        metavar="WxH",
        help=f"multiples of 16 (default {WIDTH}x{HEIGHT})",
    )
    group.add_argument(
        "--fit",
        type=Fit,
        choices=list(Fit),
        default=Fit.LETTERBOX,
        help="other aspects: shown whole, as at run time (letterbox, default), or cut as in the original (crop)",
    )
    group.add_argument(
        "--points",
        type=Convention,
        choices=list(Convention),
        default=Convention.CLIP,
        help="centre and scale: one for a clip, known before it happens (clip, default), or a centre a frame (4dnex)",
    )
    group.add_argument("--films", choices=tuple(FORMATS), default="faithful", help="of the scene (default faithful)")
    group.add_argument(
        "--robot-films", choices=tuple(FORMATS), default="lossless", help="of the robot alone (default lossless)"
    )
    group.add_argument(
        "--mesh-root",
        type=renaming,
        action="append",
        default=[],
        metavar="PACKAGE:=FOLDER",
        help="where the meshes of a package are that is not installed; may be repeated",
    )


def run(args: argparse.Namespace) -> int:
    """Convert, and say what was left out; 1 where nothing became a clip."""
    from fourd_ros.data.robo4d_conversion import plan_robo4d
    from fourd_ros.data.robo4d_writer import FilmOptions

    films = FilmOptions(scene=args.films, robot=args.robot_films)
    conversion = plan_robo4d(args.dataset, args.folder, _options(args), films, episodes=args.episodes, split=args.split)
    outcomes: list[ClipOutcome] = []
    done = conversion.run(**parallel_options(args))
    for found in tqdm(done, total=len(conversion.jobs), unit="episode", disable=args.json or None):
        outcomes += found
        if args.json:
            print("\n".join(json.dumps(asdict(outcome)) for outcome in found), flush=True)
    if not args.json:
        print_outcomes(args.folder, outcomes, what="clips")
    return int(all(outcome.problem for outcome in outcomes))


def _options(args: argparse.Namespace) -> "ClipOptions":
    from fourd_ros.data.robo4d_clips import ClipOptions

    width, height = args.size
    return ClipOptions(
        frames=args.frames,
        height=height,
        width=width,
        rate=args.rate,
        stride=args.stride,
        cameras=args.cameras,
        fit=args.fit,
        mirror=args.mirror,
        convention=args.points,
        mesh_roots=tuple((package, Path(folder)) for package, folder in args.mesh_root),
    )
