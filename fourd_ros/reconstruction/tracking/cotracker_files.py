"""Point tracks as CoTracker3 leaves them for DynamicVerse: ``cotrackerv3_<interval>_<grid>/results.npz``."""

import re
from pathlib import Path

import numpy as np

from fourd_ros.data.array_archive import ArchiveKind
from fourd_ros.errors import InvalidTracks
from fourd_ros.reconstruction.motion.tracks import Tracks

__all__ = ["find_cotracker", "read_cotracker", "write_cotracker"]

RESULTS = "results.npz"
MAX_BYTES = 4 * 1024**3

_FOLDER = re.compile(r"cotrackerv3_(\d+)_(\d+)")
_NAMES = ("all_tracks", "all_visibilities", "init_frames", "orig_shape")
_KIND = ArchiveKind(
    what="tracks of CoTracker3",
    made_by="run CoTracker3 over the clip, or leave it to our own tracker",
    error=InvalidTracks,
)


def find_cotracker(scene: Path) -> Path | None:
    """The tracks in the folder of a scene, those with the most points where there are several.

    Args:
        scene: folder that has ``cotrackerv3_<interval>_<grid>`` in it.

    Returns:
        Path of ``results.npz``, None where there is none.
    """
    found = [
        (match, path)
        for path in scene.glob(f"cotrackerv3_*/{RESULTS}")
        if (match := _FOLDER.fullmatch(path.parent.name))
    ]
    return max(found, key=lambda each: (int(each[0][2]), -int(each[0][1])))[1] if found else None


def read_cotracker(path: Path, *, max_bytes: int = MAX_BYTES) -> Tracks:
    """Read ``results.npz``.

    Args:
        path: of the file.
        max_bytes: of all its arrays; checked before anything is allocated.

    Raises:
        InvalidTracks: no such file, damaged, too large, without an array, or arrays that contradict each other.

    Source: DynamicVerse's specification, section 5.
    """
    with _KIND.open(path, max_bytes=max_bytes) as archive:
        missing = set(_NAMES) - archive.names
        if missing:
            raise InvalidTracks(f"it lacks {sorted(missing)}")
        positions, visible, born, size = (archive.read(name) for name in _NAMES)
        if size.shape != (2,):
            raise InvalidTracks(f"orig_shape is {size.tolist()}, needed [height, width]")
        return Tracks(
            positions=np.asarray(positions, np.float64),
            visible=np.asarray(visible) > 0.5,
            born=np.asarray(born, np.int64),
            width=int(size[1]),
            height=int(size[0]),
        )


def write_cotracker(tracks: Tracks, scene: Path, *, interval: int, grid: int) -> Path:
    """Write tracks as CoTracker3 would, whole or not at all.

    Args:
        tracks: unknown positions become 0, and are not visible; confidences become visibilities.
        scene: folder of the scene.
        interval: frames between those in which points were seeded, for the name.
        grid: points a side of a seeded frame, for the name.

    Returns:
        Path of ``results.npz``.
    """
    path = scene / f"cotrackerv3_{interval}_{grid}" / RESULTS
    visible = tracks.visible.astype(np.float64)
    arrays = {
        "all_tracks": np.nan_to_num(tracks.positions, nan=0.0, posinf=0.0, neginf=0.0),
        "all_visibilities": visible,
        "all_confidences": visible,
        "init_frames": tracks.born,
        "orig_shape": np.array([tracks.height, tracks.width]),
    }
    _KIND.write(path, {}, arrays)
    return path
