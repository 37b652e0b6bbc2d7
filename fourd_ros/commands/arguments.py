"""Types of command-line arguments: a wrong value ends in one line of usage, never in the work itself."""

import argparse
import json
import math
import os
from dataclasses import asdict
from typing import Any

Parser = argparse.ArgumentParser | argparse._ArgumentGroup
"""What takes arguments."""


def positive_int(text: str) -> int:
    """A whole number from 1."""
    return _whole(text, least=1)


def non_negative_int(text: str) -> int:
    """A whole number from 0."""
    return _whole(text, least=0)


def positive_float(text: str) -> float:
    """A finite number above 0."""
    value = _finite(text)
    if value <= 0:
        raise argparse.ArgumentTypeError(f"must be above 0, got '{text}'")
    return value


def non_negative_float(text: str) -> float:
    """A finite number from 0."""
    value = _finite(text)
    if value < 0:
        raise argparse.ArgumentTypeError(f"must not be negative, got '{text}'")
    return value


def confidence(text: str) -> float:
    """A number between 0 and 1, neither of them."""
    value = _finite(text)
    if not 0 < value < 1:
        raise argparse.ArgumentTypeError(f"must lie between 0 and 1, got '{text}'")
    return value


def names(text: str) -> tuple[str, ...]:
    """Words between commas."""
    return tuple(name.strip() for name in text.split(",") if name.strip())


def image_size(text: str) -> tuple[int, int]:
    """Width and height in pixels: ``N`` or ``WIDTHxHEIGHT``."""
    width, _, height = text.lower().partition("x")
    return positive_int(width), positive_int(height or width)


def renaming(text: str) -> tuple[str, str]:
    """``/old/name:=/new/name`` as a pair."""
    old, separator, new = text.partition(":=")
    if not separator or not old or not new:
        raise argparse.ArgumentTypeError(f"'{text}' is not like /recorded/name:=/new/name")
    return old, new


def _whole(text: str, *, least: int) -> int:
    try:
        value = int(text)
    except ValueError:
        value = least - 1
    if value < least:
        raise argparse.ArgumentTypeError(f"must be a whole number of at least {least}, got '{text}'")
    return value


def _finite(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise argparse.ArgumentTypeError(f"must be a finite number, got '{text}'")
    return value


def cores() -> int:
    """How many this process may use."""
    return len(os.sched_getaffinity(0))


def add_parallel_options(parser: argparse.ArgumentParser) -> None:
    """``--jobs`` and ``--ray``, which `parallel_options` reads."""
    parser.add_argument("--jobs", type=positive_int, default=cores(), help="processes (default: one a core)")
    parser.add_argument(
        "--ray",
        nargs="?",
        const="",
        metavar="ADDRESS",
        help="do the jobs as Ray tasks: on a cluster, or without ADDRESS on a local one of --jobs workers",
    )


def parallel_options(args: argparse.Namespace) -> dict[str, Any]:
    """The options of `fourd_ros.data.parallel.run_jobs`."""
    return {"workers": args.jobs, "ray": args.ray is not None, "address": args.ray or None}


def print_settings(config_class: type[Any], *, as_json: bool) -> int:
    """List what a configuration may hold: key, default, meaning, type and range. Returns the exit status."""
    from fourd_ros.training.settings import setting_rows

    rows = setting_rows(config_class)
    if as_json:
        print(json.dumps([asdict(row) for row in rows], indent=1))
        return 0
    width = max(len(row.key) for row in rows) + 2
    for row in rows:
        legal = ", ".join(filter(None, (row.type, row.range)))
        print(f"{row.key.ljust(width)}{row.default}\n{' ' * width}{row.description} ({legal})")
    return 0
