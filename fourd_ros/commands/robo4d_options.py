"""What the verbs over clips share: their size, which of them, and what is said about each."""

import argparse
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from tqdm import tqdm

from fourd_ros.commands.arguments import image_size, positive_int

if TYPE_CHECKING:
    from fourd_ros.data.robo4d_work import ClipOutcome


def add_size_options(parser: argparse.ArgumentParser) -> None:
    """``--frames`` and ``--size``, which `chosen_size` reads."""
    parser.add_argument("--frames", type=positive_int, metavar="N", help="default: those of the folder, or 49")
    parser.add_argument("--size", type=image_size, metavar="WxH", help="default: that of the folder, or 720x480")


def chosen_size(args: argparse.Namespace) -> dict[str, int]:
    """Frames, height and width of the clips."""
    from fourd_ros.data.robo4d_folder import Robo4DFolder
    from fourd_ros.data.robo4d_work import clip_size

    frames, height, width = clip_size(Robo4DFolder(args.folder))
    if args.size:
        width, height = args.size
    return {"frames": args.frames or frames, "height": height, "width": width}


def add_shard_option(parser: argparse.ArgumentParser) -> None:
    """``--shard``."""
    parser.add_argument(
        "--shard",
        type=_shard,
        default=(0, 1),
        metavar="I/N",
        help="only the clips of machine (or GPU) I of N, from 0; they are divided by name as in the original",
    )


def _shard(text: str) -> tuple[int, int]:
    index, _, count = text.partition("/")
    if not (index.isdecimal() and count.isdecimal() and int(index) < int(count)):
        raise argparse.ArgumentTypeError(f"must be like 0/4, up to 3/4, got '{text}'")
    return int(index), int(count)


def follow(found: "Iterable[ClipOutcome]", count: int, args: argparse.Namespace, *, what: str) -> int:
    """Show how work on clips goes on and what came of it.

    Args:
        found: what becomes of each, as it is done.
        count: how many clips there are.
        args: with ``folder`` and ``json``.
        what: is made, in words.

    Returns:
        The exit status: 1 where something could not be made.
    """
    outcomes = []
    for outcome in tqdm(found, total=count, unit="clip", disable=args.json or None):
        outcomes.append(outcome)
        if args.json:
            print(json.dumps(asdict(outcome)), flush=True)
    if not args.json:
        print_outcomes(args.folder, outcomes, what=what)
    return int(any(outcome.problem for outcome in outcomes))


def print_outcomes(folder: Path, outcomes: "Sequence[ClipOutcome]", *, what: str) -> None:
    """How many there are, and a line for each that could not be made."""
    made = sum(outcome.made for outcome in outcomes)
    problems = [outcome for outcome in outcomes if outcome.problem]
    there = len(outcomes) - made - len(problems)
    print(f"{folder}: {made} new {what}, {there} were there already, {len(problems)} left out")
    for outcome in problems:
        print(f"  {outcome.name}: {outcome.problem}")
