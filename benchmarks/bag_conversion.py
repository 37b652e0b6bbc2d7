"""Bags read as episodes, in MB of messages a second, beside reading the same messages with rosbags alone.

The bag holds two cameras of 640 x 480 with colour and depth, and a Panda's joints, transforms and commands at 30 Hz,
not compressed. `rosbags` reads every serialised message in order and decodes none; `episodes` makes the episodes and
lets go of them; `data set` also writes them to disk, hashes and index included. The clock runs from opening the bag
to the last message, or to the last file. All files are in the page cache; the median of the rounds counts.
"""

import argparse
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from measure import report
from rosbags.rosbag2 import Reader

from fourd_ros.bridge.bag_conversion import BagJob, convert_bag
from fourd_ros.bridge.episode_options import EpisodeOptions
from fourd_ros.bridge.episode_reader import read_episodes
from fourd_ros.data.episode import Episode, EpisodeView
from fourd_ros.data.episode_bag import BagOptions, write_bag
from fourd_ros.geometry.camera import PinholeCamera
from fourd_ros.robot.kinematics import Kinematics
from fourd_ros.robot.panda import PANDA_READY, panda_description

WIDTH, HEIGHT, RATE = 640, 480, 30.0
CAMERAS = ("front", "side")


def make_episode(frames: int) -> Episode:
    """Pictures of noise, and a robot that stands still."""
    rng = np.random.default_rng(0)
    robot = panda_description()
    kinematics = Kinematics(robot)
    K = np.array([[WIDTH, 0, WIDTH / 2], [0, WIDTH, HEIGHT / 2], [0, 0, 1.0]])
    posture = np.tile(kinematics.positions_from(PANDA_READY), (frames, 1))
    return Episode(
        name="noise",
        source="benchmark",
        start_ns=1_700_000_000 * 10**9,
        tasks=("none",),
        instructions=("do nothing",),
        rate=RATE,
        times=np.arange(frames) / RATE,
        joint_names=kinematics.joint_names,
        commanded=posture,
        measured=posture,
        velocities=np.zeros_like(posture),
        robot_description=robot.text,
        views={
            name: EpisodeView(
                camera=PinholeCamera(width=WIDTH, height=HEIGHT, K=K),
                mounted_on="",
                T_mount_camera=np.eye(4),
                T_world_camera=np.tile(np.eye(4), (frames, 1, 1)),
                rgb=rng.integers(0, 256, (frames, HEIGHT, WIDTH, 3), dtype=np.uint8),
                depth=rng.uniform(0.2, 3.0, (frames, HEIGHT, WIDTH)).astype(np.float32),
            )
            for name in CAMERAS
        },
    )


def rows(folder: Path, *, frames: int, rounds: int) -> Iterator[dict[str, object]]:
    """One row for each way of reading."""
    bag = folder / "bag"
    write_bag(make_episode(frames), bag, options=BagOptions(compression=""))
    ways: dict[str, Callable[[], object]] = {
        "rosbags": lambda: plain_bytes(bag),
        "episodes": lambda: sum(1 for _ in read_episodes(bag)),
        "data set": lambda: convert(bag, folder / "dataset"),
    }
    megabytes = plain_bytes(bag) / 1e6
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, read in ways.items():
            began = time.perf_counter()
            read()
            seconds[name].append(time.perf_counter() - began)
    medians = {name: float(np.median(found)) for name, found in seconds.items()}
    for name, median in medians.items():
        yield {
            "what": name,
            "MB": megabytes,
            "MB_per_s": megabytes / median,
            "ratio": medians["rosbags"] / median,
            "recorded_s_per_s": frames / RATE / median,
        }


def plain_bytes(bag: Path) -> int:
    """Bytes of all messages, read as rosbags gives them."""
    with Reader(bag) as reader:
        return sum(len(data) for _, _, data in reader.messages())


def convert(bag: Path, dataset: Path) -> None:
    """Into a data set that is new each time."""
    shutil.rmtree(dataset, ignore_errors=True)
    convert_bag(BagJob(bag=bag, dataset=dataset, options=EpisodeOptions()))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=90, help="in the bag (3 MB each)")
    parser.add_argument("--rounds", type=int, default=7, help="how often each way is measured")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        report("bag_conversion", list(rows(Path(place), frames=args.frames, rounds=args.rounds)))
