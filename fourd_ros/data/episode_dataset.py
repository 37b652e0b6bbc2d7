"""Reading a data set of episodes: whole ones, or windows of them for training, straight from the mapped files."""

import hashlib
import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fourd_ros.data.dataset_card import read_card
from fourd_ros.data.depth_steps import to_metres
from fourd_ros.data.episode import Episode, camera_from_facts, put_together
from fourd_ros.data.episode_index import (
    EpisodeRow,
    read_columns,
    read_index,
    read_part,
    robot_path,
    shard_path,
)
from fourd_ros.data.episode_shards import Shard
from fourd_ros.data.splits import SPLITS, read_splits
from fourd_ros.errors import FourdError, InvalidDataset, MissingCamera
from fourd_ros.geometry.camera import PinholeCamera
from fourd_ros.geometry.pointmap import points_from_depth

FloatArray = NDArray[np.float64]

STATE_FIELDS = ("commanded", "measured", "velocities", "actions", "object_poses")
VIEW_FIELDS = ("T_world_camera", "rgb", "depth", "points", "segmentation")
DEFAULT_FIELDS = ("commanded", "measured", "actions", "T_world_camera", "rgb", "depth")
MAX_OPEN_SHARDS = 256
MAX_ROBOT_BYTES = 16 * 1024**2
_SHA256 = re.compile("[0-9a-f]{64}")


@dataclass(frozen=True, kw_only=True)
class WindowView:
    """What one camera saw during a window of T frames; what was not asked for is None.

    Args:
        camera: calibration of every frame.
        mounted_on: the robot link that carries the camera, empty for a camera that stands still.
        T_world_camera: camera pose of every frame, shape [T, 4, 4].
        rgb: colour, shape [T, H, W, 3], uint8.
        depth: along the optical axis [m], NaN where unknown, shape [T, H, W], float32.
        points: camera-frame pointmap [m], NaN where unknown, shape [T, H, W, 3], float32.
        segmentation: 0 scene, k the object ``object_names[k - 1]``, 255 robot, shape [T, H, W], uint8.
    """

    camera: PinholeCamera
    mounted_on: str
    T_world_camera: FloatArray | None = None
    rgb: NDArray[np.uint8] | None = None
    depth: NDArray[np.float32] | None = None
    points: NDArray[np.float32] | None = None
    segmentation: NDArray[np.uint8] | None = None


@dataclass(frozen=True, kw_only=True)
class Window:
    """T consecutive frames of an episode, for training; what was not asked for is None. See `Episode`.

    Args:
        episode: name of the episode.
        start: first frame.
        times: of the frames since the first of the episode [s], shape [T].
        tasks: names of the tasks.
        instructions: the same in words.
        joint_names: J actuated joints.
        action_names: of the A columns of `actions`.
        views: what the named cameras saw.
        commanded: set points [rad | m], NaN where nothing was commanded, shape [T, J].
        measured: positions [rad | m], shape [T, J].
        velocities: measured [rad/s | m/s], NaN where they were not, shape [T, J].
        actions: shape [T, A].
        object_poses: ``T_world_object``, shape [T, N, 4, 4].
    """

    episode: str
    start: int
    times: FloatArray
    tasks: tuple[str, ...]
    instructions: tuple[str, ...]
    joint_names: tuple[str, ...]
    action_names: tuple[str, ...]
    views: Mapping[str, WindowView]
    commanded: FloatArray | None = None
    measured: FloatArray | None = None
    velocities: FloatArray | None = None
    actions: FloatArray | None = None
    object_poses: FloatArray | None = None


