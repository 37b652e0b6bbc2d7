"""A recorded episode with everything that is known about it, and its file.

An episode is plain arrays and facts that JSON can hold; `take_apart` and `put_together` are what every file format
shares. The file of one episode is a NumPy ``.npz`` archive without pickled objects; the facts are in its member
``episode.json``. Depth is kept in steps of 0.1 mm as uint16, 0 meaning unknown, so what lies farther than 6.5535 m is
read back as unknown. The same episode always gives the same bytes.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fourd_ros.data.array_archive import MAX_BYTES, ArchiveKind
from fourd_ros.data.depth_steps import to_metres, to_steps
from fourd_ros.errors import InvalidEpisode
from fourd_ros.geometry.camera import PinholeCamera

FloatArray = NDArray[np.float64]

ROBOT_ID = 255
"""Of the robot in segmentations."""

METADATA = "episode.json"
_FILE = ArchiveKind(
    what="an episode",
    made_by="'fourd sim record' writes episodes",
    error=InvalidEpisode,
    facts=METADATA,
    version=2,
)
FILE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+=@-]{0,199}")


def _nothing() -> FloatArray:
    return np.zeros(0)


@dataclass(frozen=True, kw_only=True)
class EpisodeView:
    """What one camera saw.

    Args:
        camera: calibration of every frame.
        mounted_on: the robot link that carries the camera, empty for a camera that stands still.
        T_mount_camera: optical frame in that link, or in the world, shape [4, 4].
        T_world_camera: camera pose of every frame, shape [T, 4, 4].
        rgb: colour, shape [T, H, W, 3], uint8.
        depth: along the optical axis [m], NaN where unknown, shape [T, H, W], float32; None without a depth camera.
        segmentation: 0 scene, k the object ``object_names[k - 1]``, 255 robot, shape [T, H, W], uint8; None where
            nobody knows.
    """

    camera: PinholeCamera
    mounted_on: str
    T_mount_camera: FloatArray
    T_world_camera: FloatArray
    rgb: NDArray[np.uint8]
    depth: NDArray[np.float32] | None = None
    segmentation: NDArray[np.uint8] | None = None


@dataclass(frozen=True, kw_only=True)
class Episode:
    """One recording of T frames with J joints, A actions and N objects; world is the robot's root link.

    Args:
        name: unique in a data set; letters, digits and ``_ . + = @ -``, so that it can name a file.
        source: where it is from: ``simulation``, the name of a bag, a data set.
        start_ns: stamp of the first frame [ns].
        tasks: names of the tasks, in the order in which they were done.
        instructions: the same in words.
        rate: frames a second [Hz].
        times: of the frames since the first [s], shape [T].
        joint_names: actuated joints.
        commanded: set points [rad | m], NaN where nothing was commanded, shape [T, J].
        measured: positions [rad | m], shape [T, J].
        velocities: measured [rad/s | m/s], NaN where they were not, shape [T, J].
        views: what the named cameras saw.
        robot_description: URDF of the robot, empty if it is not known.
        action_names: of the columns of `actions`.
        actions: what was asked of the robot where that is not `commanded`, in its own units, shape [T, A].
        object_names: objects and parts of fixtures.
        object_labels: what a person would call them.
        object_sizes: extents of the bounding boxes in the objects' frames [m], shape [N, 3].
        object_poses: ``T_world_object``, shape [T, N, 4, 4].
        policy: name of the policy, empty if it is not known.
        success: whether every task succeeded, None if nobody judged.
        seed: from which the scene, the task and the motion were drawn, None where they were not.

    Raises:
        InvalidEpisode: empty, a name that cannot name a file, shapes that contradict each other, or numbers that are
            not finite.
    """

    name: str
    source: str
    start_ns: int
    tasks: tuple[str, ...]
    instructions: tuple[str, ...]
    rate: float
    times: FloatArray
    joint_names: tuple[str, ...]
    commanded: FloatArray
    measured: FloatArray
    velocities: FloatArray
    views: Mapping[str, EpisodeView]
    robot_description: str = ""
    action_names: tuple[str, ...] = ()
    actions: FloatArray = field(default_factory=_nothing)
    object_names: tuple[str, ...] = ()
    object_labels: tuple[str, ...] = ()
    object_sizes: FloatArray = field(default_factory=_nothing)
    object_poses: FloatArray = field(default_factory=_nothing)
    policy: str = ""
    success: bool | None = None
    seed: int | None = None

    def __post_init__(self) -> None:
        if not FILE_NAME.fullmatch(self.name):
            raise InvalidEpisode(f"'{self.name}' cannot name a file; a name has letters, digits and _.+=@-, up to 200")
        if len(self.times) == 0 or not self.joint_names:
            raise InvalidEpisode("an episode needs at least one frame and one joint")
        if not all(self.views):
            raise InvalidEpisode("a camera has no name")
        if not 0 < self.rate < np.inf:
            raise InvalidEpisode(f"{self.rate} frames a second; a positive number is needed")
        for name, (shape, dtype) in expected_arrays(_facts(self), len(self.times)).items():
            if not prod(shape) and not _array(self, name).size:
                object.__setattr__(self, name, np.zeros(shape, dtype))
            check_array(name, _array(self, name), shape, dtype)
        if (np.diff(self.times) <= 0).any():
            raise InvalidEpisode("times must increase from frame to frame")
        if len(self.object_labels) != len(self.object_names):
            raise InvalidEpisode(f"{len(self.object_labels)} labels for {len(self.object_names)} objects")


_MAY_BE_UNKNOWN = ("commanded", "velocities")


def check_array(name: str, array: NDArray[Any], shape: tuple[int, ...], dtype: type) -> None:
    """See that `array`, called `name` in an episode, is what it must be.

    Raises:
        InvalidEpisode: another shape or type, or numbers that are not finite where they must be.
    """
    if array.shape != shape or array.dtype != dtype:
        raise InvalidEpisode(f"'{name}' is {array.dtype}{list(array.shape)}, needed {np.dtype(dtype)}{list(shape)}")
    if array.dtype != np.float64:
        return
    if name in _MAY_BE_UNKNOWN:
        if np.isinf(array).any():
            raise InvalidEpisode(f"'{name}' holds numbers that are neither finite nor NaN")
    elif not np.isfinite(array).all():
        raise InvalidEpisode(f"'{name}' holds numbers that are not finite")


def expected_arrays(facts: Mapping[str, Any], steps: int) -> dict[str, tuple[tuple[int, ...], type]]:
    """Shape and type of every array of an episode with those facts; of a view they are called ``<camera>/<field>``."""
    joints, objects = len(facts["joint_names"]), len(facts["object_names"])
    motion = ((steps, joints), np.float64)
    expected: dict[str, tuple[tuple[int, ...], type]] = {
        "times": ((steps,), np.float64),
        "commanded": motion,
        "measured": motion,
        "velocities": motion,
        "actions": ((steps, len(facts["action_names"])), np.float64),
        "object_sizes": ((objects, 3), np.float64),
        "object_poses": ((steps, objects, 4, 4), np.float64),
    }
    for name, view in facts["views"].items():
        pixels = (steps, view["height"], view["width"])
        expected |= {
            f"{name}/T_mount_camera": ((4, 4), np.float64),
            f"{name}/T_world_camera": ((steps, 4, 4), np.float64),
            f"{name}/rgb": ((*pixels, 3), np.uint8),
        }
        if view["depth"]:
            expected[f"{name}/depth"] = (pixels, np.float32)
        if view["segmentation"]:
            expected[f"{name}/segmentation"] = (pixels, np.uint8)
    return expected


def _array(episode: Episode, name: str) -> NDArray[Any]:
    """The array called `name`: a field, or ``<camera>/<field>`` of a view."""
    camera, _, field = name.rpartition("/")
    return np.asarray(getattr(episode.views[camera] if camera else episode, field))


def _texts(values: Iterable[str]) -> tuple[str, ...]:
    return tuple(str(value) for value in values)


def _optional(convert: Callable[[Any], object]) -> Callable[[Any], object]:
    return lambda value: None if value is None else convert(value)


_FACTS: dict[str, Callable[[Any], object]] = {
    "name": str,
    "source": str,
    "start_ns": int,
    "seed": _optional(int),
    "tasks": _texts,
    "instructions": _texts,
    "policy": str,
    "success": _optional(bool),
    "rate": float,
    "joint_names": _texts,
    "action_names": _texts,
    "object_names": _texts,
    "object_labels": _texts,
    "robot_description": str,
}
_STATE = ("times", "commanded", "measured", "velocities", "actions", "object_sizes", "object_poses")
_VIEW = ("T_mount_camera", "T_world_camera", "rgb")
_VIEW_OPTIONAL = ("depth", "segmentation")


def take_apart(episode: Episode) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Facts that JSON can hold, and contiguous arrays by name, depth in steps; `put_together` is the inverse."""
    facts = _facts(episode)
    arrays = {name: _array(episode, name) for name in expected_arrays(facts, len(episode.times))}
    return facts, {
        name: np.ascontiguousarray(to_steps(array) if name.endswith("/depth") else array)
        for name, array in arrays.items()
    }


