"""Cameras and depth of MPI Sintel: ``.cam`` and ``.dpt`` (Butler et al. 2012, depth and camera extension)."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fourd_ros.errors import InvalidDataset
from fourd_ros.geometry.transforms import from_parts, invert

_TAG = np.float32(202021.25)
_CAMERA_BYTES = 4 + 9 * 8 + 12 * 8
_MAX_PIXELS = 4096 * 4096


def read_camera(path: Path) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Intrinsics [3, 3] and ``T_world_camera`` [4, 4]; the file holds the inverse of the latter.

    Raises:
        InvalidDataset: missing, of another size, or another kind of file.
    """
    data = _read(path, _CAMERA_BYTES)
    if len(data) != _CAMERA_BYTES:
        raise InvalidDataset(f"'{path}' has {len(data)} bytes; a .cam file of Sintel has {_CAMERA_BYTES}")
    K = np.frombuffer(data, "<f8", 9, offset=4).reshape(3, 3).copy()
    T_camera_world = np.frombuffer(data, "<f8", 12, offset=4 + 9 * 8).reshape(3, 4)
    return K, invert(from_parts(T_camera_world[:, :3], T_camera_world[:, 3]))


def read_depth(path: Path) -> NDArray[np.float32]:
    """Depth [m], shape [H, W].

    Raises:
        InvalidDataset: missing, truncated, or another kind of file.
    """
    data = _read(path, 12 + 4 * _MAX_PIXELS)
    width, height = (int(number) for number in np.frombuffer(data, "<i4", 2, offset=4))
    if width < 1 or height < 1 or len(data) != 12 + 4 * width * height:
        raise InvalidDataset(f"'{path}' has {len(data)} bytes and claims {width} x {height} pixels of 4")
    return np.frombuffer(data, "<f4", width * height, offset=12).reshape(height, width).astype(np.float32)


def _read(path: Path, most: int) -> bytes:
    try:
        if path.stat().st_size > most:
            raise InvalidDataset(f"'{path}' has {path.stat().st_size} bytes; at most {most} are read")
        data = path.read_bytes()
    except OSError as error:
        raise InvalidDataset(f"'{path}' cannot be read: {error.strerror}") from error
    if len(data) < 12 or np.frombuffer(data, "<f4", 1)[0] != _TAG:
        raise InvalidDataset(f"'{path}' does not begin with the tag {_TAG:.2f} of a file of Sintel")
    return data