class EpisodeDataset:
    """The episodes of a data set, in the order of their names.

    Only names, places and lengths are read at the start; shards are mapped when they are needed. Threads may share a
    data set; a copy that is sent to another process maps the files anew.

    Args:
        folder: of the data set.
        split: only those of ``train``, ``validation`` or ``test``, as ``fourd data split`` drew them.

    Attributes:
        folder: of the data set.
        card: what ``dataset.json`` says.
        names: of the episodes.
        frames: length of each episode, shape [len(self)].

    Raises:
        InvalidDataset: no data set, a damaged index, two episodes of one name, or a split that was not drawn.
        MissingDependency: pyarrow is not installed.
    """

    def __init__(self, folder: Path | str, *, split: str | None = None) -> None:
        self.folder = Path(folder)
        self.card = read_card(self.folder)
        columns = read_columns(self.folder, ["name", "shard", "frames"])
        _check_unique(self.folder, columns["name"])
        chosen = _chosen(self.folder, columns["name"], split)
        self.names: tuple[str, ...] = tuple(columns["name"][place] for place in chosen)
        self.frames = np.array([columns["frames"][place] for place in chosen], np.int64)
        self._shards = [columns["shard"][place] for place in chosen]
        self._places = {name: place for place, name in enumerate(self.names)}
        self._open: dict[str, dict[str, _StoredEpisode]] = {}

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> Episode:
        """The whole episode.

        Raises:
            InvalidDataset: its arrays are missing or damaged, or contradict each other.
        """
        stored = self._stored(index)
        try:
            facts = {**stored.facts, "robot_description": self.robot_description(index)}
            return put_together(facts, lambda name: stored.array(name).copy())
        except (KeyError, TypeError, ValueError, AttributeError, FourdError) as error:
            raise InvalidDataset(f"episode '{self.names[index]}' of '{self.folder}' is damaged: {error}") from error

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_open": {}}

    def index(self, name: str) -> int:
        """Where the episode called `name` is.

        Raises:
            InvalidDataset: there is none.
        """
        if name not in self._places:
            raise InvalidDataset(f"'{self.folder}' has no episode '{name}'; it has {_some(self.names)}")
        return self._places[name]

    def rows(self) -> list[EpisodeRow]:
        """What the index says about each episode; read anew, in the order of `names`."""
        return [row for row in read_index(self.folder) if row.name in self._places]

    def robot_description(self, index: int) -> str:
        """URDF of the robot of an episode, empty if it is not known.

        Raises:
            InvalidDataset: it is missing, or not the one that was written.
        """
        return read_robot(self.folder, self._stored(index).row.robot)

    def window(
        self,
        index: int,
        start: int,
        steps: int,
        *,
        cameras: Collection[str] | None = None,
        fields: Collection[str] = DEFAULT_FIELDS,
    ) -> Window:
        """Consecutive frames of one episode; only what is asked for is read.

        Args:
            index: of the episode.
            start: first frame.
            steps: how many frames.
            cameras: names; None takes all.
            fields: of `STATE_FIELDS` and `VIEW_FIELDS`.

        Raises:
            InvalidDataset: frames outside the episode, fields that do not exist or that a camera did not measure.
            MissingCamera: the episode has no such camera.
        """
        unknown = set(fields).difference(STATE_FIELDS, VIEW_FIELDS)
        if unknown:
            raise InvalidDataset(f"no fields {sorted(unknown)}; there are {[*STATE_FIELDS, *VIEW_FIELDS]}")
        stored = self._stored(index)
        if steps < 1 or not 0 <= start <= stored.row.frames - steps:
            raise InvalidDataset(
                f"{steps} frames from frame {start} of episode '{stored.row.name}', which has {stored.row.frames}"
            )
        frames = slice(start, start + steps)
        state = {field: stored.cut(field, frames).copy() for field in STATE_FIELDS if field in fields}
        names = stored.cameras if cameras is None else cameras
        return Window(
            episode=stored.row.name,
            start=start,
            times=stored.cut("times", frames).copy(),
            tasks=stored.row.tasks,
            instructions=stored.row.instructions,
            joint_names=stored.row.joint_names,
            action_names=stored.row.action_names,
            views={name: stored.view(name, frames, fields) for name in names},
            **state,
        )

    def _stored(self, index: int) -> "_StoredEpisode":
        name, shard = self.names[index], self._shards[index]
        episodes = self._open.get(shard)
        if episodes is None:
            episodes = self._open[shard] = self._open_shard(shard)
            if len(self._open) > MAX_OPEN_SHARDS:
                self._open.pop(next(iter(self._open)), None)
        if name not in episodes:
            raise InvalidDataset(f"'{self.folder}' was changed: '{shard}' no longer has episode '{name}'; open it anew")
        return episodes[name]

    def _open_shard(self, name: str) -> "dict[str, _StoredEpisode]":
        shard = Shard(shard_path(self.folder, name))
        return {row.name: _StoredEpisode(row, shard) for row in read_part(self.folder, name)}


