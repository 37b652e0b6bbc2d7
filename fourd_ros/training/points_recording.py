"""Training samples of the point dynamics, straight from the simulator: what the camera shows, and what became of it.

Things are found by geometry in what a camera saw, exactly as at run time; only the answers (which body a point belongs
to, how that body moved) come from the simulator.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from fourd_ros.data.episode_shards import write_shard
from fourd_ros.data.parallel import run_jobs
from fourd_ros.depth_completion.sensor_noise import SensorRanges
from fourd_ros.errors import InvalidDataset
from fourd_ros.geometry.transforms import invert
from fourd_ros.records import FloatArray, Observation
from fourd_ros.robot.model import RobotModel
from fourd_ros.robot.panda import panda_description
from fourd_ros.simulation.tabletop import TabletopOptions, WatchedMotion, watch_tabletop
from fourd_ros.simulation.tabletop_dataset import DISTRIBUTION
from fourd_ros.simulation.tabletop_scene import CAMERA, tabletop_seeds
from fourd_ros.training.seen import seen
from fourd_ros.world_model.compact.dynamics import SUBSTEPS, spread
from fourd_ros.world_model.compact.gripper_path import Approach, GripperPath
from fourd_ros.world_model.compact.things import Thing, find_things
from fourd_ros.world_model.scene import understand

Arrays = dict[str, NDArray[Any]]

RECORDING = 2
"""Counts up whenever the same motions give other samples."""

MOTIONS_PER_SHARD = 100
STORED_POINTS = 64
"""Of every thing; a sample shows the first of them."""

STORED_THINGS, STORED_BODIES = 5, 8
"""Most that a sample may hold: things that are shown, bodies whose motion is known."""

HORIZON = 64
"""Substeps that a sample lasts; 3.2 s."""


@dataclass(frozen=True, kw_only=True)
class MotionSource:
    """Simulated motions that samples are made of.

    Args:
        split: of the tabletop data, see `TABLETOP_SPLITS`.
        seed: others have other scenes.
        motions: number of them.
        after: when a sample begins, in substeps from the begin of the episode of the motion.
        noisy: share of observations through a depth camera that errs.
    """

    split: str
    seed: int
    motions: int
    after: tuple[int, ...] = (0, 20)
    noisy: float = 0.3

    @property
    def folder(self) -> str:
        """Different for whatever gives other samples, except for the number of motions."""
        after = "-".join(map(str, self.after))
        return f"{self.split}_{self.seed}_d{DISTRIBUTION}r{RECORDING}_{after}_{self.noisy:g}"


def prepare_samples(source: MotionSource, folder: Path, *, workers: int = 1) -> list[Path]:
    """Shards with the samples of a source, made once and kept below `folder`; those that are missing are made.

    Args:
        source: of the motions.
        folder: of the samples of all sources.
        workers: processes.

    Raises:
        InvalidDataset: there is no such split, or it has not so many motions.
        MissingDependency: no OpenGL library is installed.
    """
    seeds = tabletop_seeds(source.split, seed=source.seed, episodes=source.motions)
    parts = [seeds[start : start + MOTIONS_PER_SHARD] for start in range(0, len(seeds), MOTIONS_PER_SHARD)]
    own = folder / source.folder
    paths = {f"{part[0]:010d}_{len(part)}": part for part in parts}
    missing = {name: (part, own / f"{name}.safetensors") for name, part in paths.items()}
    missing = {name: job for name, job in missing.items() if not job[1].exists()}
    jobs = run_jobs(partial(_prepare, source), missing, workers=workers)
    for _ in tqdm(jobs, total=len(missing), desc=f"samples of {source.split}", unit="shard", disable=not missing):
        pass
    return [own / f"{name}.safetensors" for name in paths]


def _prepare(source: MotionSource, job: tuple[Sequence[int], Path]) -> None:
    seeds, path = job
    robot = RobotModel(panda_description())
    samples = [sample for seed in seeds for sample in make_samples(seed, source, robot)]
    if not samples:
        raise InvalidDataset(f"none of the motions {list(seeds)} of '{source.split}' shows a thing")
    write_shard(path, {name: np.stack([sample[name] for sample in samples]) for name in samples[0]})


def make_samples(seed: int, source: MotionSource, robot: RobotModel) -> Iterator[Arrays]:
    """The samples of one motion; those whose observation shows no thing are left out."""
    motion = watch_tabletop(seed, source.split, after=source.after, options=TabletopOptions(shadows=False))
    for number, begin in enumerate(motion.instants.tolist()):
        rng = np.random.default_rng((seed, number))
        sensor = SensorRanges() if rng.random() < source.noisy else None
        observation = _observe(motion, number, sensor, rng)
        things = find_things(understand(robot, observation))
        if things:
            yield _sample(motion, number, begin, things, robot, observation)


def _observe(motion: WatchedMotion, number: int, sensor: SensorRanges | None, rng: np.random.Generator) -> Observation:
    """What a world model is told at one instant."""
    measured = motion.measured[motion.instants[number]].tolist()
    return Observation(
        stamp_ns=0,
        frame="world",
        views={CAMERA: seen(motion.view, number, sensor=sensor, rng=rng)},
        joint_positions=dict(zip(motion.joint_names, measured, strict=True)),
    )


def _sample(
    motion: WatchedMotion,
    number: int,
    begin: int,
    found: Sequence[Thing],
    robot: RobotModel,
    observation: Observation,
) -> Arrays:
    last = min(begin + HORIZON, len(motion.commanded) - 1)
    later = np.minimum(begin + 1 + np.arange(HORIZON), last)
    path = GripperPath.of(robot, observation.joint_positions, motion.commanded[later][None], observation.T_world_robot)
    things = _nearest(found, path)
    segmentation = motion.view.segmentation
    assert segmentation is not None
    shown = [_shown(thing, segmentation[number][thing.pixels[CAMERA]]) for thing in things]
    absent = STORED_THINGS - len(things)

    def padded(values: Sequence[Any], fill: Any, dtype: type) -> NDArray[Any]:
        return np.stack([*values, *[fill] * absent]).astype(dtype)

    ends = later[SUBSTEPS - 1 :: SUBSTEPS]
    bodies = min(motion.object_poses.shape[1], STORED_BODIES)
    motions = np.tile(np.eye(4), (len(ends), STORED_BODIES + 1, 1, 1))
    motions[:, :bodies] = (motion.object_poses[ends] @ invert(motion.object_poses[begin]))[:, :bodies]
    return {
        "points": padded([points for points, _ in shown], np.zeros((STORED_POINTS, 3)), np.float32),
        "body": padded([body for _, body in shown], np.full(STORED_POINTS, STORED_BODIES), np.uint8),
        "present": padded([1.0] * len(things), 0.0, np.float32),
        "held": padded([float(thing.held) for thing in things], 0.0, np.float32),
        "support": padded([thing.support for thing in things], 0.0, np.float32),
        "eye": motion.view.T_world_camera[number][:3, 3].astype(np.float32),
        "motions": motions.astype(np.float32),
        "steps": np.array((last - begin) // SUBSTEPS, np.int32),
        "frames": path.frames[0].astype(np.float32),
        "gaps": path.gaps[0].astype(np.float32),
    }


def _nearest(things: Sequence[Thing], path: GripperPath) -> list[Thing]:
    distance = [Approach.of(thing.points[None], path).distance[0, 0] for thing in things]
    return [things[index] for index in np.argsort(distance)[:STORED_THINGS]]


def _shown(thing: Thing, segmentation: NDArray[np.uint8]) -> tuple[FloatArray, NDArray[np.intp]]:
    """`STORED_POINTS` points of a thing and the body of each, `STORED_BODIES` for what never moves."""
    places = spread(thing.points, STORED_POINTS)
    labels = segmentation[places].astype(np.intp)
    never = (labels == 0) | (labels > STORED_BODIES)
    return thing.points[places], np.where(never, STORED_BODIES, labels - 1)
