"""The pictures of data sets that count in an evaluation, laid out so that a reconstruction can read them."""

from collections.abc import Callable
from pathlib import Path

from fourd_ros.errors import InvalidDataset
from fourd_ros.evaluation import tum_files
from fourd_ros.evaluation.depth_datasets import kitti_files
from fourd_ros.evaluation.pose_datasets import BONN_FRAMES, TUM_FRAMES, sintel_training
from fourd_ros.whole_file import whole_folder


def prepare_frames(dataset: str, root: Path, scene: str, folder: Path) -> int:
    """Link the pictures of a scene as ``<folder>/<scene>/rgb/00000.png`` and on; what was there is replaced.

    Args:
        dataset: one of `FRAMES`.
        root: of the data set.
        scene: its name.
        folder: of all scenes.

    Returns:
        How many there are.

    Raises:
        InvalidDataset: a picture is missing.
    """
    files = FRAMES[dataset](root, scene)
    missing = [file for file in files if not file.is_file()]
    if missing or not files:
        raise InvalidDataset(f"'{root}' lacks {len(missing)} of {len(files)} pictures of '{scene}': {missing[:1]}")
    with whole_folder(folder / scene / "rgb") as place:
        for number, file in enumerate(files):
            (place / f"{number:05d}{file.suffix}").symlink_to(file.resolve())
    return len(files)


def _sintel(root: Path, scene: str) -> list[Path]:
    return sorted((sintel_training(root) / "final" / scene).glob("frame_*.png"))


def _listed(frames: slice) -> Callable[[Path, str], list[Path]]:
    return lambda root, scene: tum_files.read_list(root / scene / "rgb.txt")[1][frames]


def _kitti(root: Path, scene: str) -> list[Path]:
    """Of the raw data (``<root>/<date>/<drive>/image_02/data``), those that have a true depth."""
    folder = root / scene[:10] / scene / "image_02" / "data"
    return [folder / file.name for file in kitti_files(root, scene)]


def _scene(root: Path, scene: str) -> list[Path]:
    return sorted(path for path in (root / scene / "rgb").glob("*") if path.suffix in (".png", ".jpg"))


FRAMES = {
    "bonn": _listed(BONN_FRAMES),
    "kitti": _kitti,
    "scenes": _scene,
    "sintel": _sintel,
    "tum": _listed(TUM_FRAMES),
}
"""Pictures of a scene below a root that count, in the order of time, by data set."""
