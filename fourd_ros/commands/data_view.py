"""``fourd data view``: pictures of one episode."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from fourd_ros.commands.arguments import positive_int

if TYPE_CHECKING:
    from fourd_ros.data.episode import Episode

SUMMARY = "pictures of an episode: a contact sheet or a film"
EXAMPLES = [
    "fourd data view my_dataset --out look.png",
    "fourd data view my_dataset --episode episode_000012 --out look.gif",
    "fourd data view out/episodes/episode_000000.npz --frames 12",
]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What to show, and where."""
    parser.add_argument("data", type=Path, help="folder of a data set, or the file of an episode")
    parser.add_argument("--episode", metavar="NAME", help="which of the data set (default: the first)")
    parser.add_argument("--out", type=Path, default=Path("out/view.png"), help=".png or .gif (default out/view.png)")
    parser.add_argument("--frames", type=positive_int, default=8, help="columns of a contact sheet (default 8)")


def run(args: argparse.Namespace) -> int:
    """Write the pictures."""
    from fourd_ros.data.contact_sheet import save_pictures

    episode = _episode(args.data, args.episode)
    save_pictures(episode, args.out, frames=args.frames)
    print(f"{args.out}: {', '.join([episode.name, *episode.instructions])} ({episode.times[-1]:.1f} s)")
    return 0


def _episode(path: Path, name: str | None) -> "Episode":
    from fourd_ros.data.episode import load_episode
    from fourd_ros.data.episode_dataset import EpisodeDataset
    from fourd_ros.errors import InvalidDataset

    if not path.is_dir():
        return load_episode(path)
    dataset = EpisodeDataset(path)
    if not len(dataset):
        raise InvalidDataset(f"'{path}' has no episodes")
    return dataset[dataset.index(name) if name else 0]
