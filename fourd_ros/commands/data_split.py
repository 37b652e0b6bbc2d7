"""``fourd data split``: training, validation and test."""

import argparse
import json
from collections import Counter
from pathlib import Path

from fourd_ros.commands.arguments import non_negative_float

SUMMARY = "divide a data set into training, validation and test, the same way each time"
EXAMPLES = [
    "fourd data split my_dataset --validation 0.1 --test 0.1",
    "fourd data split my_dataset --validation 0.2 --by source",
]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What to divide, and how."""
    parser.add_argument("dataset", type=Path, help="folder of the data set; splits.json is written there")
    parser.add_argument("--validation", type=non_negative_float, default=0.1, help="share, on average (default 0.1)")
    parser.add_argument("--test", type=non_negative_float, default=0.1, help="share, on average (default 0.1)")
    parser.add_argument(
        "--by",
        choices=("name", "source", "task"),
        default="name",
        help="what stays together: single episodes, pieces of one recording, or a task (default name)",
    )
    parser.add_argument("--seed", type=int, default=0, help="another one gives another draw (default 0)")
    parser.add_argument("--json", action="store_true", help="for scripts")


def run(args: argparse.Namespace) -> int:
    """Draw the splits."""
    from fourd_ros.data.splits import SPLITS, split_dataset

    splits = split_dataset(args.dataset, validation=args.validation, test=args.test, by=args.by, seed=args.seed)
    counts = Counter(splits.values())
    if args.json:
        print(json.dumps({split: counts[split] for split in SPLITS}))
    else:
        print(f"{args.dataset}: " + ", ".join(f"{counts[split]} {split}" for split in SPLITS))
    return 0
