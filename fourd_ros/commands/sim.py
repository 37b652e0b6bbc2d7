"""``fourd sim``: record simulated episodes and bags, and look at them."""

import argparse
import json
from collections.abc import Iterable
from dataclasses import asdict
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
)
from fourd_ros.data.episode import Episode, load_episode
from fourd_ros.data.episode_bag import BagOptions, write_bag
from fourd_ros.errors import MissingDependency
from fourd_ros.machine import pip_install
from fourd_ros.simulation.cameras import CAMERA_NAMES
from fourd_ros.simulation.policies import POLICIES
from fourd_ros.simulation.tasks import TASK_KINDS

if TYPE_CHECKING:
    from fourd_ros.simulation.dataset import EpisodeSummary
    from fourd_ros.simulation.recording import RecordingOptions

EXAMPLES = [
    "fourd sim record --episodes 100 --out out/episodes --tasks push,pick_place --policies expert,noise_3cm",
    "fourd sim record --episodes 4 --seed 7 --tasks push+pick_place --size 160x120 --format both",
    "fourd sim view --seed 3 --tasks open_drawer --out drawer.png",
    "fourd sim view out/episodes/episode_000000.npz --out look.gif",
    "fourd sim bag out/episodes/episode_000000.npz out/my_bag",
]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verbs of ``fourd sim``."""
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True)
    _add_record(verbs.add_parser("record", help="episodes and bags of scripted policies in random scenes"))
    _add_view(verbs.add_parser("view", help="pictures of an episode: a contact sheet or a film"))
    _add_bag(verbs.add_parser("bag", help="turn an episode file into a bag"))


def run(args: argparse.Namespace) -> int:
    """Run the chosen verb."""
    return int(args.run_verb(args))


def _add_record(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--episodes", type=positive_int, default=10, help="how many (default 10)")
    parser.add_argument("--seed", type=int, default=0, help="of the first; the others count up (default 0)")
    parser.add_argument("--out", type=Path, default=Path("out/episodes"), help="folder (default out/episodes)")
    parser.add_argument(
        "--format", choices=("episode", "bag", "both"), default="episode", help="files for each (default episode)"
    )
    add_parallel_options(parser)
    parser.add_argument("--json", action="store_true", help="a line of JSON for each new episode, no progress bar")
    _add_recording_options(parser)
    _add_bag_options(parser)
    parser.set_defaults(run_verb=_record)


def _add_view(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("episode", type=Path, nargs="?", help="file; without one, --seed is recorded and shown")
    parser.add_argument("--out", type=Path, default=Path("out/view.png"), help=".png or .gif (default out/view.png)")
    parser.add_argument("--frames", type=positive_int, default=8, help="columns of a contact sheet (default 8)")
    parser.add_argument("--seed", type=int, default=0, help="of the episode that is recorded (default 0)")
    _add_recording_options(parser)
    parser.set_defaults(run_verb=_view)


def _add_bag(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("episode", type=Path, help="file written by 'fourd sim record'")
    parser.add_argument("out", type=Path, help="folder of the bag")
    parser.add_argument("--overwrite", action="store_true", help="replace an existing bag")
    _add_bag_options(parser)
    parser.set_defaults(run_verb=_bag)


def _add_recording_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--tasks",
        type=names,
        default=tuple(TASK_KINDS),
        help=f"comma-separated, a+b does both in one episode (default all: {', '.join(TASK_KINDS)})",
    )
    parser.add_argument(
        "--policies", type=names, default=("expert",), help=f"of {', '.join(POLICIES)} (default expert)"
    )
    parser.add_argument(
        "--cameras", type=names, default=CAMERA_NAMES, help=f"of {', '.join(CAMERA_NAMES)} (default all)"
    )
    parser.add_argument("--size", type=image_size, default=(128, 128), help="pixels, N or WIDTHxHEIGHT (default 128)")
    parser.add_argument("--rate", type=positive_float, default=10.0, help="frames a second (default 10)")
    parser.add_argument("--max-duration", type=positive_float, default=30.0, help="longest episode [s] (default 30)")
    parser.add_argument("--no-shadows", action="store_true", help="quicker pictures without cast shadows")
    parser.add_argument(
        "--camera-spread",
        type=non_negative_float,
        default=1.0,
        help="how far cameras stray from their places, 0..1 (default 1)",
    )


def _add_bag_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--depth-encoding", choices=("16UC1", "32FC1"), default="16UC1", help="of depth in bags (default 16UC1, mm)"
    )


def _record(args: argparse.Namespace) -> int:
    options = _recording_options(args)
    from fourd_ros.simulation.dataset import FORMATS, Target, record_dataset

    target = Target(
        folder=args.out,
        formats=FORMATS if args.format == "both" else (args.format,),
        bag=BagOptions(depth_encoding=args.depth_encoding),
    )
    seeds = range(args.seed, args.seed + args.episodes)
    present = sum(not target.missing(seed) for seed in seeds)
    summaries = record_dataset(seeds, options, target, **parallel_options(args))
    bar = tqdm(summaries, total=args.episodes, initial=present, unit="episode", disable=args.json)
    done = list(_announced(bar, as_json=args.json))
    if not args.json:
        succeeded = sum(summary.success for summary in done)
        print(f"{args.out}: {len(done)} new episodes ({succeeded} successes), {present} were there already")
    return 0


def _announced(summaries: Iterable["EpisodeSummary"], *, as_json: bool) -> Iterable["EpisodeSummary"]:
    for summary in summaries:
        if as_json:
            print(json.dumps(asdict(summary)), flush=True)
        yield summary


def _view(args: argparse.Namespace) -> int:
    from fourd_ros.data.contact_sheet import save_pictures

    episode = load_episode(args.episode) if args.episode else _recorded(args)
    save_pictures(episode, args.out, frames=args.frames)
    outcome = "success" if episode.success else "failure"
    print(f"{args.out}: {'; '.join(episode.instructions)} ({episode.policy}, {outcome}, {episode.times[-1]:.1f} s)")
    return 0


def _bag(args: argparse.Namespace) -> int:
    episode = load_episode(args.episode)
    write_bag(episode, args.out, options=BagOptions(depth_encoding=args.depth_encoding, overwrite=args.overwrite))
    print(f"{args.out}: {'; '.join(episode.instructions)} ({len(episode.times)} frames)")
    return 0


def _recorded(args: argparse.Namespace) -> Episode:
    options = _recording_options(args)
    from fourd_ros.simulation.recording import record_episode

    return record_episode(args.seed, options)


def _recording_options(args: argparse.Namespace) -> "RecordingOptions":
    _require_mujoco()
    from fourd_ros.simulation.recording import RecordingOptions

    width, height = args.size
    return RecordingOptions(
        tasks=args.tasks,
        policies=args.policies,
        cameras=args.cameras,
        width=width,
        height=height,
        rate=args.rate,
        max_duration=args.max_duration,
        shadows=not args.no_shadows,
        camera_spread=args.camera_spread,
    )


def _require_mujoco() -> None:
    try:
        import mujoco  # noqa: F401
    except ImportError as error:
        raise MissingDependency(f"the simulator needs MuJoCo ({error}): {pip_install('mujoco')}") from error
