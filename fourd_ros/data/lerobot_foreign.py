"""LeRobot folders of others: how their features become an episode, and what has to be told about them."""

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fourd_ros.data.dropped import Dropped, DropTally
from fourd_ros.data.episode import Episode, EpisodeView
from fourd_ros.data.lerobot_features import ACTION, COLOUR, COUNTERS, STATE, VELOCITY
from fourd_ros.data.lerobot_frames import EpisodeFrames, stacked
from fourd_ros.data.lerobot_info import Feature, LeRobotFolder
from fourd_ros.errors import FourdError, InvalidCamera, InvalidDataset, MissingCamera
from fourd_ros.geometry.camera import PinholeCamera

MAX_CALIBRATION_BYTES = 1024**2
TIMESTAMP_TOLERANCE = 1e-3
"""How far times may be from those of a clock without jitter [s]: LeRobot finds pictures by them."""

_CALIBRATION_KEYS = ("fov", "K", "distortion_model", "distortion", "T_world_camera")


@dataclass(frozen=True, kw_only=True)
class CameraCalibration:
    """What is known about a camera of which LeRobot keeps nothing but the pictures.

    Args:
        fov: opening angle over the width [rad], of a camera with square pixels; None where `K` is given.
        K: intrinsic matrix, shape [3, 3].
        distortion_model: see `PinholeCamera`.
        distortion: see `PinholeCamera`.
        T_world_camera: where it stands, shape [4, 4]; the origin of the world if nobody knows.
    """

    fov: float | None = None
    K: NDArray[np.float64] | None = None
    distortion_model: str = "plumb_bob"
    distortion: tuple[float, ...] = ()
    T_world_camera: NDArray[np.float64] = field(default_factory=lambda: np.eye(4))

    def camera(self, width: int, height: int) -> PinholeCamera:
        """The camera of pictures of that size.

        Raises:
            InvalidCamera: the calibration is none.
        """
        if self.K is None:
            if self.fov is None or not 0 < self.fov < math.pi:
                raise InvalidCamera(f"an opening angle of {self.fov} rad; needed is one in (0, pi), or K")
            focal = width / 2 / math.tan(self.fov / 2)
            K = np.array([[focal, 0, (width - 1) / 2], [0, focal, (height - 1) / 2], [0, 0, 1]])
        else:
            K = self.K
        return PinholeCamera(
            width=width,
            height=height,
            K=K,
            distortion_model=self.distortion_model,
            distortion=np.array(self.distortion, np.float64),
        )


@dataclass(frozen=True, kw_only=True)
class ForeignOptions:
    """What LeRobot folders do not say.

    Args:
        calibration: of cameras by name.
        fov: opening angle over the width [rad] of cameras that are not in `calibration`.
        name: that the names of episodes begin with; the folder's by default.
    """

    calibration: Mapping[str, CameraCalibration] = field(default_factory=dict)
    fov: float | None = None
    name: str = ""


def read_calibration(path: Path) -> dict[str, CameraCalibration]:
    """Calibrations of cameras by name, from YAML.

    Every camera has ``fov`` (degrees, over the width) or ``K`` (nine numbers), and may have ``distortion_model``,
    ``distortion`` and ``T_world_camera`` (sixteen numbers, row by row).

    Raises:
        InvalidCamera: the file is unreadable or says something else.
    """
    import yaml

    try:
        with path.open("rb") as file:
            given = yaml.safe_load(file.read(MAX_CALIBRATION_BYTES))
        return {str(name): _calibration(facts) for name, facts in given.items()}
    except (OSError, yaml.YAMLError, AttributeError, TypeError, ValueError) as error:
        raise InvalidCamera(f"'{path}' does not hold calibrations of cameras: {error}") from error


def _calibration(facts: Mapping[str, Any]) -> CameraCalibration:
    unknown = set(facts).difference(_CALIBRATION_KEYS)
    if unknown or ("fov" in facts) == ("K" in facts):
        raise ValueError(f"a camera has {sorted(facts)}; possible are {list(_CALIBRATION_KEYS)}, either fov or K")
    given: dict[str, Any] = {}
    if "fov" in facts:
        given["fov"] = math.radians(float(facts["fov"]))
    for key, shape in (("K", (3, 3)), ("T_world_camera", (4, 4))):
        if key in facts:
            given[key] = np.array(facts[key], np.float64).reshape(shape)
    if "distortion_model" in facts:
        given["distortion_model"] = str(facts["distortion_model"])
    if "distortion" in facts:
        given["distortion"] = tuple(float(value) for value in facts["distortion"])
    return CameraCalibration(**given)


