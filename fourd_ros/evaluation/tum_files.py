"""Lists and trajectories of the TUM RGB-D benchmark (Sturm et al. 2012), which Bonn's data set shares."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fourd_ros.errors import InvalidDataset
from fourd_ros.geometry.transforms import from_quaternion

FloatArray = NDArray[np.float64]

FURTHEST = 1.0
"""A frame whose nearest truth is further in time has none [s]."""

_MAX_BYTES = 64 * 1024**2


def read_trajectory(path: Path) -> tuple[FloatArray, FloatArray]:
    """Stamps [s], shape [n], and rows ``x y z qx qy qz qw``, shape [n, 7], in the order of the file.

    Raises:
        InvalidDataset: missing, empty, or with rows of something else.
    """
    rows = [line.split() for line in _lines(path)]
    try:
        table = np.array(rows, np.float64)
    except ValueError as error:
        raise InvalidDataset(f"'{path}' is no trajectory 'stamp x y z qx qy qz qw': {error}") from error
    if table.ndim != 2 or table.shape[1] != 8 or not np.isfinite(table).all():
        raise InvalidDataset(f"'{path}' is no trajectory of finite rows 'stamp x y z qx qy qz qw'")
    return table[:, 0], table[:, 1:]


def read_list(path: Path) -> tuple[FloatArray, list[Path]]:
    """Stamps [s] and files of ``rgb.txt`` or ``depth.txt``; without the list, the folder of that name is one.

    The files of these data sets are named after their stamps.

    Raises:
        InvalidDataset: there is neither, or a line is none.
    """
    folder = path.with_suffix("")
    if path.exists():
        pairs = [line.split() for line in _lines(path)]
    else:
        pairs = [[file.stem, f"{folder.name}/{file.name}"] for file in sorted(folder.glob("*.png"))]
    try:
        stamps = np.array([float(stamp) for stamp, _ in pairs])
    except ValueError as error:
        raise InvalidDataset(f"'{path}' is no list 'stamp file', and '{folder}' none of pictures: {error}") from error
    if not len(stamps):
        raise InvalidDataset(f"neither '{path}' nor the folder '{folder}' lists a picture")
    return stamps, [path.parent / file for _, file in pairs]


def poses(rows: FloatArray, *, order: str = "xyzw") -> FloatArray:
    """``T_world_camera``, shape [n, 4, 4].

    Args:
        rows: as `read_trajectory` has them.
        order: ``xyzw`` is what the files hold; ``wxyz`` puts the last number first and reads the result as xyzw, the
            mistake behind the published rotation errors on Bonn (section 8.3 of the specification).

    Raises:
        InvalidDataset: a quaternion of length zero.
    """
    quaternions = rows[:, 3:] if order == "xyzw" else rows[:, [6, 3, 4, 5]]
    if (np.linalg.norm(quaternions, axis=1) == 0).any():
        raise InvalidDataset("a pose of the trajectory has the quaternion 0 0 0 0")
    return from_quaternion(rows[:, :3], quaternions)


def nearest(stamps: FloatArray, wanted: FloatArray) -> NDArray[np.int64]:
    """For each of `wanted` the index of the stamp nearest to it, shape [n]; the stamps may have any order.

    Raises:
        InvalidDataset: nothing is wanted, or the nearest stamp is further than `FURTHEST`.
    """
    order = np.argsort(stamps, kind="stable")
    ascending = stamps[order]
    after = np.searchsorted(ascending, wanted).clip(0, len(ascending) - 1)
    before = np.maximum(after - 1, 0)
    closer = np.where(np.abs(ascending[before] - wanted) <= np.abs(ascending[after] - wanted), before, after)
    gap = float(np.abs(ascending[closer] - wanted).max(initial=0.0))
    if not len(wanted) or gap > FURTHEST:
        raise InvalidDataset(f"{len(wanted)} frames count, and the truth is up to {gap:.3f} s away from them")
    return np.asarray(order[closer], np.int64)


def _lines(path: Path) -> list[str]:
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise InvalidDataset(f"'{path}' has {path.stat().st_size} bytes; at most {_MAX_BYTES} are read")
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidDataset(f"'{path}' cannot be read: {error}") from error
    return [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