def put_together(facts: Mapping[str, Any], read: Callable[[str], NDArray[Any]]) -> Episode:
    """The episode of what `take_apart` gave, with the arrays that `read` returns for their names.

    Raises:
        InvalidEpisode: see `Episode`; depth is not stored in steps.
        KeyError, TypeError, ValueError, AttributeError: facts are missing or of another kind.
    """
    known: dict[str, Any] = {name: convert(facts[name]) for name, convert in _FACTS.items()}
    views = {name: _read_view(name, view, read) for name, view in facts["views"].items()}
    arrays: dict[str, Any] = {name: read(name) for name in _STATE}
    return Episode(**known, **arrays, views=views)


def camera_facts(camera: PinholeCamera) -> dict[str, Any]:
    """A calibration as facts that JSON can hold, to the last bit."""
    return {
        "width": camera.width,
        "height": camera.height,
        "K": camera.K.tolist(),
        "distortion_model": camera.distortion_model,
        "distortion": camera.distortion.tolist(),
    }


def camera_from_facts(facts: Mapping[str, Any]) -> PinholeCamera:
    """The calibration in the facts of a view."""
    return PinholeCamera(
        width=int(facts["width"]),
        height=int(facts["height"]),
        K=np.array(facts["K"], np.float64),
        distortion_model=facts["distortion_model"],
        distortion=np.array(facts["distortion"], np.float64),
    )


