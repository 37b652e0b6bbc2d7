"""``fourd data encode-latents``: what training on clips reads."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from fourd_ros.commands.arguments import add_parallel_options, non_negative_int, parallel_options
from fourd_ros.commands.robo4d_options import add_shard_option, add_size_options, chosen_size, follow

if TYPE_CHECKING:
    from fourd_ros.world_model.kinema4d.encoding import EncodingOptions

SUMMARY = "latents of the clips of a folder (layout of Robo4D-200k), by the networks of a model folder"
EXAMPLES = [
    "fourd data encode-latents robo4d --model kinema4d --jobs 1 --device cuda --dtype float16",
    "fourd data encode-latents robo4d --model kinema4d --shard 3/32",
    "fourd data encode-latents out/robo4d --model out/small_model --mean --jobs 2",
]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which clips, and how they are encoded."""
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="with films of all four streams")
    parser.add_argument(
        "--model",
        required=True,
        metavar="MODEL",
        help="folder with vae, image_encoder, image_processor, or its name",
    )
    add_size_options(parser)
    parser.add_argument("--mean", action="store_true", help="the mean of the posterior (default: a sample, as trained)")
    parser.add_argument(
        "--seed", type=non_negative_int, default=0, metavar="N", help="of the samples; each clip draws its own"
    )
    parser.add_argument(
        "--points-from-films", action="store_true", help="8 bits, as in the original, even where points are exact"
    )
    parser.add_argument("--device", default="cpu", help="where the networks compute, like cuda:1 (default cpu)")
    parser.add_argument(
        "--dtype", choices=("float32", "bfloat16", "float16"), default="float32", help="of the autoencoder"
    )
    parser.add_argument("--allow-noncommercial", action="store_true", help="use networks with such terms")
    add_shard_option(parser)
    add_parallel_options(parser)
    parser.add_argument("--json", action="store_true", help="a line of JSON for each clip, no progress bar")


def run(args: argparse.Namespace) -> int:
    """Encode what is missing; 1 where a clip could not be encoded."""
    from fourd_ros.data.robo4d_folder import Robo4DFolder
    from fourd_ros.model_io.folder import find_model
    from fourd_ros.world_model.kinema4d.encoding import encode_latents

    count, found = encode_latents(
        Robo4DFolder(args.folder),
        find_model(args.model),
        _options(args),
        device=args.device,
        allow_noncommercial=args.allow_noncommercial,
        shard=args.shard,
        **parallel_options(args),
    )
    return follow(found, count, args, what="clips encoded")


def _options(args: argparse.Namespace) -> "EncodingOptions":
    from fourd_ros.world_model.kinema4d.encoding import EncodingOptions

    return EncodingOptions(
        **chosen_size(args), mean=args.mean, seed=args.seed, films=args.points_from_films, dtype=args.dtype
    )
