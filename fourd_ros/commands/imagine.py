"""``fourd imagine BAG``: the world model over a bag, into a bag with both."""

import argparse
import json
import os
import time
from collections.abc import Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any

from tqdm import tqdm

from fourd_ros.commands.arguments import non_negative_float, positive_float, positive_int
from fourd_ros.data.bag_inputs import COMMAND_TOPIC
from fourd_ros.data.bags import BagWriter

EXAMPLES = [
    "fourd imagine my_bag",
    "fourd imagine my_bag --at 1.5 4.0 --horizon 3 --views front",
    "fourd imagine my_bag --every 0.5 --backend kinematic --out out/imagined --json",
    "fourd imagine my_bag --at 1.5 --save out/rollouts",
]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``fourd imagine``."""
    parser.add_argument("bag", type=Path, help="rosbag2 folder or .mcap file")
    parser.add_argument("--out", type=Path, metavar="BAG", help="bag to write (default: out/imagined/NAME)")
    parser.add_argument(
        "--save", type=Path, metavar="FOLDER", help="also a file for every rollout, with what the bag shows later"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace an existing bag, and files in FOLDER")
    when = parser.add_mutually_exclusive_group()
    when.add_argument(
        "--at", type=non_negative_float, nargs="+", default=[], metavar="S", help="imagine from these instants"
    )
    when.add_argument(
        "--every", type=positive_float, default=0.0, metavar="S", help="or every S seconds (default: horizon)"
    )
    parser.add_argument("--horizon", type=positive_float, default=2.0, metavar="S", help="how far (default 2)")
    parser.add_argument(
        "--step", type=positive_float, default=0.0, metavar="S", help="between frames (default: the backend's)"
    )
    parser.add_argument("--cameras", nargs="+", default=[], metavar="NAME", help="observe with these (default: all)")
    parser.add_argument("--views", nargs="+", default=[], metavar="NAME", help="imagine these (default: all observed)")
    parser.add_argument("--backend", default="", help="world model (default: the best that is loaded)")
    parser.add_argument(
        "--samples", type=positive_int, default=1, metavar="N", help="futures of each instant (default 1)"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the first sample")
    parser.add_argument(
        "--voxel-size", type=non_negative_float, default=0.005, metavar="M", help="of the clouds, 0 for all points"
    )
    parser.add_argument(
        "--rate", type=positive_float, default=0.0, help="recorded seconds per second (default: no pacing)"
    )
    parser.add_argument("--command-topic", default=COMMAND_TOPIC, metavar="TOPIC", help="commanded trajectories")
    parser.add_argument("--params-file", type=Path, metavar="YAML", help="parameters of the world model node")
    parser.add_argument("--json", action="store_true", help="print a report for scripts; no progress bar")


def run(args: argparse.Namespace) -> int:
    """Imagine, write the bag, print what came of it."""
    # What is replayed must not reach other machines.
    os.environ.setdefault("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    from fourd_ros.client import ImagineFailed
    from fourd_ros.nodes.bag_loop import BagLoop, BagLoopSettings
    from fourd_ros.nodes.imagined_bag import ImaginedBag
    from fourd_ros.nodes.saved_rollouts import SavedRollouts

    settings = BagLoopSettings(
        cameras=args.cameras,
        at=args.at,
        every=args.every,
        horizon=args.horizon,
        step=args.step,
        views=args.views,
        backend=args.backend,
        num_samples=args.samples,
        seed=args.seed,
        voxel_size=args.voxel_size,
        rate=args.rate,
        command_topic=args.command_topic,
        params_file=args.params_file,
    )
    out = args.out or Path("out", "imagined", args.bag.resolve().stem)
    saved = SavedRollouts(args.save, overwrite=args.overwrite) if args.save else None
    report = _Report(bag=str(out))
    with BagLoop(args.bag, settings) as loop, BagWriter(out, overwrite=args.overwrite, types=loop.reader.types) as bag:
        imagined = ImaginedBag(loop.reader, bag, loop.kinematics)
        following = [*loop.stamps[1:], None]
        bar = tqdm(loop.stamps, unit="instant", disable=args.json)
        for stamp_ns, next_stamp_ns in zip(bar, following, strict=True):
            seconds = (stamp_ns - loop.reader.start_ns) / 1e9
            try:
                instant = loop.ask(stamp_ns)
            except ImagineFailed as error:
                report.add_failure(seconds, error)
                continue
            imagined.add(instant, shown_until_ns=next_stamp_ns)
            report.add(instant, seconds, saved.add(loop, instant) if saved else ())
        imagined.finish()
    print(json.dumps(report.as_dict(), indent=2) if args.json else report)
    return 1 if report.failures else 0


class _Report:
    """One row per instant."""

    def __init__(self, *, bag: str) -> None:
        self._bag = bag
        self._began = time.monotonic()
        self._rows: list[dict[str, Any]] = []
        self.failures: list[dict[str, Any]] = []

    def add_failure(self, seconds: float, error: Exception) -> None:
        """An instant that the node could not answer about."""
        self.failures.append({"at": round(seconds, 6), "error": str(error)})

    def add(self, instant: Any, seconds: float, files: Sequence[Path]) -> None:
        """What became of an instant.

        Args:
            instant: the answer.
            seconds: since the bag began.
            files: of its rollouts; none if they were not saved.
        """
        self._rows += [
            {
                "at": round(seconds, 6),
                "stamp_ns": instant.stamp_ns,
                "motion": instant.motion,
                "sample": rollout.sample,
                "backend": rollout.backend,
                "frames": len(frames),
                "trust": round(rollout.trust, 4),
                "compute_time": round(rollout.compute_time, 4),
                **({"file": str(file)} if file else {}),
            }
            for rollout, frames, file in zip_longest(instant.rollouts, instant.frames, files)
        ]

    def as_dict(self) -> dict[str, Any]:
        return {
            "bag": self._bag,
            "seconds": round(time.monotonic() - self._began, 3),
            "rollouts": self._rows,
            "failures": self.failures,
        }

    def __str__(self) -> str:
        lines = [f"{'at':>9}  {'motion':<9}  {'backend':<10}  frames  computed in"]
        lines += [
            f"{row['at']:7.3f} s  {row['motion']:<9}  {row['backend']:<10}  {row['frames']:>6}  "
            f"{1e3 * row['compute_time']:8.1f} ms"
            for row in self._rows
        ]
        lines += [f"{failure['at']:7.3f} s  not answered: {failure['error']}" for failure in self.failures]
        if any(row["motion"] == "measured" for row in self._rows):
            lines.append(
                "warning: no command was recorded there, so the model was told the measured motion, which knows "
                "what happened; record the commanded trajectories (--command-topic) for a fair comparison"
            )
        folders = {str(Path(row["file"]).parent) for row in self._rows if "file" in row}
        lines += [f"{folder}: a file for each, for 'fourd view'" for folder in folders]
        return "\n".join([*lines, f"{self._bag}: {len(self._rows)} rollouts beside the recording"])