def _facts(episode: Episode) -> dict[str, Any]:
    return {
        **{name: getattr(episode, name) for name in _FACTS},
        "views": {name: _view_facts(view) for name, view in episode.views.items()},
    }


def _view_facts(view: EpisodeView) -> dict[str, Any]:
    return {
        **camera_facts(view.camera),
        "mounted_on": view.mounted_on,
        **{field: getattr(view, field) is not None for field in _VIEW_OPTIONAL},
    }


def _read_view(name: str, facts: Mapping[str, Any], read: Callable[[str], NDArray[Any]]) -> EpisodeView:
    camera = camera_from_facts(facts)
    present = [*_VIEW, *(field for field in _VIEW_OPTIONAL if facts[field])]
    arrays: dict[str, Any] = {field: read(f"{name}/{field}") for field in present}
    if "depth" in arrays:
        if arrays["depth"].dtype != np.uint16:
            raise InvalidEpisode(f"depth is stored as {arrays['depth'].dtype}, needed uint16")
        arrays["depth"] = to_metres(arrays["depth"])
    return EpisodeView(camera=camera, mounted_on=str(facts["mounted_on"]), **arrays)


def save_episode(episode: Episode, path: Path | str) -> None:
    """Write `episode` to `path`, whole or not at all; an existing file is replaced."""
    _FILE.write(path, *take_apart(episode))


def load_episode(path: Path | str, *, max_bytes: int = MAX_BYTES) -> Episode:
    """Read an episode.

    Args:
        path: the file.
        max_bytes: of all arrays together; checked before anything is allocated.

    Raises:
        InvalidEpisode: missing or broken file, missing arrays, wrong shapes or types, or larger than allowed.
    """
    with _FILE.open(path, max_bytes=max_bytes) as archive:
        return put_together(archive.facts(), archive.read)


def peek_episode(path: Path | str) -> tuple[str, int]:
    """Name of the episode in a file, and the bytes of all its arrays, without reading them.

    Raises:
        InvalidEpisode: missing or broken file, or too large to be loaded.
    """
    with _FILE.open(path) as archive:
        return str(archive.facts()["name"]), archive.size
