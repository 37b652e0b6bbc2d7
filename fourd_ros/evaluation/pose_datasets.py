"""True camera paths of the data sets that reconstructions are judged on.

Which frames of a sequence count, and where the truth of a frame is found, follow section 8.3 of the specification. A
scene that was prepared (``<root>/<scene>/c2w.npy``) is read as such whatever the data set.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fourd_ros.errors import InvalidDataset
from fourd_ros.evaluation import scene_folders, sintel_files, tum_files

FloatArray = NDArray[np.float64]

SINTEL_SCENES = (
    *("alley_2", "ambush_4", "ambush_5", "ambush_6", "cave_2", "cave_4", "market_2", "market_5", "market_6"),
    *("shaman_3", "sleeping_1", "sleeping_2", "temple_2", "temple_3"),
)
TUM_SCENES = tuple(
    f"rgbd_dataset_freiburg3_{who}_{how}"
    for who in ("sitting", "walking")
    for how in ("static", "xyz", "halfsphere", "rpy")
)
TUM_FRAMES = slice(0, 3 * 90, 3)
BONN_FRAMES = slice(30, 140)
BONN_SCENES = "rgbd_bonn_*"


@dataclass(frozen=True, kw_only=True)
class PoseDataset:
    """How the truth of a data set is found.

    Args:
        scenes: names of the scenes below a root.
        path: ``T_world_camera`` of the frames that count, shape [F, 4, 4], of a scene below a root.
        published: the same as it went into published numbers, where that differs.
    """

    scenes: Callable[[Path], list[str]]
    path: Callable[[Path, str], FloatArray]
    published: Callable[[Path, str], FloatArray] | None = None

    def read(self, root: Path, scene: str, *, published: bool = False) -> FloatArray:
        """The true path of a scene, shape [F, 4, 4].

        Args:
            root: of the data set.
            scene: one of its names.
            published: as it went into published numbers.

        Raises:
            InvalidDataset: missing or damaged, or published numbers know no other path.
        """
        if published:
            if self.published is None:
                raise InvalidDataset("published numbers of this data set use its true path; only those of bonn differ")
            return self.published(root, scene)
        prepared = root / scene / scene_folders.PATH
        return scene_folders.read_path(prepared) if prepared.exists() else self.path(root, scene)


def _sintel(root: Path, scene: str) -> FloatArray:
    files = sorted((sintel_training(root) / "camdata_left" / scene).glob("frame_*.cam"))
    if not files:
        raise InvalidDataset(f"'{root}' has no cameras of '{scene}' (training/camdata_left/<scene>/frame_*.cam)")
    return np.stack([sintel_files.read_camera(file)[1] for file in files])


def sintel_training(root: Path) -> Path:
    """The folder of Sintel with truth."""
    return root / "training" if (root / "training").is_dir() else root


def _tum(root: Path, scene: str) -> FloatArray:
    return _at(root / scene, TUM_FRAMES)


def _bonn(root: Path, scene: str) -> FloatArray:
    return _at(root / scene, BONN_FRAMES)


def _bonn_published(root: Path, scene: str) -> FloatArray:
    """By row instead of by time, and with the wrong order of numbers in the quaternions."""
    _, rows = tum_files.read_trajectory(root / scene / "groundtruth.txt")
    return tum_files.poses(rows[BONN_FRAMES], order="wxyz")


def _at(folder: Path, frames: slice) -> FloatArray:
    """The true poses nearest in time to some of the pictures."""
    wanted = tum_files.read_list(folder / "rgb.txt")[0][frames]
    stamps, rows = tum_files.read_trajectory(folder / "groundtruth.txt")
    return tum_files.poses(rows[tum_files.nearest(stamps, wanted)])


def _bonn_scenes(root: Path) -> list[str]:
    names = sorted(path.name for path in root.glob(BONN_SCENES) if path.is_dir())
    return names or scene_folders.scene_names(root, scene_folders.PATH)


POSE_DATASETS = {
    "bonn": PoseDataset(scenes=_bonn_scenes, path=_bonn, published=_bonn_published),
    "scenes": PoseDataset(
        scenes=lambda root: scene_folders.scene_names(root, scene_folders.PATH),
        path=lambda root, scene: scene_folders.read_path(root / scene / scene_folders.PATH),
    ),
    "sintel": PoseDataset(scenes=lambda _: list(SINTEL_SCENES), path=_sintel),
    "tum": PoseDataset(scenes=lambda _: list(TUM_SCENES), path=_tum),
}
