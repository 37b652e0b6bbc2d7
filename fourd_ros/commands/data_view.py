"""``fourd data view``: pictures of one episode."""

import argparse
from pathlib import Path

from fourd_ros.commands.arguments import positive_int

SUMMARY = "pictures of an episode: a contact sheet or a film"
EXAMPLES = [
    "fourd data view out/episodes/episode_000000.npz --out look.png",
    "fourd data view out/episodes/episode_000000.npz --out look.gif",
]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What to show, and where."""
    parser.add_argument("episode", type=Path, help="file of an episode")
    parser.add_argument("--out", type=Path, default=Path("out/view.png"), help=".png or .gif (default out/view.png)")
    parser.add_argument("--frames", type=positive_int, default=8, help="columns of a contact sheet (default 8)")


def run(args: argparse.Namespace) -> int:
    """Write the pictures."""
    from fourd_ros.data.contact_sheet import save_pictures
    from fourd_ros.data.episode import load_episode

    episode = load_episode(args.episode)
    save_pictures(episode, args.out, frames=args.frames)
    print(f"{args.out}: {episode.name}, {'; '.join(episode.instructions)} ({episode.times[-1]:.1f} s)")
    return 0