class _StoredEpisode:
    """An episode in a mapped shard."""

    def __init__(self, row: EpisodeRow, shard: Shard) -> None:
        self.row = row
        self._shard = shard

    @cached_property
    def facts(self) -> dict[str, Any]:
        return self.row.facts()

    @cached_property
    def cameras(self) -> dict[str, WindowView]:
        """Calibration and mount of each camera, without frames."""
        try:
            return {
                name: WindowView(camera=camera_from_facts(view), mounted_on=str(view["mounted_on"]))
                for name, view in self.facts["views"].items()
            }
        except (KeyError, TypeError, ValueError, AttributeError, FourdError) as error:
            raise InvalidDataset(f"metadata of episode '{self.row.name}' is damaged: {error}") from error

    def array(self, name: str) -> NDArray[Any]:
        return self._shard.array(f"{self.row.name}/{name}")

    def cut(self, name: str, frames: slice) -> NDArray[Any]:
        """Those frames of an array, in the file."""
        array = self.array(name)
        if len(array) != self.row.frames:
            raise InvalidDataset(f"'{name}' of episode '{self.row.name}' has {len(array)} of {self.row.frames} frames")
        return array[frames]

    def view(self, name: str, frames: slice, fields: Collection[str]) -> WindowView:
        if name not in self.cameras:
            raise MissingCamera(f"episode '{self.row.name}' has no camera '{name}'; it has {list(self.cameras)}")
        still = self.cameras[name]
        arrays: dict[str, Any] = {}
        if "T_world_camera" in fields:
            arrays["T_world_camera"] = self.cut(f"{name}/T_world_camera", frames).copy()
        for field in ("rgb", "segmentation"):
            if field in fields:
                arrays[field] = self._pixels(name, field, frames).copy()
        if "depth" in fields or "points" in fields:
            depth = to_metres(self._pixels(name, "depth", frames))
            if "depth" in fields:
                arrays["depth"] = depth
            if "points" in fields:
                arrays["points"] = points_from_depth(depth, still.camera)
        return WindowView(camera=still.camera, mounted_on=still.mounted_on, **arrays)

    def _pixels(self, camera: str, field: str, frames: slice) -> NDArray[Any]:
        size = self.cameras[camera].camera
        if not self.facts["views"][camera].get(field, True):
            raise InvalidDataset(f"camera '{camera}' of episode '{self.row.name}' has no {field}")
        pixels = self.cut(f"{camera}/{field}", frames)
        if pixels.shape[1:3] != (size.height, size.width):
            raise InvalidDataset(f"'{camera}/{field}' of episode '{self.row.name}' has shape {list(pixels.shape)}")
        return pixels


def read_robot(folder: Path, robot: str) -> str:
    """The robot description of that hash; empty for an empty hash.

    Raises:
        InvalidDataset: it is missing, or not the one that was written.
    """
    if not robot:
        return ""
    path = robot_path(folder, robot)
    if not _SHA256.fullmatch(robot):
        raise InvalidDataset(f"a robot description is called '{robot[:100]}'; needed is a SHA-256")
    try:
        with path.open("rb") as file:
            data = file.read(MAX_ROBOT_BYTES)
    except OSError as error:
        raise InvalidDataset(f"cannot read robot description '{path}': {error}") from error
    if hashlib.sha256(data).hexdigest() != robot:
        raise InvalidDataset(f"robot description '{path}' is not the one that was written: its hash differs")
    return data.decode()


def _check_unique(folder: Path, names: Sequence[str]) -> None:
    repeated = sorted(name for name, count in Counter(names).items() if count > 1)
    if repeated:
        raise InvalidDataset(f"'{folder}' has several episodes called {_some(repeated)}; see 'fourd data validate'")


def _chosen(folder: Path, names: Sequence[str], split: str | None) -> Sequence[int]:
    if split is None:
        return range(len(names))
    if split not in SPLITS:
        raise InvalidDataset(f"there is no split '{split}'; there are {list(SPLITS)}")
    splits = read_splits(folder)
    left_out = [name for name in names if name not in splits]
    if left_out:
        raise InvalidDataset(
            f"{len(left_out)} of {len(names)} episodes are in no split of '{folder}' ({_some(left_out)}); "
            "'fourd data split' draws them"
        )
    return [place for place, name in enumerate(names) if splits[name] == split]


def _some(names: Sequence[str], most: int = 3) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
