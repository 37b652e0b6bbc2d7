"""``fourd convert``: published checkpoints become model folders, rollouts the files of another viewer."""

import argparse
from pathlib import Path
from types import ModuleType

from fourd_ros.commands import convert_checkpoint, convert_rollout
from fourd_ros.errors import InvalidParameter

EXAMPLES = [*convert_checkpoint.EXAMPLES, *convert_rollout.EXAMPLES]

ROLLOUT = "rollout"
"""In the place of a system; everything else is one."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What is converted, and the options of both kinds."""
    from fourd_ros.model_io.converters import CONVERTERS

    systems = ", ".join(sorted(CONVERTERS))
    parser.add_argument(
        "system",
        metavar="SYSTEM",
        help=f"whose checkpoint it is: {systems}, or module:CONVERTER of your own; or '{ROLLOUT}'",
    )
    parser.add_argument(
        "source",
        type=Path,
        metavar="SRC",
        help="checkpoint: file, or folder with .safetensors, .bin, .pt, .pth or .ckpt files (and their index); "
        f"{ROLLOUT}: its file, or a folder of films",
    )
    parser.add_argument("target", type=Path, metavar="DST", help="model folder, or file (of films: folder) to create")
    parser.add_argument("--overwrite", action="store_true", help="replace what lies at DST")
    checkpoint = convert_checkpoint.add_options(parser.add_argument_group("of checkpoints"))
    rollout = convert_rollout.add_options(parser.add_argument_group(f"of {ROLLOUT}"))
    parser.set_defaults(options={convert_checkpoint: checkpoint, convert_rollout: rollout})


def run(args: argparse.Namespace) -> int:
    """Convert."""
    module = convert_rollout if args.system == ROLLOUT else convert_checkpoint
    _refuse_others(args, module)
    return int(module.run(args))


def _refuse_others(args: argparse.Namespace, chosen: ModuleType) -> None:
    """An option that would have no effect is a misunderstanding."""
    others = [action for module, actions in args.options.items() if module is not chosen for action in actions]
    for action in others:
        if getattr(args, action.dest) != action.default:
            raise InvalidParameter(f"{action.option_strings[0]} has no meaning for '{args.system}'")
