"""``fourd convert rollout``: rollouts, or films of colours and points, become the npz of Kinema4D's viewer."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from fourd_ros.commands.arguments import Parser, positive_float, positive_int
from fourd_ros.errors import FourdError, InvalidDataset, InvalidParameter, MissingCamera

if TYPE_CHECKING:
    from fourd_ros.data.viser_npz import Content, ViserOptions

EXAMPLES = [
    "fourd convert rollout rollout.npz out/viser.npz --view front",
    "fourd convert rollout out/videos out/viser --xyz out/pointmap",
]

_FILM = ".mp4"


def add_options(parser: Parser) -> list[argparse.Action]:
    """What of the frames is written."""
    return [
        parser.add_argument("--view", metavar="NAME", help="camera of a rollout (default: the first)"),
        parser.add_argument(
            "--xyz", type=Path, metavar="DIR", help="films of points, named as those of colours in SRC"
        ),
        parser.add_argument(
            "--max-frames", type=positive_int, default=100, metavar="N", help="at most so many (default 100)"
        ),
        parser.add_argument("--frame-gap", type=positive_int, default=1, metavar="N", help="only every Nth frame"),
        parser.add_argument(
            "--downsample-factor",
            type=positive_int,
            default=1,
            metavar="N",
            help="every Nth pixel and row, of what the viewer shows",
        ),
        parser.add_argument(
            "--depth-mode", choices=("z", "norm"), default="z", help="along the optical axis (default) or the ray"
        ),
        parser.add_argument(
            "--depth-min", type=positive_float, default=1e-4, metavar="M", help="nothing is nearer (default 0.0001)"
        ),
    ]


def run(args: argparse.Namespace) -> int:
    """Convert one rollout, or every pair of films; what is there already is left alone."""
    from fourd_ros.data.viser_npz import ViserOptions

    options = ViserOptions(
        max_frames=args.max_frames,
        frame_gap=args.frame_gap,
        downsample_factor=args.downsample_factor,
        depth_mode=args.depth_mode,
        depth_min=args.depth_min,
    )
    return _films(args, options) if args.source.is_dir() else _rollout(args, options)


def _rollout(args: argparse.Namespace, options: "ViserOptions") -> int:
    from fourd_ros.data.viser_npz import content_of_view
    from fourd_ros.world_model.rollout_file import load_rollout

    if args.xyz is not None:
        raise InvalidParameter(f"--xyz is for films, and '{args.source}' is no folder of them")
    if _is_there(args.target, args):
        return 0
    rollout = load_rollout(args.source).rollout
    view = next(iter(rollout.views), "") if args.view is None else args.view
    if view not in rollout.views:
        raise MissingCamera(f"view '{view}' asked for; the rollout has {list(rollout.views)}")
    _write(args.target, content_of_view(rollout.views[view], options))
    return 0


def _films(args: argparse.Namespace, options: "ViserOptions") -> int:
    from fourd_ros.data.viser_npz import content_of_videos

    if args.view is not None:
        raise InvalidParameter(f"--view is for rollouts, and '{args.source}' is a folder of films")
    failed = 0
    for rgb, xyz in _pairs(args.source, args.xyz):
        target = args.target / f"{rgb.stem}.npz"
        if _is_there(target, args):
            continue
        try:
            _write(target, content_of_videos(rgb, xyz, options))
        except FourdError as error:
            failed += 1
            print(f"left out: {error}", file=sys.stderr)
    return 1 if failed else 0


def _pairs(rgb: Path, xyz: Path | None) -> list[tuple[Path, Path]]:
    """Films of one name in both folders.

    Raises:
        InvalidParameter: the other folder is not named.
        InvalidDataset: there are none.
    """
    if xyz is None:
        raise InvalidParameter(f"'{rgb}' is a folder of films of colours; name that of the points: --xyz DIR")
    colours = {path.stem: path for path in sorted(rgb.glob(f"*{_FILM}"))}
    points = {path.stem: path for path in sorted(xyz.glob(f"*{_FILM}"))}
    alone = sorted(colours.keys() ^ points.keys())
    if alone:
        print(f"without its counterpart: {', '.join(alone[:8])} ({len(alone)} films)", file=sys.stderr)
    pairs = [(colours[name], points[name]) for name in colours if name in points]
    if not pairs:
        raise InvalidDataset(f"'{rgb}' and '{xyz}' have no {_FILM} films of the same name")
    return pairs


def _is_there(target: Path, args: argparse.Namespace) -> bool:
    there = target.exists() and not args.overwrite
    if there:
        print(f"{target}: is there already")
    return there


def _write(target: Path, content: "Content") -> None:
    from fourd_ros.data.viser_npz import save_content

    save_content(content, target)
    frames, height, width, _ = content["images"].shape
    print(f"{target}: {frames} frames of {width} x {height}")
