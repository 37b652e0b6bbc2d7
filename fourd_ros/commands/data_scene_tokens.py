"""``fourd data scene-tokens``: what a language head is trained on, of pictures or of the original's token files."""

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from tqdm import tqdm

from fourd_ros.errors import InvalidDataset

if TYPE_CHECKING:
    from fourd_ros.scene_language.aggregator import FrameTokens

SUMMARY = "tokens of the pictures of a scene, of the layers that a language head reads, float16"
EXAMPLES = [
    "fourd data scene-tokens americano/rgb/2x americano/tokens --model models/streamvggt --allow-noncommercial",
    "fourd data scene-tokens americano/rgb/2x americano/tokens --official americano/streamvggt_token",
]

PICTURES = (".png", ".jpg", ".jpeg")
PUBLISHED = "4,11,17,23"
PUBLISHED_WINDOW = 128


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Pictures, and where their tokens come from and go to."""
    parser.add_argument("pictures", type=Path, metavar="PICTURES", help="folder of PNG or JPEG, in the order of names")
    parser.add_argument("out", type=Path, metavar="FOLDER", help="for a .safetensors a picture; those there are kept")
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--model", metavar="MODEL", help="folder or shipped name of the network that makes them")
    source.add_argument("--official", type=Path, metavar="FOLDER", help="of .npy token files, to convert")
    parser.add_argument(
        "--layers", type=_layers, default=_layers(PUBLISHED), help=f"of --official, that are kept (default {PUBLISHED})"
    )
    parser.add_argument(
        "--as-original",
        action="store_true",
        help=f"of --model: turn landscape pictures, and remember the last {PUBLISHED_WINDOW} frames without the first",
    )
    parser.add_argument("--device", default="cpu", help="of --model, to compute on (default cpu)")
    parser.add_argument("--allow-noncommercial", action="store_true", help="accept weights with such terms")
    parser.add_argument("--json", action="store_true", help="print what was written as JSON; no progress bar")


def run(args: argparse.Namespace) -> int:
    """Write what is missing."""
    from fourd_ros.scene_language.token_files import SUFFIX, write_tokens

    pictures = sorted(path for path in args.pictures.glob("*") if path.suffix.lower() in PICTURES)
    if not pictures:
        raise InvalidDataset(f"'{args.pictures}' has no {', '.join(PICTURES)}")
    targets = [args.out / f"{path.stem}{SUFFIX}" for path in pictures]
    written = 0
    if not all(path.exists() for path in targets):
        args.out.mkdir(parents=True, exist_ok=True)
        made = zip(targets, _tokens(pictures, args), strict=True)
        for path, tokens in tqdm(made, total=len(targets), unit="frame", disable=args.json or None):
            if not path.exists():
                write_tokens(path, tokens, layers=tokens.layers)
                written += 1
    told = {"folder": str(args.out), "frames": len(targets), "written": written}
    print(json.dumps(told) if args.json else f"{args.out}: {len(targets)} frames, {written} of them new")
    return 0


def _tokens(pictures: list[Path], args: argparse.Namespace) -> Iterator["FrameTokens"]:
    from fourd_ros.model_io.folder import find_model
    from fourd_ros.model_io.loading import load_component
    from fourd_ros.scene_language.conversion import GEOMETRY
    from fourd_ros.scene_language.geometry_stream import GeometryStream
    from fourd_ros.scene_language.token_cache import KeepWindow
    from fourd_ros.scene_language.token_files import official_frame, streamed_frames

    if args.official is not None:
        for picture in pictures:
            yield official_frame(args.official / f"{picture.stem}.npy", image=picture, layers=args.layers)
        return
    network = load_component(
        find_model(args.model), GEOMETRY, allow_noncommercial=args.allow_noncommercial, device=args.device
    )
    policy = KeepWindow(frames=PUBLISHED_WINDOW, anchor=False) if args.as_original else KeepWindow()
    stream = GeometryStream(network.eval(), policy=policy)
    yield from streamed_frames(stream, pictures, official_compat=args.as_original)


def _layers(text: str) -> tuple[int, ...]:
    try:
        layers = tuple(int(part) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"'{text}' are no layers; needed is something like {PUBLISHED}") from None
    if min(layers) < 0:
        raise argparse.ArgumentTypeError(f"'{text}' has a layer below 0; the first one is 0")
    return layers
