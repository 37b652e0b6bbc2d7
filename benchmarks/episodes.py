"""Random windows of episodes for training, a second: from a data set on disk, and from the same arrays in memory.

A window is 16 consecutive frames of one of two cameras with colour, depth, camera poses, set points, measured
positions and actions. The clock starts with the number of the episode and of its first frame and stops with the
window's arrays, its depth in metres, owned by the caller; no window is kept. `in memory` slices the arrays that the
shards hold out of plain NumPy arrays, converts the depth in the same way and makes the same record. `npz` reads the
compressed file of the whole episode and cuts the window out. Rows are measured in turn, so that a busy machine slows
them alike; `ratio` is the throughput beside that of the memory. The files are in the page cache.
"""

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from measure import report
from numpy.typing import NDArray

from fourd_ros.data.depth_steps import to_metres
from fourd_ros.data.episode import Episode, EpisodeView, load_episode, save_episode, take_apart
from fourd_ros.data.episode_dataset import EpisodeDataset, Window, WindowView
from fourd_ros.data.episode_writer import EpisodeDatasetWriter
from fourd_ros.geometry.camera import PinholeCamera

SIZES = (64, 128)
STEPS = 16
FRAMES = 60
JOINTS = 8
CAMERAS = ("front", "wrist")
FIELDS = ("commanded", "measured", "actions", "T_world_camera", "rgb", "depth")

Draw = Callable[[int, int, str], Window]


def make_episode(number: int, size: int) -> Episode:
    """An episode of noise, which no file system could make smaller."""
    rng = np.random.default_rng(number)
    camera = PinholeCamera(width=size, height=size, K=np.array([[size, 0, size / 2], [0, size, size / 2], [0, 0, 1.0]]))
    motion = rng.normal(size=(FRAMES, JOINTS))
    return Episode(
        name=f"episode_{number:06d}",
        source="benchmark",
        start_ns=0,
        tasks=("none",),
        instructions=("do nothing",),
        rate=10.0,
        times=np.arange(FRAMES) / 10,
        joint_names=tuple(f"joint_{number}" for number in range(JOINTS)),
        commanded=motion,
        measured=motion,
        velocities=motion,
        views={
            name: EpisodeView(
                camera=camera,
                mounted_on="",
                T_mount_camera=np.eye(4),
                T_world_camera=np.tile(np.eye(4), (FRAMES, 1, 1)),
                rgb=rng.integers(0, 256, (FRAMES, size, size, 3), dtype=np.uint8),
                depth=rng.uniform(0.2, 3.0, (FRAMES, size, size)).astype(np.float32),
            )
            for name in CAMERAS
        },
    )


class Memory:
    """Episodes as the arrays that the shards hold."""

    def __init__(self) -> None:
        self._episodes: list[tuple[Episode, Mapping[str, NDArray[Any]]]] = []

    def add(self, episode: Episode) -> None:
        """Keep its arrays."""
        self._episodes.append((episode, take_apart(episode)[1]))

    def window(self, number: int, start: int, camera: str) -> Window:
        """What `EpisodeDataset.window` gives."""
        episode, arrays = self._episodes[number]
        frames = slice(start, start + STEPS)
        view = WindowView(
            camera=episode.views[camera].camera,
            mounted_on=episode.views[camera].mounted_on,
            T_world_camera=arrays[f"{camera}/T_world_camera"][frames].copy(),
            rgb=arrays[f"{camera}/rgb"][frames].copy(),
            depth=to_metres(arrays[f"{camera}/depth"][frames]),
        )
        return Window(
            episode=episode.name,
            start=start,
            times=arrays["times"][frames].copy(),
            tasks=episode.tasks,
            instructions=episode.instructions,
            joint_names=episode.joint_names,
            action_names=episode.action_names,
            views={camera: view},
            commanded=arrays["commanded"][frames].copy(),
            measured=arrays["measured"][frames].copy(),
            actions=arrays["actions"][frames].copy(),
        )


def rows(*, episodes: int, windows: int, rounds: int) -> Iterator[dict[str, object]]:
    """Every way of reading at every size."""
    for size in SIZES:
        with tempfile.TemporaryDirectory() as folder:
            yield from _rows(Path(folder), size, episodes=episodes, windows=windows, rounds=rounds)


def _rows(folder: Path, size: int, *, episodes: int, windows: int, rounds: int) -> Iterator[dict[str, object]]:
    memory = Memory()
    with EpisodeDatasetWriter(folder / "dataset") as writer:
        for number in range(episodes):
            episode = make_episode(number, size)
            memory.add(episode)
            writer.add(episode)
            save_episode(episode, folder / f"{episode.name}.npz")
    dataset = EpisodeDataset(folder / "dataset")

    def from_dataset(number: int, start: int, camera: str) -> Window:
        return dataset.window(number, start, STEPS, cameras=(camera,), fields=FIELDS)

    def from_npz(number: int, start: int, camera: str) -> Window:
        one = Memory()
        one.add(load_episode(folder / f"{dataset.names[number]}.npz"))
        return one.window(0, start, camera)

    ways: dict[str, tuple[Draw, int]] = {
        "data set": (from_dataset, windows),
        "in memory": (memory.window, windows),
        "npz": (from_npz, max(1, windows // 100)),
    }
    durations: dict[str, list[float]] = {name: [] for name in ways}
    rng = np.random.default_rng(0)
    for draw, _ in ways.values():
        for number in range(episodes):
            draw(number, 0, CAMERAS[0])
    for _ in range(rounds):
        for name, (draw, count) in ways.items():
            places = [(int(rng.integers(episodes)), int(rng.integers(FRAMES - STEPS + 1))) for _ in range(count)]
            began = time.perf_counter()
            for number, start in places:
                draw(number, start, CAMERAS[number % len(CAMERAS)])
            durations[name].append((time.perf_counter() - began) / count)
    seconds = {name: float(np.median(values)) for name, values in durations.items()}
    for name in ways:
        yield {
            "what": f"windows from {name}" if name != "in memory" else "windows from memory",
            "size": size,
            "windows_per_s": 1 / seconds[name],
            "ratio": seconds["in memory"] / seconds[name],
        }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--episodes", type=int, default=40, help="in the data set")
    parser.add_argument("--windows", type=int, default=400, help="in each round")
    parser.add_argument("--rounds", type=int, default=15, help="how often each way is measured")
    args = parser.parse_args()
    report("episodes", rows(episodes=args.episodes, windows=args.windows, rounds=args.rounds))
