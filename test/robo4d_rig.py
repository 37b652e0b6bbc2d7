"""Small episodes of a robot of two boxes before a sloping wall, and data sets of them."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from fourd_ros.data.dataset_card import DatasetCard
from fourd_ros.data.episode import Episode, EpisodeView
from fourd_ros.data.episode_dataset import EpisodeDataset
from fourd_ros.data.episode_writer import EpisodeDatasetWriter
from fourd_ros.data.robo4d_clips import ClipOptions, MadeClip, make_clip, plan_clips
from fourd_ros.data.robo4d_work import ClipOutcome
from fourd_ros.geometry.camera import PinholeCamera
from fourd_ros.geometry.transforms import look_at

HEIGHT, WIDTH = 48, 64
"""Of the camera."""

RATE = 10.0
SMALL: dict[str, Any] = {"frames": 9, "height": 32, "width": 48}
"""Of the clips; the same aspect as the original, another one than the camera's."""

URDF = """<robot name="boxes">
<link name="base"><visual><origin xyz="0 0 0.1"/><geometry><box size="0.2 0.2 0.2"/></geometry>
<material name="grey"><color rgba="0.6 0.5 0.4 1"/></material></visual></link>
<link name="arm"><visual><origin xyz="0.2 0 0"/><geometry><box size="0.4 0.06 0.06"/></geometry>
<material name="black"><color rgba="0 0 0 1"/></material></visual></link>
<joint name="turn" type="revolute"><parent link="base"/><child link="arm"/><origin xyz="0 0 0.23"/>
<axis xyz="0 0 1"/><limit lower="-3" upper="3" velocity="3" effort="1"/></joint>
</robot>"""

POSE = look_at(np.array([1.1, 0.5, 0.8]), np.array([0.1, 0.0, 0.15]), np.array([0.0, 0.0, 1.0]))


def make_view(steps: int, *, moving: bool = False, rng_seed: int = 0) -> EpisodeView:
    """A camera that looks at the robot; its depth has a hole."""
    rng = np.random.default_rng(rng_seed)
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    depth = np.tile((1.0 + 0.01 * rows + 0.005 * columns).astype(np.float32), (steps, 1, 1))
    depth += 0.01 * np.arange(steps, dtype=np.float32)[:, None, None]
    depth[:, 10:14, 5:9] = np.nan
    colour = np.stack([rows * 5, columns * 3, rows + columns], axis=-1).astype(np.uint8)
    poses = np.tile(POSE, (steps, 1, 1))
    if moving:
        poses[:, 0, 3] += 0.01 * np.arange(steps)
    return EpisodeView(
        camera=PinholeCamera(width=WIDTH, height=HEIGHT, K=np.array([[60.0, 0, 31.5], [0, 60.0, 23.5], [0, 0, 1]])),
        mounted_on="",
        T_mount_camera=POSE,
        T_world_camera=poses,
        rgb=(np.tile(colour, (steps, 1, 1, 1)) + rng.integers(0, 8, (steps, 1, 1, 3))).astype(np.uint8),
        depth=depth,
    )


def make_episode(number: int = 0, *, steps: int = 9, **changes: Any) -> Episode:
    """An arm that turns; nothing is commanded in the first two frames."""
    turn = np.linspace(-0.5, 0.5, steps)[:, None]
    commanded = turn + 0.1
    commanded[:2] = np.nan
    facts: dict[str, Any] = {
        "name": f"episode_{number}",
        "source": "bag",
        "start_ns": 1_700_000_000_000_000_123,
        "tasks": ("turn",),
        "instructions": ("turn the arm",),
        "rate": RATE,
        "times": np.arange(steps) / RATE,
        "joint_names": ("other", "turn"),
        "commanded": np.hstack([np.full_like(commanded, np.nan), commanded]),
        "measured": np.hstack([np.zeros_like(turn), turn]),
        "velocities": np.full((steps, 2), np.nan),
        "views": {"front": make_view(steps, rng_seed=number)},
        "robot_description": URDF,
    }
    return Episode(**{**facts, **changes})


def without_depth(view: EpisodeView) -> EpisodeView:
    return replace(view, depth=None)


def write_dataset(folder: Path, *episodes: Episode) -> EpisodeDataset:
    card = DatasetCard(name="boxes", description="Boxes.", licence="CC0-1.0")
    with EpisodeDatasetWriter(folder, card=card) as writer:
        for episode in episodes:
            writer.add(episode)
    return EpisodeDataset(folder)


def clips_of(dataset: EpisodeDataset, options: ClipOptions, index: int = 0) -> list[MadeClip | ClipOutcome]:
    """What becomes of one episode."""
    row = dataset.rows()[index]
    return [
        planned if isinstance(planned, ClipOutcome) else make_clip(dataset, row, planned, options)
        for planned in plan_clips(dataset, row, options)
    ]
