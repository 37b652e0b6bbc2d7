"""Tracks of a clip with the masks of its objects, in one file, and as DynamicVerse leaves its filtered tracks."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fourd_ros.data.array_archive import ArchiveKind
from fourd_ros.errors import InvalidResults
from fourd_ros.reconstruction.motion.scene_motion import REJECTED, STATIC
from fourd_ros.reconstruction.motion.tracks import Tracks
from fourd_ros.reconstruction.official.track_labels import DYNAMIC, LONG_STATIC, REFUSED

__all__ = ["read_tracks", "write_filtered", "write_tracks"]

_KIND = ArchiveKind(what="tracks and masks", made_by="`fourd reconstruct` makes it", error=InvalidResults)
_FILTERED = ArchiveKind(what="filtered tracks", made_by="`fourd reconstruct` makes it", error=InvalidResults)


def write_tracks(path: Path, tracks: Tracks, masks: NDArray[np.int32]) -> None:
    """Write tracks and the masks [F, H, W] that belong to them."""
    arrays = {
        "positions": tracks.positions,
        "visible": tracks.visible,
        "born": tracks.born,
        "masks": masks,
    }
    _KIND.write(path, {}, arrays)


def read_tracks(path: Path) -> tuple[Tracks, NDArray[np.int32]]:
    """Read what `write_tracks` wrote.

    Raises:
        InvalidResults: no such file, damaged, or arrays that contradict each other.
    """
    with _KIND.open(path) as archive:
        positions, visible, born, masks = (archive.read(name) for name in ("positions", "visible", "born", "masks"))
        if masks.ndim != 3 or len(masks) != len(positions):
            raise InvalidResults(f"masks {list(masks.shape)} for tracks {list(positions.shape)}")
        height, width = masks.shape[1:]
        return Tracks(positions=positions, visible=visible, born=born, width=width, height=height), masks


def write_filtered(path: Path, tracks: Tracks, labels: NDArray[np.int64]) -> None:
    """``filtered_results.npz``: ``tracks`` [F, N, 2], ``vis`` [F, N] and ``labels`` [N] by the original's numbers."""
    official = np.select([labels == STATIC, labels == REJECTED], [LONG_STATIC, REFUSED], DYNAMIC)
    arrays = {
        "tracks": np.nan_to_num(tracks.positions),
        "vis": tracks.visible.astype(np.float64),
        "labels": official.astype(np.int64),
    }
    _FILTERED.write(path, {}, arrays)
