"""A recorded episode with everything that is known about it, and its file.

The file is a NumPy ``.npz`` archive without pickled objects; names, cameras and results are in its
member ``episode.json``. Depth is kept in steps of 0.1 mm as uint16, 0 meaning unknown, so what lies
farther than 6.5535 m is read back as unknown. The same episode always gives the same bytes.
"""

import io
import json
import os
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from fourd_ros.errors import FourdError, InvalidEpisode
from fourd_ros.geometry.camera import PinholeCamera

FloatArray = NDArray[np.float64]

FORMAT = 1
MAX_BYTES = 4 * 1024**3
MAX_METADATA_BYTES = 1024**2
DEPTH_STEP = 1e-4
METADATA = "episode.json"

_COMPRESSION_LEVEL = 3
_DEPTH_MAX = np.iinfo(np.uint16).max
_ZIP_EPOCH = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True, kw_only=True)
class EpisodeView:
    """What one camera saw.

    Args:
        camera: calibration of every frame.
        mounted_on: the robot link that carries the camera, empty for a camera that stands still.
        T_mount_camera: optical frame in that link, or in the world, shape [4, 4].
        T_world_camera: camera pose of every frame, shape [T, 4, 4].
        rgb: colour, shape [T, H, W, 3], uint8.
        depth: along the optical axis [m], NaN where unknown, shape [T, H, W], float32.
        segmentation: 0 scene, k the object ``object_names[k - 1]``, 255 robot, shape [T, H, W], uint8.
    """

    camera: PinholeCamera
    mounted_on: str
    T_mount_camera: FloatArray
    T_world_camera: FloatArray
    rgb: NDArray[np.uint8]
    depth: NDArray[np.float32]
    segmentation: NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True)
class Episode:
    """One recording of T frames with J joints and N objects; world is the robot's root link.

    Args:
        seed: from which the scene, the task and the motion were drawn.
        tasks: names of the tasks, in the order in which they were done.
        instructions: the same in words.
        policy: name of the policy.
        success: whether every task succeeded.
        rate: frames a second [Hz].
        times: of the frames since the first [s], shape [T].
        joint_names: actuated joints.
        commanded: set points [rad | m], shape [T, J].
        measured: positions [rad | m], shape [T, J].
        velocities: measured [rad/s | m/s], shape [T, J].
        object_names: objects and parts of fixtures.
        object_labels: what a person would call them.
        object_sizes: extents of the bounding boxes in the objects' frames [m], shape [N, 3].
        object_poses: ``T_world_object``, shape [T, N, 4, 4].
        views: what the named cameras saw.

    Raises:
        InvalidEpisode: empty, shapes that contradict each other, or numbers that are not finite.
    """

    seed: int
    tasks: tuple[str, ...]
    instructions: tuple[str, ...]
    policy: str
    success: bool
    rate: float
    times: FloatArray
    joint_names: tuple[str, ...]
    commanded: FloatArray
    measured: FloatArray
    velocities: FloatArray
    object_names: tuple[str, ...]
    object_labels: tuple[str, ...]
    object_sizes: FloatArray
    object_poses: FloatArray
    views: Mapping[str, EpisodeView]

    def __post_init__(self) -> None:
        if len(self.times) == 0 or not self.joint_names:
            raise InvalidEpisode("an episode needs at least one frame and one joint")
        for name, (shape, dtype) in _expected(self).items():
            array = _array(self, name)
            if array.shape != shape or array.dtype != dtype:
                raise InvalidEpisode(
                    f"'{name}' is {array.dtype}{list(array.shape)}, needed {np.dtype(dtype)}{list(shape)}"
                )
            if array.dtype == np.float64 and not np.isfinite(array).all():
                raise InvalidEpisode(f"'{name}' holds numbers that are not finite")
        if (np.diff(self.times) <= 0).any():
            raise InvalidEpisode("times must increase from frame to frame")
        if len(self.object_labels) != len(self.object_names):
            raise InvalidEpisode(f"{len(self.object_labels)} labels for {len(self.object_names)} objects")


