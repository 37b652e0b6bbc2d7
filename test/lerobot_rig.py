"""Small episodes with everything an episode can hold, and data sets of them."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from fourd_ros.data.depth_steps import to_metres
from fourd_ros.data.episode import Episode, EpisodeView, take_apart
from fourd_ros.data.episode_dataset import EpisodeDataset
from fourd_ros.data.episode_writer import EpisodeDatasetWriter
from fourd_ros.geometry.camera import PinholeCamera

JOINTS = ("shoulder", "elbow", "finger")


def made_view(rng: np.random.Generator, frames: int, *, width: int, height: int, depth: bool = True) -> EpisodeView:
    """A moving camera with a distorted lens; pictures are blocks of colour, so that any film can hold them."""
    blocks = rng.integers(0, 256, (frames, height // 4, width // 4, 3), np.uint8)
    steps = rng.integers(0, 2**16, (frames, height, width), np.uint16)
    poses = np.broadcast_to(np.eye(4), (frames, 4, 4)).copy()
    poses[:, :3, 3] = rng.normal(size=(frames, 3))
    return EpisodeView(
        camera=PinholeCamera(
            width=width,
            height=height,
            K=np.array([[width / np.pi, 0.0, width / 3], [0.0, width / np.e, height / 3], [0.0, 0.0, 1.0]]),
            distortion=rng.normal(size=5) * 0.01,
        ),
        mounted_on="hand",
        T_mount_camera=poses[0],
        T_world_camera=poses,
        rgb=blocks.repeat(4, axis=1).repeat(4, axis=2),
        depth=to_metres(steps) if depth else None,
        segmentation=rng.integers(0, 256, (frames, height, width), np.uint8) if depth else None,
    )


def made_episode(number: int, frames: int = 12, *, rate: float = 12.5, **changes: Any) -> Episode:
    """An episode drawn from its number, unlike any other; `changes` are fields of `Episode`."""
    rng = np.random.default_rng(number)
    objects = number % 3
    motion = rng.normal(size=(4, frames, len(JOINTS)))
    motion[1, 0] = motion[2, -1, 1] = np.nan
    episode = Episode(
        name=f"made_{number:03d}",
        source="a rig",
        start_ns=1_700_000_000_123_456_789 + number,
        tasks=("push",),
        instructions=(f"push it {number % 2} times", "and wait"),
        rate=rate,
        times=np.arange(frames) / rate + rng.uniform(0, 1e-3, frames),
        joint_names=JOINTS,
        measured=motion[0],
        commanded=motion[1],
        velocities=motion[2],
        views={
            "front": made_view(rng, frames, width=32, height=24),
            "arm/wrist": made_view(rng, frames, width=16, height=16, depth=False),
        },
        robot_description="<robot name='tiny'/>",
        action_names=("x", "y", "z"),
        actions=motion[3],
        object_names=tuple(f"object_{place}" for place in range(objects)),
        object_labels=tuple(f"thing {place}" for place in range(objects)),
        object_sizes=rng.uniform(0.01, 1, (objects, 3)),
        object_poses=rng.normal(size=(frames, objects, 4, 4)),
        policy="random",
        success=None if number % 3 == 0 else number % 3 == 1,
        seed=None if number % 2 else 2**53 + number,
    )
    return replace(episode, **changes)


def made_dataset(folder: Path, episodes: Iterable[Episode]) -> Path:
    """A data set of them."""
    with EpisodeDatasetWriter(folder) as writer:
        for episode in episodes:
            writer.add(episode)
    return folder


def differences(folder: Path, other: Path) -> list[str]:
    """Arrays and facts that are not the same, bit for bit, in two data sets."""
    a, b = EpisodeDataset(folder), EpisodeDataset(other)
    assert a.names == b.names
    found = [] if a.card == b.card else ["card"]
    for left, right in zip(a, b, strict=True):
        (facts, arrays), (other_facts, other_arrays) = take_apart(left), take_apart(right)
        found += [f"{left.name}: {key}" for key in facts if facts[key] != other_facts[key]]
        same = {key for key in arrays if arrays[key].tobytes() == other_arrays[key].tobytes()}
        found += [f"{left.name}/{key}" for key in sorted(arrays.keys() - same)]
    return found


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    """Of the worst picture [dB]."""
    errors = (a.astype(np.float64) - b) ** 2
    return float(10 * np.log10(255**2 / errors.reshape(len(a), -1).mean(axis=1).max()))
