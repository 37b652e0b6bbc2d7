"""What a user adds to a clip: calibration, depth and masks from files of the frames as they were before shrinking."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import yaml
from numpy.typing import NDArray

from fourd_ros.errors import InvalidCamera, InvalidClip
from fourd_ros.geometry.camera import PinholeCamera
from fourd_ros.reconstruction.clips.clip import Clip
from fourd_ros.reconstruction.clips.clip_reader import ClipOptions
from fourd_ros.reconstruction.clips.depth_files import known_depth, read_array_file, read_intrinsics, read_unidepth
from fourd_ros.reconstruction.clips.picture_size import nearest
from fourd_ros.reconstruction.masks.mask_files import read_masks

__all__ = ["read_calibration", "with_depth", "with_focal", "with_masks"]

MAX_YAML = 1_000_000
"""Bytes of a calibration file."""

MILLIMETRE = 0.001


def with_focal(clip: Clip, focal: float, *, width: int) -> Clip:
    """The clip with a camera of this focal length.

    Args:
        clip: without regard to what calibration it has.
        focal: of the frames as they were [px].
        width: that they had [px].
    """
    fitted = focal * clip.width / width
    K = np.array([[fitted, 0, (clip.width - 1) / 2], [0, fitted, (clip.height - 1) / 2], [0, 0, 1]])
    return replace(clip, camera=PinholeCamera(width=clip.width, height=clip.height, K=K))


def read_calibration(path: Path, *, width: int, height: int) -> PinholeCamera:
    """A calibration.

    Args:
        path: ``.npy`` with K [3, 3], or the YAML file of ROS's camera_calibration.
        width: of the frames as they were [px]; a YAML file tells its own.
        height: likewise.

    Raises:
        InvalidCamera: no such file, or no calibration.
        InvalidClip: an array file that is none.
    """
    if path.suffix == ".npy":
        return read_intrinsics(path, width=width, height=height)
    try:
        if path.stat().st_size > MAX_YAML:
            raise InvalidCamera(f"'{path}' is larger than {MAX_YAML} bytes, no calibration")
        said = yaml.safe_load(path.read_text(encoding="utf-8"))
        K = np.array(said["camera_matrix"]["data"], np.float64).reshape(3, 3)
        distortion = np.array(said.get("distortion_coefficients", {}).get("data", ()), np.float64)
        return PinholeCamera(
            width=int(said["image_width"]),
            height=int(said["image_height"]),
            K=K,
            distortion_model=str(said.get("distortion_model", "plumb_bob")),
            distortion=distortion,
        )
    except OSError as error:
        raise InvalidCamera(f"'{path}' cannot be read: {error.strerror}") from error
    except (yaml.YAMLError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise InvalidCamera(
            f"'{path}' is no calibration ({type(error).__name__}: {error}); needed is .npy with K [3, 3], or YAML with "
            "image_width, image_height, camera_matrix and distortion_coefficients as camera_calibration writes it"
        ) from error


def with_depth(clip: Clip, path: Path, options: ClipOptions) -> Clip:
    """The clip with depth from files.

    Args:
        clip: whose depth, if it has any, is replaced.
        path: an array file [F, H, W] or [F, 1, H, W] in metres, a folder with such a ``depth.npy``, or a folder with a
            file for every frame: ``.npy`` [H, W] in metres, or 16-bit PNG in millimetres, 0 unknown.
        options: by which the frames were chosen; depth is of the clip's frames or of all frames of its source.

    Raises:
        InvalidClip: missing, damaged, or of another number of frames.
    """
    if (path / "depth.npy").is_file():
        path = path / "depth.npy"
    size = clip.width, clip.height
    if path.is_file():
        count = len(read_array_file(path))
        depth = read_unidepth(path, frames=count, chosen=_chosen(count, clip, options, path), size=size)
        return replace(clip, depth=depth)
    files = sorted([*path.glob("*.npy"), *path.glob("*.png")])
    images = [known_depth(nearest(_depth_image(files[k]), size)) for k in _chosen(len(files), clip, options, path)]
    return replace(clip, depth=np.stack(images))


def with_masks(clip: Clip, path: Path, options: ClipOptions, *, width: int, height: int) -> Clip:
    """The clip with masks from a folder, as `read_masks` reads them.

    Args:
        clip: whose masks, if it has any, are replaced.
        path: with a file for every frame of the clip, or of its source.
        options: by which the frames were chosen.
        width: of the masks: that of the frames as they were [px].
        height: likewise.

    Raises:
        InvalidClip: missing, damaged, or of another number of frames or another size.
    """
    count = len(read_array_file(path)) if path.is_file() else len([*path.glob("*.png"), *path.glob("*.npy")])
    chosen = _chosen(count, clip, options, path)
    numbers = read_masks(path, frames=count, width=width, height=height)
    return replace(clip, masks=nearest(numbers[list(chosen)], (clip.width, clip.height)))


def _chosen(count: int, clip: Clip, options: ClipOptions, path: Path) -> Sequence[int]:
    """Which of `count` frames are those of the clip."""
    if count == clip.frames:
        return range(count)
    chosen = options.indices(count)
    if len(chosen) != clip.frames:
        raise InvalidClip(
            f"'{path}' is of {count} frames, the clip has {clip.frames}; needed: one file or row for each"
        )
    return chosen


def _depth_image(path: Path) -> NDArray[np.floating[Any]]:
    if path.suffix == ".npy":
        image = read_array_file(path)
        if image.ndim != 2 or image.dtype.kind != "f":
            raise InvalidClip(f"'{path}' holds {image.dtype} {list(image.shape)}; needed is depth [H, W] in metres")
        return image
    millimetres = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if millimetres is None or millimetres.ndim != 2 or millimetres.dtype != np.uint16:
        raise InvalidClip(f"'{path}' is no 16-bit grey PNG; needed is depth in millimetres, 0 where unknown")
    return np.asarray(millimetres * MILLIMETRE, np.float64)
