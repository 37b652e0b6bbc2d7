"""``fourd data tabletop``: the data of the compact world model."""

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from tqdm import tqdm

from fourd_ros.commands.arguments import add_parallel_options, non_negative_int, parallel_options, positive_int

if TYPE_CHECKING:
    from fourd_ros.simulation.tabletop_statistics import SplitStatistics

SUMMARY = "simulated episodes that train and judge the compact world model; goes on where it stopped"
EXAMPLES = [
    "fourd data tabletop out/tabletop/train --split train --episodes 10000",
    "fourd data tabletop out/mine --split new_shapes --episodes 200 --seed 7 --jobs 2",
]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which episodes, and where to."""
    parser.add_argument("folder", type=Path, help="of the data set; made where it is missing")
    parser.add_argument(
        "--split",
        default="train",
        metavar="NAME",
        help="train, clumsy, drawers, validation, test, new_shapes, new_cameras or noisy_depth (default train)",
    )
    parser.add_argument("--episodes", type=positive_int, default=100, help="how many (default 100)")
    parser.add_argument("--seed", type=non_negative_int, default=0, help="other episodes of the split (default 0)")
    parser.add_argument("--size", type=positive_int, default=128, help="width and height of pictures (default 128)")
    parser.add_argument("--no-shadows", dest="shadows", action="store_false", help="three times as fast")
    parser.add_argument("--json", action="store_true", help="what is in the data set, for scripts; no progress bar")
    add_parallel_options(parser)


def run(args: argparse.Namespace) -> int:
    """Record what is missing, then say what is in the data set."""
    from fourd_ros.data.episode_dataset import EpisodeDataset
    from fourd_ros.simulation.tabletop import TabletopOptions
    from fourd_ros.simulation.tabletop_dataset import content, record_tabletop_dataset
    from fourd_ros.simulation.tabletop_scene import tabletop_seeds
    from fourd_ros.simulation.tabletop_statistics import episode_facts, tabletop_statistics

    seeds = tabletop_seeds(args.split, seed=args.seed, episodes=args.episodes)
    options = TabletopOptions(size=args.size, shadows=args.shadows)
    recorded = record_tabletop_dataset(args.folder, args.split, seeds, options, **parallel_options(args))
    with tqdm(total=len(seeds), unit="episode", disable=args.json or None) as bar:
        for done in recorded:
            bar.update(done)
    dataset = EpisodeDataset(args.folder)
    statistics = tabletop_statistics(episode_facts(dataset))
    if args.json:
        print(json.dumps({"dataset": str(args.folder), **content(dataset), "statistics": asdict(statistics)}))
    else:
        print(_format(args.folder, statistics))
    return 0


def _format(folder: Path, statistics: "SplitStatistics") -> str:
    tasks = ", ".join(f"{name} {count}" for name, count in statistics.tasks.items())
    return "\n".join(
        (
            f"{folder}: {statistics.episodes} episodes ({tasks})",
            f"  objects that moved     {statistics.moved:.2f} an episode, {100 * statistics.displacement:.1f} cm each",
            f"  an object is carried   {statistics.grasped:.0%}",
            f"  several objects        {statistics.several:.0%}",
            f"  nothing moves          {statistics.still:.0%}",
            f"  seen in first frame    {statistics.visible:.0%} of the objects",
        )
    )