def _texts(values: Iterable[str]) -> tuple[str, ...]:
    return tuple(str(value) for value in values)


_FACTS: dict[str, Callable[[Any], object]] = {
    "seed": int,
    "tasks": _texts,
    "instructions": _texts,
    "policy": str,
    "success": bool,
    "rate": float,
    "joint_names": _texts,
    "object_names": _texts,
    "object_labels": _texts,
}
_UNREADABLE = (OSError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error)
_STATE = ("times", "commanded", "measured", "velocities", "object_sizes", "object_poses")
_VIEW = ("T_mount_camera", "T_world_camera", "rgb", "depth", "segmentation")


def _array(episode: Episode, name: str) -> NDArray[Any]:
    """The array called `name` in the file: a field, or ``<camera>/<field>`` of a view."""
    camera, _, field = name.rpartition("/")
    return np.asarray(getattr(episode.views[camera] if camera else episode, field))


def _expected(episode: Episode) -> dict[str, tuple[tuple[int, ...], type]]:
    """Shape and type of every array of an episode."""
    steps, joints, objects = len(episode.times), len(episode.joint_names), len(episode.object_names)
    motion = ((steps, joints), np.float64)
    expected: dict[str, tuple[tuple[int, ...], type]] = {
        "times": ((steps,), np.float64),
        "commanded": motion,
        "measured": motion,
        "velocities": motion,
        "object_sizes": ((objects, 3), np.float64),
        "object_poses": ((steps, objects, 4, 4), np.float64),
    }
    for name, view in episode.views.items():
        pixels = (steps, view.camera.height, view.camera.width)
        expected |= {
            f"{name}/T_mount_camera": ((4, 4), np.float64),
            f"{name}/T_world_camera": ((steps, 4, 4), np.float64),
            f"{name}/rgb": ((*pixels, 3), np.uint8),
            f"{name}/depth": (pixels, np.float32),
            f"{name}/segmentation": (pixels, np.uint8),
        }
    return expected


def save_episode(episode: Episode, path: Path | str) -> None:
    """Write `episode` to `path`, whole or not at all; an existing file is replaced."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, partial = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".partial", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file, zipfile.ZipFile(file, "w") as archive:
            _write(archive, METADATA, json.dumps(_metadata(episode), indent=1).encode())
            for name in _expected(episode):
                array = _array(episode, name)
                _write_array(archive, name, _depth_steps(array) if name.endswith("/depth") else array)
        os.replace(partial, path)
    except BaseException:
        os.unlink(partial)
        raise


def load_episode(path: Path | str, *, max_bytes: int = MAX_BYTES) -> Episode:
    """Read an episode.

    Args:
        path: the file.
        max_bytes: of all arrays together; checked before anything is allocated.

    Raises:
        InvalidEpisode: missing or broken file, missing arrays, wrong shapes or types, or larger than allowed.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            size = sum(member.file_size for member in archive.infolist())
            if size > max_bytes:
                raise InvalidEpisode(f"it holds {size} bytes, allowed are {max_bytes}")
            return _read(archive)
    except FileNotFoundError as error:
        raise InvalidEpisode(f"there is no file '{path}'; 'fourd sim record' writes episodes") from error
    except FourdError as error:
        raise InvalidEpisode(f"'{path}' is not an episode: {error}") from error
    except (*_UNREADABLE, KeyError, ValueError, TypeError, AttributeError) as error:
        raise InvalidEpisode(f"'{path}' is not an episode: {type(error).__name__}: {error}") from error


