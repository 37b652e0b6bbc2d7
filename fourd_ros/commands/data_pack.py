"""``fourd data pack``: episode files become a data set."""

import argparse
import json
from dataclasses import asdict
from pathlib import Path

from tqdm import tqdm

from fourd_ros.commands.arguments import add_parallel_options, parallel_options, positive_float

SUMMARY = "put episode files (.npz) into a data set for training; goes on where it stopped"
EXAMPLES = [
    "fourd data pack out/episodes my_dataset --licence CC-BY-4.0",
    "fourd data pack out/episodes/episode_00000*.npz my_dataset --jobs 2",
]

MEGABYTE = 1e6


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What to pack, and where to."""
    parser.add_argument("episodes", type=Path, nargs="+", help="files, or folders of files, of 'fourd sim record'")
    parser.add_argument("dataset", type=Path, help="folder of the data set; made where it is missing")
    parser.add_argument("--name", default="", help="of a new data set (default: that of its folder)")
    parser.add_argument("--description", default="", help="of a new data set")
    parser.add_argument("--licence", default="", help="of a new data set, as an SPDX identifier")
    parser.add_argument(
        "--shard-size", type=positive_float, default=256.0, metavar="MB", help="largest shard (default 256)"
    )
    parser.add_argument("--json", action="store_true", help="a line of JSON for each file, no progress bar")
    add_parallel_options(parser)


def run(args: argparse.Namespace) -> int:
    """Pack the files; 1 where one of them could not be."""
    from fourd_ros.data.dataset_card import DatasetCard
    from fourd_ros.data.episode_packing import episode_files, pack_episodes

    files = episode_files(args.episodes)
    card = DatasetCard(
        name=args.name or args.dataset.resolve().name,
        description=args.description,
        licence=args.licence,
        made_by="fourd data pack",
    )
    shard_bytes = round(args.shard_size * MEGABYTE)
    packed = pack_episodes(files, args.dataset, card=card, shard_bytes=shard_bytes, **parallel_options(args))
    done = []
    for file in tqdm(packed, total=len(files), unit="episode", disable=args.json or None):
        done.append(file)
        if args.json:
            print(json.dumps(asdict(file)), flush=True)
    dropped = [file for file in done if file.dropped]
    if not args.json:
        added = sum(file.added for file in done)
        there = len(done) - added - len(dropped)
        print(f"{args.dataset}: {added} new episodes, {there} were there already, {len(dropped)} left out")
        for file in dropped:
            print(f"  {file.path}: {file.dropped}")
    return int(bool(dropped))
