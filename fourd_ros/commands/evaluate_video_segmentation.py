"""``fourd evaluate video-segmentation``: objects found without a network in simulated videos of a camera at rest."""

import argparse
import json
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from fourd_ros.commands.arguments import positive_int

if TYPE_CHECKING:
    from fourd_ros.evaluation.video_segmentation import FoundObject, VideoScore

SUMMARY = "mask IoU of the objects that fourd prepare-video finds by itself, on held-out simulated scenes"
EXAMPLES = ["fourd evaluate video-segmentation --videos 20"]

CONDITIONS: Mapping[str, Mapping[str, bool]] = {
    "no robot, exact depth": {"robot": False, "noisy": False},
    "no robot, measured depth": {"robot": False, "noisy": True},
    "robot, exact depth": {"robot": True, "noisy": False},
    "robot, measured depth": {"robot": True, "noisy": True},
    "no robot, no depth": {"robot": False, "noisy": False, "depth": False},
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """How many videos, and of which size."""
    parser.add_argument("--videos", type=positive_int, default=20, help="of each kind (default 20)")
    parser.add_argument("--size", type=positive_int, default=256, help="width and height of pictures (default 256)")
    parser.add_argument("--frames", type=positive_int, default=16, help="of a video, 2 to 17 (default 16)")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")


def run(args: argparse.Namespace) -> int:
    """Film, find, compare, and print a table."""
    from fourd_ros.compositional.segmentation.background_segmenter import BackgroundSegmenter
    from fourd_ros.evaluation.video_segmentation import evaluate_segmenter

    figures = {}
    for name, condition in CONDITIONS.items():
        scores = evaluate_segmenter(
            BackgroundSegmenter(), videos=args.videos, size=args.size, frames=args.frames, **condition
        )
        figures[name] = _figures(list(scores))
        if not args.json:
            print(_line(name, figures[name]), flush=True)
    if args.json:
        print(json.dumps(figures))
    return 0


def _figures(scores: Iterable["VideoScore"]) -> dict[str, float]:
    import numpy as np

    scores = list(scores)
    things: list[FoundObject] = [thing for score in scores for thing in score.things]
    moving = [thing.iou for thing in things if thing.moves]
    overlaps = np.array([thing.iou for thing in things])
    return {
        "things": len(things),
        "iou": float(overlaps.mean()),
        "iou_median": float(np.median(overlaps)),
        "found": float((overlaps > 0.5).mean()),
        "iou_of_moving": float(np.mean(moving)) if moving else float("nan"),
        "motion_right": float(np.mean([thing.moves == thing.moves_found for thing in things])),
        "others_a_video": float(np.mean([score.others for score in scores])),
    }


def _line(name: str, figures: Mapping[str, float]) -> str:
    return (
        f"{name}: {figures['things']:.0f} things, IoU {figures['iou']:.3f} (median {figures['iou_median']:.3f}, "
        f"moving {figures['iou_of_moving']:.3f}), {figures['found']:.0%} found, "
        f"motion right {figures['motion_right']:.0%}, {figures['others_a_video']:.1f} other objects a video"
    )