@dataclass(frozen=True, kw_only=True)
class ForeignView:
    """A feature that is a camera.

    Args:
        key: of the feature.
        film: whether it is a film, or single images.
        camera: calibration.
        T_world_camera: where it stands, shape [4, 4].
    """

    key: str
    film: bool
    camera: PinholeCamera
    T_world_camera: NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class ForeignReading:
    """How the features of one folder become episodes.

    Args:
        name: that the names of episodes begin with.
        source: what episodes say where they are from.
        rate: frames a second [Hz].
        joint_names: of ``observation.state``.
        action_names: of ``action``; empty where it is what the joints were commanded.
        actions: whether there are any.
        velocities: whether ``observation.velocity`` is there.
        views: by camera.
        dropped: features that have no place in an episode.
    """

    name: str
    source: str
    rate: float
    joint_names: tuple[str, ...]
    action_names: tuple[str, ...]
    actions: bool
    velocities: bool
    views: Mapping[str, ForeignView]
    dropped: tuple[Dropped, ...]

    def episode_name(self, index: int) -> str:
        """Name of the episode of that number."""
        return f"{self.name}-{index:06d}"

    def episode(self, frames: EpisodeFrames, tasks: Mapping[int, str]) -> Episode:
        """One episode.

        Raises:
            InvalidDataset: features are missing or damaged.
            InvalidEpisode: they hold what no episode can.
        """
        unknown = np.full((frames.place.frames, len(self.joint_names)), np.nan)
        commanded, actions = unknown, np.zeros((len(unknown), 0))
        if self.action_names:
            actions = _vectors(frames, ACTION, len(self.action_names))
        elif self.actions:
            commanded = _vectors(frames, ACTION, len(self.joint_names))
        instructions = _instructions(frames, tasks)
        return Episode(
            name=self.episode_name(frames.place.index),
            source=self.source,
            start_ns=0,
            tasks=instructions,
            instructions=instructions,
            rate=self.rate,
            times=_times(frames, self.rate),
            joint_names=self.joint_names,
            commanded=commanded,
            measured=_vectors(frames, STATE, len(self.joint_names)),
            velocities=_vectors(frames, VELOCITY, len(self.joint_names)) if self.velocities else unknown,
            action_names=self.action_names,
            actions=actions,
            views={name: _view(frames, view) for name, view in self.views.items()},
        )


def plan_foreign(source: LeRobotFolder, options: ForeignOptions) -> ForeignReading:
    """Decide what the features of a folder are.

    Raises:
        InvalidDataset: there are no joints, or a feature is not shaped like what it is called.
        MissingCamera: the calibration of a camera is not known, or one is given for a camera that is not there.
    """
    features = source.features
    if STATE not in features:
        raise InvalidDataset(f"'{source.folder}' has no feature '{STATE}'; it has {sorted(features)}")
    joints = _place_names(features[STATE], "joint")
    action = features.get(ACTION)
    as_commanded = action is not None and _place_names(action, "joint") == joints
    velocity = features.get(VELOCITY)
    views = _views(source, options)
    used = {STATE, *(view.key for view in views.values()), *COUNTERS}
    used |= {ACTION} if action else set()
    used |= {VELOCITY} if velocity and velocity.shape == features[STATE].shape else set()
    name = options.name or re.sub(r"[^A-Za-z0-9_.+=@-]", "_", source.folder.resolve().name).lstrip(".+=@-")
    return ForeignReading(
        name=name or "lerobot",
        source=f"lerobot:{source.folder.resolve().name}",
        rate=source.rate,
        joint_names=joints,
        action_names=() if action is None or as_commanded else _place_names(action, "action"),
        actions=action is not None,
        velocities=VELOCITY in used,
        views=views,
        dropped=tuple(_dropped(features, used, views, options)),
    )


def _place_names(feature: Feature, what: str) -> tuple[str, ...]:
    if len(feature.shape) != 1:
        raise InvalidDataset(f"'{STATE}' and '{ACTION}' are lists of numbers, found the shape {list(feature.shape)}")
    (size,) = feature.shape
    return feature.names if len(feature.names) == size else tuple(f"{what}_{place}" for place in range(size))


