"""``fourd data validate``: every problem of a data set."""

import argparse
import json
from dataclasses import asdict
from pathlib import Path

from tqdm import tqdm

from fourd_ros.commands.arguments import add_parallel_options, parallel_options

SUMMARY = "read every byte of a data set and list what is wrong; exit status 1 if anything is"
EXAMPLES = ["fourd data validate my_dataset", "fourd data validate my_dataset --json | jq '.problems[].where'"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What to read, and with how many."""
    parser.add_argument("dataset", type=Path, help="folder of the data set")
    parser.add_argument("--json", action="store_true", help="for scripts; no progress bar")
    add_parallel_options(parser)


def run(args: argparse.Namespace) -> int:
    """List the problems."""
    from fourd_ros.data.validation import count_shards, validate

    with tqdm(total=count_shards(args.dataset), unit="shard", disable=args.json or None) as bar:
        problems = validate(args.dataset, progress=bar.update, **parallel_options(args))
    if args.json:
        print(json.dumps({"ok": not problems, "problems": [asdict(problem) for problem in problems]}, indent=1))
    else:
        print("\n".join(f"{problem.where}: {problem.what}" for problem in problems) or f"{args.dataset}: no problems")
    return int(bool(problems))
