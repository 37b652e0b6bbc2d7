"""The option ``--remap FROM:=TO`` of commands that start nodes."""

import argparse
import re
from collections.abc import Sequence

_RULE = re.compile(r"[\w/~]+:=[\w/~]+")


def add_remapping(parser: argparse._ActionsContainer) -> None:
    """Add the option; its rules are ``args.remap``."""
    parser.add_argument(
        "--remap",
        action="append",
        default=[],
        type=_rule,
        metavar="FROM:=TO",
        help="another name for a topic, service or action; may be repeated",
    )


def ros_arguments(rules: Sequence[str]) -> list[str]:
    """The rules as words after ``--ros-args``."""
    return [word for rule in rules for word in ("-r", rule)]


def _rule(text: str) -> str:
    if not _RULE.fullmatch(text):
        raise argparse.ArgumentTypeError(f"'{text}' is not like front/image:=/camera/color/image_raw")
    return text
