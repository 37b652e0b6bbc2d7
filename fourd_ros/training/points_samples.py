"""Training samples of the point dynamics: things as the robot's camera shows them, and what became of them.

Things are found by geometry in recorded frames, exactly as at run time; only the answers (which body a point belongs
to, how that body moved) come from the simulator.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from copy import copy
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from fourd_ros.data.episode import Episode
from fourd_ros.data.episode_dataset import EpisodeDataset
from fourd_ros.data.episode_shards import Shard, write_shard
from fourd_ros.data.parallel import run_jobs
from fourd_ros.depth_completion.sensor_noise import SensorRanges
from fourd_ros.errors import InvalidDataset
from fourd_ros.geometry.pointmap import points_from_depth
from fourd_ros.geometry.transforms import invert
from fourd_ros.records import Observation, View
from fourd_ros.robot.model import RobotModel
from fourd_ros.robot.panda import panda_description
from fourd_ros.simulation.tabletop import commanded_motion
from fourd_ros.training.task import Sample
from fourd_ros.world_model.compact.dynamics import representatives
from fourd_ros.world_model.compact.gripper_path import SUBSTEP, Approach, GripperPath
from fourd_ros.world_model.compact.things import Thing, find_things
from fourd_ros.world_model.scene import understand

FloatArray = NDArray[np.float64]
Arrays = dict[str, NDArray[Any]]

EPISODES_PER_SHARD = 50
STORED_POINTS = 64
"""Of every thing; a sample shows some of them."""

MIRROR = np.diag([1.0, -1.0, 1.0, 1.0]).astype(np.float32)
"""The physics of a table does not change in a mirror; neither do the frames of a gripper with two equal fingers."""

MEMBER_MOTION = 0.01
"""Points whose body moves farther than this are told from those that stand still [m]."""


@dataclass(frozen=True, kw_only=True)
class SampleOptions:
    """How episodes become samples.

    Args:
        starts: frames at which the observation is made; fewer steps remain after later ones.
        things: most that a sample may hold.
        bodies: most whose motion a sample may hold.
        noisy: share of the observations that are made through a simulated depth camera.
    """

    starts: tuple[int, ...] = (0, 5)
    things: int = 5
    bodies: int = 8
    noisy: float = 0.3


def prepare_samples(
    episodes: Path, folder: Path, options: SampleOptions, *, limit: int | None = None, workers: int = 1
) -> list[Path]:
    """Shards with the samples of a data set, made once and kept in `folder`.

    Args:
        episodes: data set of `record_tabletop` episodes.
        folder: of the samples of all data sets and options.
        options: how they are made.
        limit: number of episodes; all of them by default.
        workers: processes.

    Raises:
        InvalidDataset: there is no such data set.
    """
    names = EpisodeDataset(episodes).names[:limit]
    parts = [
        range(start, min(start + EPISODES_PER_SHARD, len(names))) for start in range(0, len(names), EPISODES_PER_SHARD)
    ]
    own = folder / _folder_name(episodes, options)
    paths = {part: own / f"{names[part[0]]}_{len(part)}.safetensors" for part in parts}
    missing = {path.name: (part, path) for part, path in paths.items() if not path.exists()}
    jobs = run_jobs(partial(_prepare, episodes, options), missing, workers=workers)
    for _ in tqdm(jobs, total=len(missing), desc="samples", unit="shard", disable=not missing):
        pass
    return list(paths.values())


def _folder_name(episodes: Path, options: SampleOptions) -> str:
    """Different for every data set and all options."""
    told = f"{episodes.resolve()} {asdict(options)}"
    return f"{episodes.name}-{hashlib.sha256(told.encode()).hexdigest()[:8]}"


def _prepare(episodes: Path, options: SampleOptions, job: tuple[Sequence[int], Path]) -> None:
    part, path = job
    robot = RobotModel(panda_description())
    dataset = EpisodeDataset(episodes)
    samples = [sample for index in part for sample in make_samples(dataset[index], robot, options)]
    if not samples:
        raise InvalidDataset(f"none of the episodes {list(part)} of '{episodes}' shows a thing")
    write_shard(path, {name: np.stack([sample[name] for sample in samples]) for name in samples[0]})


def make_samples(episode: Episode, robot: RobotModel, options: SampleOptions) -> Iterator[Arrays]:
    """The samples of one episode; those whose observation shows no thing are left out."""
    command = commanded_motion(episode)
    last = len(episode.times) - 1
    for start in options.starts:
        rng = np.random.default_rng((episode.seed or 0, start))
        observation = observe(episode, start, sensor=_sensor(options, rng), rng=rng)
        things = find_things(understand(robot, observation))
        if not things:
            continue
        substeps = round(float(episode.times[last]) / SUBSTEP)
        times = episode.times[start] + SUBSTEP * np.arange(1, substeps + 1)
        path = GripperPath.of(robot, observation.joint_positions, command.at(times)[None], observation.T_world_robot)
        yield _sample(episode, start, last, _nearest(things, path, options.things), path, options)


def observe(
    episode: Episode, frame: int, *, sensor: SensorRanges | None = None, rng: np.random.Generator | None = None
) -> Observation:
    """What a world model is told of one frame of an episode, perhaps through a depth camera that errs."""
    views = {}
    for name, view in episode.views.items():
        assert view.depth is not None and view.segmentation is not None
        depth = view.depth[frame]
        if sensor is not None:
            assert rng is not None
            depth = sensor.draw(rng).measure(
                depth, rgb=view.rgb[frame], labels=view.segmentation[frame], camera=view.camera, rng=rng
            )
        views[name] = View(
            camera=view.camera,
            T_world_camera=view.T_world_camera[frame],
            rgb=view.rgb[frame],
            points=points_from_depth(depth, view.camera),
            mounted_on=view.mounted_on,
        )
    return Observation(
        stamp_ns=episode.start_ns + round(float(episode.times[frame]) * 1e9),
        frame="world",
        views=views,
        joint_positions=dict(zip(episode.joint_names, episode.measured[frame].tolist(), strict=True)),
    )


def _sensor(options: SampleOptions, rng: np.random.Generator) -> SensorRanges | None:
    return SensorRanges() if rng.random() < options.noisy else None


def _nearest(things: Sequence[Thing], path: GripperPath, most: int) -> list[Thing]:
    distance = [Approach.of(thing.points[None], path).distance[0, 0] for thing in things]
    return [things[index] for index in np.argsort(distance)[:most]]


def _sample(
    episode: Episode, start: int, last: int, things: Sequence[Thing], path: GripperPath, options: SampleOptions
) -> Arrays:
    (name, view), *_ = episode.views.items()
    assert view.segmentation is not None
    chosen = [_spread_points(thing, view.segmentation[start][thing.pixels[name]], options.bodies) for thing in things]
    absent = options.things - len(things)
    poses = episode.object_poses
    bodies = min(poses.shape[1], options.bodies)
    motions = np.tile(np.eye(4), (last, options.bodies + 1, 1, 1))
    motions[: last - start, :bodies] = (poses[start + 1 :] @ invert(poses[start]))[:, :bodies]
    return {
        "points": np.stack([points for points, _ in chosen] + [np.zeros((STORED_POINTS, 3))] * absent).astype(
            np.float32
        ),
        "body": np.stack([body for _, body in chosen] + [np.full(STORED_POINTS, options.bodies)] * absent).astype(
            np.uint8
        ),
        "present": np.array([1.0] * len(things) + [0.0] * absent, np.float32),
        "held": np.array([thing.held for thing in things] + [False] * absent, np.float32),
        "support": np.array([thing.support for thing in things] + [0.0] * absent, np.float32),
        "eye": view.T_world_camera[start][:3, 3].astype(np.float32),
        "motions": motions.astype(np.float32),
        "steps": np.array(last - start, np.int32),
        "frames": path.frames[0].astype(np.float32),
        "gaps": path.gaps[0].astype(np.float32),
    }


def _spread_points(thing: Thing, segmentation: NDArray[np.uint8], bodies: int) -> tuple[FloatArray, NDArray[np.intp]]:
    """`STORED_POINTS` points of a thing and the body of each, `bodies` for what never moves."""
    places = np.linspace(0, len(thing.points) - 1, STORED_POINTS).round().astype(np.intp)
    labels = segmentation[places].astype(np.intp)
    return thing.points[places], np.where((labels == 0) | (labels > bodies), bodies, labels - 1)


class PointSamples:
    """All samples of a preparation, in memory: mirrored, jittered, and with points chosen at random.

    Args:
        paths: of its shards.
        things: of a sample that are shown, those nearest to the path of the gripper.
        points: of every thing that are shown.
    """

    def __init__(self, paths: Sequence[Path], *, things: int, points: int) -> None:
        shards = [Shard(path) for path in paths]
        self._arrays = {name: np.concatenate([shard.array(name) for shard in shards]) for name in shards[0].names}
        self._things, self._points, self._augment = things, points, True

    def __len__(self) -> int:
        return len(self._arrays["steps"])

    def plain(self) -> "PointSamples":
        """The same samples without augmentation."""
        samples = copy(self)
        samples._augment = False
        return samples

    def sample(self, index: int, rng: np.random.Generator) -> Sample:
        """Inputs of `PointDynamicsNetwork.forward` and its answers.

        Returns:
            also ``target`` [K, N, T, 3], where every point is at every frame [m]; ``moving`` [K, N], 1 for points of
            the body that moves most in a thing (all points of a thing that stands still); ``mixed`` [K], 1 where some
            points of a thing do not move with the others; ``moved`` [K], 1 where anything moves; ``known`` [T], 1 for
            frames that were recorded.
        """
        stored = {name: array[index] for name, array in self._arrays.items()}
        stored |= {name: stored[name][: self._things] for name in ("points", "body", "present", "held", "support")}
        if self._augment:
            stored = _augmented(stored, rng)
        choice = rng.permutation(STORED_POINTS) if self._augment else representatives(STORED_POINTS)
        choice = choice[: self._points]
        return _inputs(stored, choice) | _answers(stored, choice)


def _augmented(stored: Mapping[str, NDArray[Any]], rng: np.random.Generator) -> Arrays:
    """Seen in a mirror half of the time, with points that are a little off."""
    changed = dict(stored)
    changed["points"] = stored["points"] + rng.normal(0.0, 0.001, stored["points"].shape).astype(np.float32)
    changed["frames"] = stored["frames"].copy()
    if rng.random() < 0.5:
        changed["points"] = changed["points"] @ MIRROR[:3, :3]
        changed["eye"] = stored["eye"] @ MIRROR[:3, :3]
        for name in ("motions", "frames"):
            changed[name] = MIRROR @ stored[name] @ MIRROR
    return changed


def _inputs(stored: Mapping[str, NDArray[Any]], choice: NDArray[np.intp]) -> Arrays:
    points = stored["points"][:, choice]
    path = GripperPath(frames=stored["frames"][None].astype(np.float64), gaps=stored["gaps"][None].astype(np.float64))
    approach = Approach.of(points.astype(np.float64), path)
    return {
        "points": points,
        "present": stored["present"],
        "held": stored["held"],
        "support": stored["support"],
        "eye": stored["eye"],
        "approach": approach.frame[0].astype(np.float32),
        "later": approach.later[0].astype(np.float32),
        "approach_gap": approach.gap[0].astype(np.float32),
        "frames": stored["frames"],
        "gaps": stored["gaps"],
    }


def _answers(stored: Mapping[str, NDArray[Any]], choice: NDArray[np.intp]) -> Arrays:
    points, body, motions = stored["points"][:, choice], stored["body"][:, choice], stored["motions"]
    steps = len(motions)
    pose = motions.swapaxes(0, 1)[body]
    target = (pose[..., :3, :3] @ points[:, :, None, :, None])[..., 0] + pose[..., :3, 3]
    known = np.arange(steps) < stored["steps"]
    displacement = np.linalg.norm(target - points[:, :, None], axis=-1)
    farthest = displacement[:, :, known].max(axis=2)
    moving = _moving_points(body, farthest)
    return {
        "target": target.astype(np.float32),
        "moving": moving.astype(np.float32),
        "mixed": (moving.min(axis=1) < moving.max(axis=1)).astype(np.float32),
        "moved": (farthest.max(axis=1) > MEMBER_MOTION).astype(np.float32),
        "known": known.astype(np.float32),
    }


def _moving_points(body: NDArray[np.uint8], farthest: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Points of the body that moves most in each thing, [K, N]; all of them where nothing moves."""
    first = farthest.argmax(axis=1)[:, None]
    chosen = body == np.take_along_axis(body, first, axis=1)
    still = np.take_along_axis(farthest, first, axis=1) <= MEMBER_MOTION
    return np.asarray(chosen | still)
