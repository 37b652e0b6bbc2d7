"""Simulated episodes as the video generator will meet them: guidance, and what really was seen.

Guidance is composed from the first frame by the code that composes it at run time. How things move comes from the
simulator, with errors like those of a network that predicts it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from fourd_ros.data.depth_steps import to_metres, to_steps
from fourd_ros.data.episode import Episode
from fourd_ros.data.episode_dataset import EpisodeDataset
from fourd_ros.data.episode_shards import Shard, write_shard
from fourd_ros.data.parallel import run_jobs
from fourd_ros.depth_completion.sensor_noise import SensorRanges
from fourd_ros.evaluation.tabletop_truth import Truth
from fourd_ros.geometry.transforms import from_parts, rotation_about
from fourd_ros.records import FloatArray, Mask, ObjectMotion, Observation, Pixels
from fourd_ros.robot.model import RobotModel
from fourd_ros.robot.panda import panda_description
from fourd_ros.training.seen import seen
from fourd_ros.world_model.compact.clips import Clip, clip_of, represented
from fourd_ros.world_model.compact.guidance import compose
from fourd_ros.world_model.compact.lighting import Shade, find_lamp
from fourd_ros.world_model.compact.things import find_things
from fourd_ros.world_model.scene import Scene, understand

Arrays = dict[str, NDArray[Any]]

EPISODES_PER_SHARD = 32

SPREAD = (1.0, 1.0, 0.3)
"""Errors of predicted places are smaller upwards: things stand on something."""

ROBOT, SEEN, MEASURED, THING, SHADED, LIT, MOVED, IGNORED = (1 << bit for bit in range(8))
"""Bits of `flags`: masks of the guidance; what shows a thing that has moved, or did at first; where the robot was
seen, which is nobody's fault."""


@dataclass(frozen=True, kw_only=True)
class MotionErrors:
    """How wrong the predicted motion of things is.

    Args:
        share: standard deviation of a thing's place, of the way that it has gone.
        most: largest standard deviation [m].
        turn: standard deviation of its rotation, of the angle that it has turned.
        missed: share of things that move and are predicted to stay.
    """

    share: float = 0.08
    most: float = 0.015
    turn: float = 0.15
    missed: float = 0.04

    def disturbed(self, motion: FloatArray, middle: FloatArray, rng: np.random.Generator) -> FloatArray:
        """A motion in the world, shape [T, 4, 4], as it might be predicted for what is around `middle`."""
        if rng.random() < self.missed:
            return np.repeat(np.eye(4)[None], len(motion), axis=0)
        there = motion[:, :3, :3] @ middle + motion[:, :3, 3]
        off = np.minimum(self.share * np.linalg.norm(there - middle, axis=-1), self.most)[:, None]
        cosine = (np.trace(motion[:, :3, :3], axis1=1, axis2=2) - 1) / 2
        turn = np.arccos(np.clip(cosine, -1, 1)) * rng.normal(scale=self.turn)
        rotation = rotation_about((0, 0, 1), turn) @ motion[:, :3, :3]
        return from_parts(rotation, there + off * rng.normal(size=3) * SPREAD - rotation @ middle)


@dataclass(frozen=True, kw_only=True)
class ClipOptions:
    """How episodes become clips.

    Args:
        size: width and height [pixels].
        noisy: share of the first frames that a depth camera with errors has seen.
        errors: of the predicted motion of things.
    """

    size: int = 64
    noisy: float = 0.3
    errors: MotionErrors = field(default_factory=MotionErrors)


def prepare_clips(
    episodes: Path, folder: Path, options: ClipOptions, *, limit: int | None = None, workers: int = 1
) -> tuple[Path, ...]:
    """The clips of a data set, made once and kept in `folder`; the shards for a `ClipFolder`.

    Args:
        episodes: data set of `record_tabletop` episodes, of one camera.
        folder: of clips.
        options: how they are made.
        limit: number of episodes; all of them by default.
        workers: processes.

    Raises:
        InvalidDataset: there is no such data set.
    """
    names = EpisodeDataset(episodes).names[:limit]
    parts = [names[start : start + EPISODES_PER_SHARD] for start in range(0, len(names), EPISODES_PER_SHARD)]
    paths = {part: folder / f"{sha256(repr((part, options)).encode()).hexdigest()[:16]}.safetensors" for part in parts}
    missing = {path.name: (part, path) for part, path in paths.items() if not path.exists()}
    jobs = run_jobs(partial(_prepare, episodes, options), missing, workers=workers)
    for _ in tqdm(jobs, total=len(missing), desc="clips", unit="shard", disable=not missing):
        pass
    return tuple(paths.values())


def _prepare(episodes: Path, options: ClipOptions, job: tuple[Sequence[str], Path]) -> None:
    names, path = job
    robot = RobotModel(panda_description())
    dataset = EpisodeDataset(episodes)
    clips = [make_clip(dataset[dataset.index(name)], robot, options) for name in names]
    write_shard(path, {name: np.stack([clip[name] for clip in clips]) for name in clips[0]})


def make_clip(episode: Episode, robot: RobotModel, options: ClipOptions) -> Arrays:
    """What is kept of one episode: the generator's clip, and what was really seen at its pixels."""
    rng = np.random.default_rng((episode.seed or 0, 6))
    sensor = SensorRanges() if rng.random() < options.noisy else None
    observation = _observe(episode, sensor, rng)
    truth = Truth(episode)
    scene = understand(robot, observation)
    objects = list(_predicted(truth, scene, options.errors, rng))
    guidance = compose(robot, scene, truth.view_name, episode.commanded[1:], objects)
    first = observation.views[truth.view_name]
    lamp = find_lamp(robot, scene, truth.view_name)
    shade = Shade.of(lamp, robot, scene, episode.commanded[1:], objects)
    stored = _stored(clip_of(guidance, first, shade, size=options.size, T_world_robot=observation.T_world_robot))
    _add_truth(stored, truth)
    return stored


