"""``fourd data info``: what a data set holds."""

import argparse
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fourd_ros.data.dataset_summary import DatasetSummary

SUMMARY = "what a data set holds: episodes, cameras, robots, tasks, splits"
EXAMPLES = ["fourd data info my_dataset", "fourd data info my_dataset --json | jq .tasks"]

MOST = 8
"""So many tasks, policies or sources are listed."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What to look at."""
    parser.add_argument("dataset", type=Path, help="folder of the data set")
    parser.add_argument("--json", action="store_true", help="for scripts")


def run(args: argparse.Namespace) -> int:
    """Print the summary."""
    from fourd_ros.data.dataset_summary import summarize_dataset

    summary = summarize_dataset(args.dataset)
    print(json.dumps(summary.as_dict(), indent=1) if args.json else format_summary(summary))
    return 0


def format_summary(summary: "DatasetSummary") -> str:
    """The table of ``fourd data info``."""
    rows = list(_rows(summary))
    width = max(len(key) for key, _ in rows)
    return "\n".join([f"{summary.path}: {summary.card.name}", *(f"  {key:<{width}}  {value}" for key, value in rows)])


def _rows(summary: "DatasetSummary") -> Iterator[tuple[str, str]]:
    card = summary.card
    if card.description:
        yield "about", card.description
    yield "licence", card.licence or "not stated"
    if card.made_by:
        yield "made by", card.made_by
    rates = ", ".join(f"{rate:g}" for rate in sorted(summary.rates))
    yield "episodes", f"{summary.episodes} in {summary.shards} shards, {summary.bytes / 1e6:.1f} MB"
    yield "frames", f"{summary.frames}, {summary.duration:.1f} s, at {rates or 'no'} Hz"
    for camera, count in summary.cameras.items():
        extras = [name for name in ("depth", "segmentation") if getattr(camera, name)]
        size = f"{camera.width} x {camera.height}"
        yield f"camera {camera.name}", f"{', '.join(['colour', *extras])}, {size}, {count} episodes"
    for names, count in summary.joints.items():
        yield f"{len(names)} joints", f"{', '.join(names)} ({count} episodes)"
    for names, count in summary.actions.items():
        yield f"{len(names)} actions", f"{', '.join(names)} ({count} episodes)"
    yield "sources", _listed(summary.sources)
    yield "tasks", f"{_listed(summary.tasks)}; {summary.instructions} different instructions"
    yield "policies", _listed(summary.policies)
    yield "success", f"{summary.successes} of {summary.judged} that were judged"
    yield "splits", _listed(summary.splits) if summary.splits else "none; 'fourd data split' draws them"


def _listed(counts: Mapping[str, int]) -> str:
    """The most frequent first."""
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    texts = [f"{name} {count}" for name, count in ranked[:MOST]]
    if len(ranked) > MOST:
        texts.append(f"and {len(ranked) - MOST} more")
    return ", ".join(texts) or "none"