def _views(source: LeRobotFolder, options: ForeignOptions) -> dict[str, ForeignView]:
    pictures = {
        key.removeprefix(COLOUR).removeprefix("observation."): key
        for key, feature in source.features.items()
        if feature.dtype in ("video", "image") and not feature.depth_map and _channels(feature) == 3
    }
    unknown = set(options.calibration).difference(pictures)
    if unknown:
        raise MissingCamera(f"calibrations for {sorted(unknown)}; '{source.folder}' has the cameras {sorted(pictures)}")
    without = [name for name in pictures if name not in options.calibration and options.fov is None]
    if without:
        raise MissingCamera(
            f"'{source.folder}' does not say how its cameras {sorted(without)} see; LeRobot keeps no calibration. "
            "Give --calibration FILE.yaml with K or fov of each, or --fov DEGREES for all"
        )
    return {name: _foreign_view(source.features[key], key, name, options) for name, key in pictures.items()}


def _foreign_view(feature: Feature, key: str, name: str, options: ForeignOptions) -> ForeignView:
    calibration = options.calibration.get(name, CameraCalibration(fov=options.fov))
    height, width = (feature.shape[axis] for axis in _axes(feature)[:2])
    try:
        camera = calibration.camera(width, height)
    except FourdError as error:
        raise InvalidCamera(f"camera '{name}': {error}") from error
    return ForeignView(key=key, film=feature.dtype == "video", camera=camera, T_world_camera=calibration.T_world_camera)


def _axes(feature: Feature) -> tuple[int, int, int]:
    """Places of height, width and channels in the shape; some folders have the channels first."""
    if len(feature.shape) != 3:
        raise InvalidDataset(f"pictures of shape {list(feature.shape)}; needed are height, width and channels")
    first = feature.names[0].startswith("channel") if len(feature.names) == 3 else feature.shape[2] > 4
    return (1, 2, 0) if first else (0, 1, 2)


def _channels(feature: Feature) -> int:
    return feature.shape[_axes(feature)[2]]


def _dropped(
    features: Mapping[str, Feature], used: Iterable[str], views: Mapping[str, ForeignView], options: ForeignOptions
) -> list[Dropped]:
    tally = DropTally()
    for key in sorted(set(features).difference(used)):
        why = "depth of others is lossy and of unknown range" if features[key].depth_map else "episodes have no place"
        tally.add("no_place", f"feature '{key}'", 0, why)
    for name in views:
        if name not in options.calibration:
            tally.add("no_pose", f"pose of '{name}'", 0, "LeRobot keeps none: the camera is put at the world's origin")
    return tally.result()


def _vectors(frames: EpisodeFrames, key: str, size: int) -> NDArray[np.float64]:
    return frames.numbers(key, size).astype(np.float64)


def _times(frames: EpisodeFrames, rate: float) -> NDArray[np.float64]:
    times = np.arange(frames.place.frames) / rate
    stamps = frames.numbers("timestamp", 1)[:, 0]
    apart = np.abs(stamps - times).max()
    if not apart <= TIMESTAMP_TOLERANCE:
        raise InvalidDataset(f"times are up to {apart:.4f} s from those of {rate:g} Hz; LeRobot could not read them")
    return times


def _instructions(frames: EpisodeFrames, tasks: Mapping[int, str]) -> tuple[str, ...]:
    numbers = dict.fromkeys(frames.numbers("task_index", 1)[:, 0].tolist())
    unknown = [number for number in numbers if number not in tasks]
    if unknown:
        raise InvalidDataset(f"tasks {unknown} are not in the list of tasks")
    return tuple(tasks[number] for number in numbers)


def _view(frames: EpisodeFrames, view: ForeignView) -> EpisodeView:
    size = (view.camera.width, view.camera.height)
    pictures = frames.film(view.key, size) if view.film else frames.images(view.key, size, "RGB")
    steps = frames.place.frames
    return EpisodeView(
        camera=view.camera,
        mounted_on="",
        T_mount_camera=view.T_world_camera,
        T_world_camera=np.broadcast_to(view.T_world_camera, (steps, 4, 4)).copy(),
        rgb=stacked(pictures, (steps, size[1], size[0], 3), np.uint8),
    )