def _observe(episode: Episode, sensor: SensorRanges | None, rng: np.random.Generator) -> Observation:
    """What a world model is told of the first frame."""
    return Observation(
        stamp_ns=episode.start_ns,
        frame="world",
        views={name: seen(view, 0, sensor=sensor, rng=rng) for name, view in episode.views.items()},
        joint_positions=dict(zip(episode.joint_names, episode.measured[0].tolist(), strict=True)),
    )


def _predicted(truth: Truth, scene: Scene, errors: MotionErrors, rng: np.random.Generator) -> Iterator[ObjectMotion]:
    """Every body that a thing shows, as if its motion had been predicted."""
    for thing in find_things(scene):
        pixels = thing.pixels[truth.view_name]
        for body, mask in _bodies(truth, pixels):
            middle = truth.world_points(mask & np.isfinite(truth.points[0, ..., 2])).mean(axis=0)
            motion = errors.disturbed(truth.motion[1:, body], middle, rng)
            yield ObjectMotion(
                label=thing.label, pixels={truth.view_name: mask}, motion=motion, sigma=np.zeros(len(motion))
            )


def _bodies(truth: Truth, pixels: Mask) -> Iterator[tuple[int, Mask]]:
    """Objects that pixels of the first frame show; those that show none go with the one that most show."""
    labels = truth.labels[0]
    count = np.bincount(labels[pixels], minlength=256)[1:255]
    largest = int(count.argmax())
    if not count[largest]:
        return
    others = pixels & ((labels == 0) | (labels == 255))
    for body in np.flatnonzero(count).tolist():
        mask = pixels & (labels == body + 1)
        yield body, mask | others if body == largest else mask


def _stored(clip: Clip) -> Arrays:
    masks = (
        (ROBOT, clip.robot),
        (SEEN, clip.seen),
        (MEASURED, clip.measured),
        (THING, clip.thing),
        (SHADED, clip.shaded),
        (LIT, clip.lit),
    )
    return {
        "first_rgb": clip.first_rgb,
        "first_depth": to_steps(clip.first_depth),
        "rgb": clip.rgb,
        "depth": to_steps(clip.depth),
        "flags": sum((mask * np.uint8(bit) for bit, mask in masks), np.zeros(clip.robot.shape, np.uint8)),
        "ray_x": clip.rays[0, :, 0].astype(np.float64),
        "ray_y": clip.rays[:, 0, 1].astype(np.float64),
        "T_robot_camera": clip.T_robot_camera,
    }


def _add_truth(stored: Arrays, truth: Truth) -> None:
    """What was seen at the pixels of the clip; depth is 0 where it is not known."""
    size = len(stored["first_rgb"])
    height, width = truth.robot.shape[1:]
    at = (slice(None), *np.ix_(represented(height, size), represented(width, size)))
    assert truth.view.depth is not None
    stored["true_rgb"] = truth.view.rgb[1:][at]
    stored["true_depth"] = to_steps(truth.view.depth[1:][at])
    stored["flags"] |= truth.moved_region[at] * np.uint8(MOVED) | truth.robot[1:][at] * np.uint8(IGNORED)


@dataclass(frozen=True, kw_only=True)
class StoredClip:
    """One episode of a `ClipFolder`.

    Args:
        clip: what the generator is shown.
        true_rgb: shape [T, S, S, 3], uint8.
        true_depth: [m], NaN where unknown, shape [T, S, S].
        moved: what shows a thing that has moved, or did at first, shape [T, S, S].
        ignored: where the robot was seen, shape [T, S, S].
    """

    clip: Clip
    true_rgb: Pixels
    true_depth: NDArray[np.float32]
    moved: Mask
    ignored: Mask


class ClipFolder:
    """Clips by number; it may be copied into other processes.

    Args:
        paths: of its shards.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        self._paths = list(paths)
        self._shards: dict[Path, Shard] = {}
        self._places = [(path, row) for path in paths for row in range(len(self._shard(path).array("rgb")))]

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, index: int) -> StoredClip:
        """The clip of a number.

        Raises:
            InvalidDataset: its shard is damaged.
        """
        path, row = self._places[index]
        shard = self._shard(path)

        def read(name: str) -> NDArray[Any]:
            return shard.array(name)[row]

        flags = read("flags")
        x, y = np.meshgrid(read("ray_x"), read("ray_y"))
        return StoredClip(
            clip=Clip(
                first_rgb=read("first_rgb"),
                first_depth=to_metres(read("first_depth")),
                rgb=read("rgb"),
                depth=to_metres(read("depth")),
                robot=flags & ROBOT > 0,
                seen=flags & SEEN > 0,
                measured=flags & MEASURED > 0,
                thing=flags & THING > 0,
                shaded=flags & SHADED > 0,
                lit=flags & LIT > 0,
                rays=np.stack([x, y, np.ones_like(x)], axis=-1).astype(np.float32),
                T_robot_camera=read("T_robot_camera"),
            ),
            true_rgb=read("true_rgb"),
            true_depth=to_metres(read("true_depth")),
            moved=flags & MOVED > 0,
            ignored=flags & IGNORED > 0,
        )

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_shards": {}}  # each process maps the files by itself

    def _shard(self, path: Path) -> Shard:
        if path not in self._shards:
            self._shards[path] = Shard(path)
        return self._shards[path]
