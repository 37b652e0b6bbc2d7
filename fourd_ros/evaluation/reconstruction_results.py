"""What a reconstruction left in its folder: camera path and disparities (section 7 of the specification)."""

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fourd_ros.data.array_archive import ArchiveKind
from fourd_ros.errors import InvalidResults
from fourd_ros.evaluation import scene_folders
from fourd_ros.reconstruction.official import scene_files

FloatArray = NDArray[np.float64]

EXPERIMENT = "base"
SUFFIX = "_simple_flow_opt_1.0_1e-4"
"""Between the name and the ending of the original's files; others are taken where there is only one."""

_KIND = ArchiveKind(what="a result of a reconstruction", made_by="`fourd reconstruct` makes it", error=InvalidResults)
_FRAME = re.compile(r"(\d{4,})(.*)\.npz")


def result_folder(root: Path, scene: str, experiment: str) -> Path:
    """Where the results of a scene lie: ``<scene>/dynamicBA/<experiment>``, else ``<scene>``.

    Raises:
        InvalidResults: there is neither.
    """
    for folder in (root / scene / "dynamicBA" / experiment, root / scene):
        if folder.is_dir():
            return folder
    raise InvalidResults(f"'{root}' has no results of '{scene}'; `fourd reconstruct` makes them")


def read_poses(folder: Path) -> FloatArray:
    """``T_world_camera`` of every frame: of ``poses*.npz``, else of the files of the frames, else of ``c2w.npy``.

    Returns:
        Shape [F, 4, 4].

    Raises:
        InvalidResults: there is none of them, or it is damaged.
    """
    of_all = {path.stem.removeprefix("poses"): path for path in folder.glob("poses*.npz")}
    if of_all:
        return scene_files.read_poses(of_all[_suffix(set(of_all), folder)])[0].astype(np.float64)
    if (folder / scene_folders.PATH).exists():
        return scene_folders.read_path(folder / scene_folders.PATH)
    poses = []
    for path in _frames(folder):
        with _KIND.open(path) as archive:
            T = np.eye(4)
            T[:3, :3], T[:3, 3] = archive.read("R"), archive.read("t").ravel()
            poses.append(T)
    return np.stack(poses)


def read_disparities(folder: Path) -> Iterator[NDArray[np.float32]]:
    """1 / depth of one frame after another, each of shape [H, W].

    Raises:
        InvalidResults: there is none, or it is damaged.
    """
    for path in _frames(folder):
        with _KIND.open(path) as archive:
            disparity = archive.read("disp")
            if disparity.ndim != 2 or disparity.dtype.kind != "f":
                raise InvalidResults(f"'disp' is {disparity.dtype} {list(disparity.shape)}, needed is a float [H, W]")
            yield disparity.astype(np.float32)


def count_frames(folder: Path) -> int:
    """How many frames have a file.

    Raises:
        InvalidResults: none has.
    """
    return len(_frames(folder))


def _frames(folder: Path) -> list[Path]:
    matches = [match for path in sorted(folder.glob("*.npz")) if (match := _FRAME.fullmatch(path.name))]
    if not matches:
        raise InvalidResults(f"'{folder}' has no files of frames (0000*.npz); `fourd reconstruct` makes them")
    suffix = _suffix({match[2] for match in matches}, folder)
    return [folder / match[0] for match in matches if match[2] == suffix]


def _suffix(found: set[str], folder: Path) -> str:
    if SUFFIX in found:
        return SUFFIX
    if len(found) > 1:
        raise InvalidResults(f"'{folder}' holds several results, {sorted(found)}; needed is one, or '{SUFFIX}'")
    return found.pop()
