"""True depth of the data sets that reconstructions are judged on.

Which frames of a sequence count follows section 8.3 of the specification. A scene that was prepared
(``<root>/<scene>/depth_gt``) is read as such whatever the data set, PNG with the steps of the data set.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fourd_ros.errors import InvalidDataset
from fourd_ros.evaluation import scene_folders, sintel_files, tum_files
from fourd_ros.evaluation.pose_datasets import BONN_FRAMES, BONN_SCENES, SINTEL_SCENES, sintel_training

KITTI_FRAMES = slice(0, 110)
_KITTI_DEPTH = "proj_depth/groundtruth/image_02"


@dataclass(frozen=True, kw_only=True)
class DepthDataset:
    """How the truth of a data set is found.

    Args:
        scenes: names of the scenes below a root.
        files: depth images of the frames that count, of a scene below a root.
        read: reads one of them [m].
        steps_per_metre: of 16-bit PNG in prepared scenes.
    """

    scenes: Callable[[Path], list[str]]
    files: Callable[[Path, str], list[Path]]
    read: scene_folders.DepthReader
    steps_per_metre: float

    def video(self, root: Path, scene: str) -> NDArray[np.float32]:
        """True depth [m], 0 or infinite where there is none, shape [F, H, W].

        Raises:
            InvalidDataset: missing or damaged.
        """
        prepared = root / scene / scene_folders.DEPTH
        if prepared.is_dir():
            read = scene_folders.depth_reader(self.steps_per_metre)
            return scene_folders.read_video(scene_folders.depth_files(prepared), read)
        files = self.files(root, scene)
        if not files:
            raise InvalidDataset(f"'{root}' has no true depth of '{scene}'")
        return scene_folders.read_video(files, self.read)


def _sintel_files(root: Path, scene: str) -> list[Path]:
    return sorted((sintel_training(root) / "depth" / scene).glob("frame_*.dpt"))


def _bonn_files(root: Path, scene: str) -> list[Path]:
    """The depth images nearest in time to the frames."""
    stamps, _ = tum_files.read_list(root / scene / "rgb.txt")
    depth_stamps, files = tum_files.read_list(root / scene / "depth.txt")
    return [files[index] for index in tum_files.nearest(depth_stamps, stamps[BONN_FRAMES])]


def _kitti_scenes(root: Path) -> list[str]:
    names = sorted(path.name for path in _kitti(root).glob("*_sync") if path.is_dir())
    return names or scene_folders.scene_names(root, scene_folders.DEPTH)


def kitti_files(root: Path, scene: str) -> list[Path]:
    """True depth of a drive of KITTI, the frames that count."""
    return sorted((_kitti(root) / scene / _KITTI_DEPTH).glob("*.png"))[KITTI_FRAMES]


def _kitti(root: Path) -> Path:
    return root / "val" if (root / "val").is_dir() else root


def _bonn_scenes(root: Path) -> list[str]:
    names = sorted(path.name for path in root.glob(BONN_SCENES) if path.is_dir())
    return names or scene_folders.scene_names(root, scene_folders.DEPTH)


DEPTH_DATASETS = {
    "bonn": DepthDataset(
        scenes=_bonn_scenes, files=_bonn_files, read=scene_folders.depth_reader(5000.0), steps_per_metre=5000.0
    ),
    "kitti": DepthDataset(
        scenes=_kitti_scenes, files=kitti_files, read=scene_folders.depth_reader(256.0), steps_per_metre=256.0
    ),
    "scenes": DepthDataset(
        scenes=lambda root: scene_folders.scene_names(root, scene_folders.DEPTH),
        files=lambda root, scene: scene_folders.depth_files(root / scene / scene_folders.DEPTH),
        read=scene_folders.depth_reader(1000.0),
        steps_per_metre=1000.0,
    ),
    "sintel": DepthDataset(
        scenes=lambda _: list(SINTEL_SCENES), files=_sintel_files, read=sintel_files.read_depth, steps_per_metre=1000.0
    ),
}