def _read(archive: zipfile.ZipFile) -> Episode:
    if archive.getinfo(METADATA).file_size > MAX_METADATA_BYTES:
        raise InvalidEpisode(f"'{METADATA}' is larger than {MAX_METADATA_BYTES} bytes")
    metadata = json.loads(archive.read(METADATA))
    if metadata.get("format") != FORMAT:
        raise InvalidEpisode(f"its format is {metadata.get('format')}, this version reads {FORMAT}")
    facts: dict[str, Any] = {name: convert(metadata[name]) for name, convert in _FACTS.items()}
    views = {name: _read_view(archive, name, camera) for name, camera in metadata["views"].items()}
    arrays: dict[str, Any] = {name: _read_array(archive, name) for name in _STATE}
    return Episode(**facts, **arrays, views=views)


def _read_view(archive: zipfile.ZipFile, name: str, facts: Mapping[str, Any]) -> EpisodeView:
    camera = PinholeCamera(
        width=int(facts["width"]),
        height=int(facts["height"]),
        K=np.array(facts["K"], np.float64),
        distortion_model=facts["distortion_model"],
        distortion=np.array(facts["distortion"], np.float64),
    )
    arrays = {field: _read_array(archive, f"{name}/{field}") for field in _VIEW}
    arrays["depth"] = _depth_metres(arrays["depth"])
    return EpisodeView(camera=camera, mounted_on=str(facts["mounted_on"]), **arrays)


def _metadata(episode: Episode) -> dict[str, Any]:
    return {
        "format": FORMAT,
        **{name: getattr(episode, name) for name in _FACTS},
        "views": {
            name: {
                "width": view.camera.width,
                "height": view.camera.height,
                "K": view.camera.K.tolist(),
                "distortion_model": view.camera.distortion_model,
                "distortion": view.camera.distortion.tolist(),
                "mounted_on": view.mounted_on,
            }
            for name, view in episode.views.items()
        },
    }


def _depth_steps(depth: NDArray[np.float32]) -> NDArray[np.uint16]:
    steps = np.rint(depth / np.float32(DEPTH_STEP))
    known = (steps > 0) & (steps <= _DEPTH_MAX)
    return np.where(known, steps, 0).astype(np.uint16)


def _depth_metres(steps: NDArray[Any]) -> NDArray[np.float32]:
    if steps.dtype != np.uint16:
        raise InvalidEpisode(f"depth is stored as {steps.dtype}, needed uint16")
    return np.where(steps > 0, steps * np.float32(DEPTH_STEP), np.float32(np.nan))


def _write(archive: zipfile.ZipFile, name: str, data: bytes) -> None:
    member = zipfile.ZipInfo(name, date_time=_ZIP_EPOCH)
    archive.writestr(member, data, zipfile.ZIP_DEFLATED, _COMPRESSION_LEVEL)


def _write_array(archive: zipfile.ZipFile, name: str, array: NDArray[Any]) -> None:
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, np.ascontiguousarray(array), allow_pickle=False)
    _write(archive, f"{name}.npy", buffer.getvalue())


def _read_array(archive: zipfile.ZipFile, name: str) -> NDArray[Any]:
    """One array; its header is checked against the size of the member before memory is taken."""
    member = archive.getinfo(f"{name}.npy")
    with archive.open(member) as file:
        if np.lib.format.read_magic(cast(Any, file)) != (1, 0):
            raise InvalidEpisode(f"'{name}' has an unknown array format")
        shape, fortran, dtype = np.lib.format.read_array_header_1_0(cast(Any, file))
        if dtype.hasobject or fortran:
            raise InvalidEpisode(f"'{name}' must be a plain array in C order, got {dtype}")
        size = prod(shape) * dtype.itemsize
        if size > member.file_size:
            raise InvalidEpisode(f"'{name}' claims {size} bytes and has at most {member.file_size}")
        data = file.read(size)
        if len(data) != size:
            raise InvalidEpisode(f"'{name}' is truncated: {len(data)} of {size} bytes")
    return np.frombuffer(bytearray(data), dtype).reshape(shape)
