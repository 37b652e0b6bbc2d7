"""Scenes with their truth as DynamicVerse prepares them: ``c2w.npy`` and ``depth_gt/`` in a folder for each."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from fourd_ros.errors import InvalidDataset

FloatArray = NDArray[np.float64]
DepthReader = Callable[[Path], NDArray[np.float32]]

PATH, DEPTH = "c2w.npy", "depth_gt"

MAX_PIXELS = 400_000_000
"""Of the true depth of one video; a video of 110 frames of KITTI has an eighth."""

_MAX_PATH_BYTES = 256 * 1024**2


def scene_names(root: Path, wanted: str) -> list[str]:
    """Folders of `root` that have `wanted` in them, sorted.

    Raises:
        InvalidDataset: there is none.
    """
    names = sorted(path.parent.name for path in root.glob(f"*/{wanted}"))
    if not names:
        raise InvalidDataset(f"no folder in '{root}' has '{wanted}'")
    return names


def read_path(path: Path) -> FloatArray:
    """``T_world_camera`` of every frame from an array file, shape [F, 4, 4].

    Raises:
        InvalidDataset: missing, or not such an array.
    """
    poses = np.array(read_array(path, max_bytes=_MAX_PATH_BYTES))
    if poses.ndim != 3 or poses.shape[1:] not in ((4, 4), (3, 4)) or poses.dtype.kind not in "iuf":
        raise InvalidDataset(f"'{path}' holds {poses.dtype} {list(poses.shape)}, needed are poses [frames, 4, 4]")
    whole = np.tile(np.eye(4), (len(poses), 1, 1))
    whole[:, :3] = poses[:, :3]
    return whole


def read_array(path: Path, *, max_bytes: int) -> NDArray[Any]:
    """An array file, mapped into memory; objects are never unpickled.

    Raises:
        InvalidDataset: missing, damaged, or larger than `max_bytes`.
    """
    try:
        array: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise InvalidDataset(f"'{path}' is no readable array file: {error}") from error
    if not isinstance(array, np.ndarray) or array.nbytes > max_bytes:
        raise InvalidDataset(f"'{path}' is no array of at most {max_bytes} bytes")
    return array


def depth_files(folder: Path) -> list[Path]:
    """The images of `folder`, ``.npy`` or ``.png``, sorted by name.

    Raises:
        InvalidDataset: there are none, or both kinds.
    """
    arrays, pictures = (sorted(folder.glob(f"*.{kind}")) for kind in ("npy", "png"))
    if bool(arrays) == bool(pictures):
        raise InvalidDataset(
            f"'{folder}' holds {len(arrays)} .npy and {len(pictures)} .png; needed is one kind of them"
        )
    return arrays or pictures


def depth_reader(steps_per_metre: float) -> DepthReader:
    """Reads depth [m], shape [H, W], float32: arrays as they are, 16-bit PNG by their steps; 0 is unknown."""

    def read(path: Path) -> NDArray[np.float32]:
        if path.suffix == ".npy":
            depth = read_array(path, max_bytes=8 * MAX_PIXELS)
        else:
            depth = _png(path) / np.float32(steps_per_metre)
        if depth.ndim != 2 or depth.dtype.kind not in "iuf":
            raise InvalidDataset(f"'{path}' holds {depth.dtype} {list(depth.shape)}, needed is depth [H, W]")
        return np.asarray(depth, np.float32)

    return read


def read_video(files: Sequence[Path], read: DepthReader) -> NDArray[np.float32]:
    """Depth of all frames [m], shape [F, H, W].

    Raises:
        InvalidDataset: no frame, frames of several sizes, or too many pixels.
    """
    if not files:
        raise InvalidDataset("no depth images; needed is at least one frame")
    first = read(files[0])
    if len(files) * first.size > MAX_PIXELS:
        raise InvalidDataset(f"{len(files)} depth images of {list(first.shape)}; at most {MAX_PIXELS} pixels are read")
    video = np.empty((len(files), *first.shape), np.float32)
    for number, file in enumerate(files):
        depth = read(file) if number else first
        if depth.shape != first.shape:
            raise InvalidDataset(f"'{file}' has the size {list(depth.shape)}, the first frame {list(first.shape)}")
        video[number] = depth
    return video


def _png(path: Path) -> NDArray[np.float32]:
    try:
        with Image.open(path, formats=("PNG",)) as image:
            if image.width * image.height > MAX_PIXELS or image.mode not in ("I;16", "I", "L"):
                raise InvalidDataset(f"'{path}' is {image.mode} {image.size}; needed is grey of 16 bits")
            return np.asarray(image, np.float32)
    except (OSError, UnidentifiedImageError, ValueError, SyntaxError) as error:
        raise InvalidDataset(f"'{path}' is no readable PNG: {error}") from error
