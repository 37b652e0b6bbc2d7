"""Depth and calibration as UniDepth leaves them for DynamicVerse: ``unidepth/depth.npy`` and ``intrinsics.npy``."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fourd_ros.errors import InvalidClip
from fourd_ros.geometry.camera import PinholeCamera
from fourd_ros.reconstruction.clips.picture_size import nearest

__all__ = ["FOLDER", "known_depth", "read_array_file", "read_intrinsics", "read_unidepth"]

FOLDER = "unidepth"
MAX_BYTES = 16 * 1024**3
"""Of an array file; it is mapped, and only what is wanted of it is read."""


def read_unidepth(path: Path, *, frames: int, chosen: Sequence[int], size: tuple[int, int]) -> NDArray[np.float32]:
    """Depth of some frames.

    Args:
        path: of ``depth.npy``, [F, 1, H, W] or [F, H, W].
        frames: that it must have, F.
        chosen: which of them are wanted.
        size: width and height that the result shall have [px].

    Returns:
        z-depth [m], NaN where unknown, shape [len(chosen), height, width].

    Raises:
        InvalidClip: missing, damaged, or of another number of frames.
    """
    array = read_array_file(path)
    if array.ndim == 4 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim != 3 or array.dtype.kind != "f" or len(array) != frames:
        given = f"{array.dtype} {list(array.shape)}"
        raise InvalidClip(f"'{path}' holds {given}; needed is float [{frames}, 1, H, W], as many as there are frames")
    return np.stack([known_depth(nearest(array[frame], size)) for frame in chosen])


def known_depth(depth: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
    """Depth [m] with NaN for whatever is not positive and finite."""
    with np.errstate(over="ignore"):
        values = depth.astype(np.float32)
    return np.where((values > 0) & (values < np.inf), values, np.float32(np.nan))


def read_intrinsics(path: Path, *, width: int, height: int) -> PinholeCamera:
    """A calibration file.

    Args:
        path: of an array [3, 3], or [F, 3, 3] of equal ones.
        width: of the frames [px].
        height: of the frames [px].

    Raises:
        InvalidClip: missing, damaged, or a calibration that changes from frame to frame.
        InvalidCamera: no calibration.
    """
    K = np.array(read_array_file(path), np.float64)
    if K.ndim == 3 and len(K) and np.allclose(K, K[0], rtol=1e-6):
        K = K[0]
    if K.shape != (3, 3):
        raise InvalidClip(f"'{path}' has shape {list(K.shape)}; needed is one calibration [3, 3] for all frames")
    return PinholeCamera(width=width, height=height, K=K)


def read_array_file(path: Path) -> NDArray[Any]:
    """An array file, mapped into memory; pickled objects are never read.

    Raises:
        InvalidClip: missing, damaged, or too large.
    """
    try:
        array: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise InvalidClip(f"'{path}' is no readable array file: {error}") from error
    if not isinstance(array, np.ndarray) or array.nbytes > MAX_BYTES:
        raise InvalidClip(f"'{path}' holds no array, or one larger than {MAX_BYTES} bytes")
    return array
