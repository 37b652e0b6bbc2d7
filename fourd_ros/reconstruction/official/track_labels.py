"""Whether a point track stands still or moves, from the regions of a video it passes through."""

import numpy as np
from numpy.typing import NDArray

from fourd_ros.reconstruction.motion.tracks import Tracks
from fourd_ros.reconstruction.official.track_regions import BORDER, EPIPOLAR, MOVING_CORE, STATIC_CORE, Regions

__all__ = ["DYNAMIC", "LONG_STATIC", "REFUSED", "SHORT_STATIC", "label_tracks", "objects_of_tracks", "window_tracks"]

LONG_STATIC, DYNAMIC, SHORT_STATIC, REFUSED = 0, 1, 2, 3
"""Labels of DynamicVerse; short is visible in fewer than a fifth of the frames."""

_LONG = 0.2
_WINDOW_SHARE = 0.8


def label_tracks(tracks: Tracks, regions: Regions) -> NDArray[np.int32]:
    """The label of every track, shape [N]. Source: specification of DynamicVerse, 6.1.

    A track counts in the frames that see it inside the image and away from borders. It is static where all of them
    show what is static, dynamic where all show what moves; a track that no such frame has counts as dynamic.
    """
    under = _regions_under(tracks, regions)
    counts = tracks.seen & (under != BORDER)
    total = counts.sum(axis=0)
    static = (counts & (under == STATIC_CORE)).sum(axis=0)
    moving = (counts & (under == MOVING_CORE)).sum(axis=0)
    labels = np.full(len(tracks), REFUSED, np.int32)
    labels[static >= total] = SHORT_STATIC
    labels[(static >= total) & (total >= _LONG * tracks.frames)] = LONG_STATIC
    labels[moving == total] = DYNAMIC
    return labels


def window_tracks(
    tracks: Tracks, regions: Regions, labels: NDArray[np.int32], *, official_compat: bool = False
) -> NDArray[np.int64]:
    """Indices of the static tracks that the first, windowed stage uses.

    These are the long static tracks with at least four fifths of their frames outside of moving regions.

    Args:
        tracks: N of them.
        regions: of the same frames.
        labels: of ``label_tracks``.
        official_compat: repeat what DynamicVerse does: it takes the positions of these tracks among all tracks for
            positions among the long static ones, and leaves out those past the end. Other static tracks are the
            result.
    """
    under = _regions_under(tracks, regions)
    seen = tracks.seen
    clear = (seen & (under != MOVING_CORE) & (under != EPIPOLAR)).sum(axis=0)
    static = labels == LONG_STATIC
    chosen = np.flatnonzero(static & (clear >= _WINDOW_SHARE * seen.sum(axis=0)))
    if not official_compat:
        return chosen
    among_static = np.flatnonzero(static)
    return among_static[chosen[chosen < len(among_static)]]


def objects_of_tracks(tracks: Tracks, regions: Regions) -> NDArray[np.int64]:
    """The moving object that most frames of a track show, 0 where they show none, shape [N]; the lower of equals."""
    shown = np.where(tracks.seen, _under(tracks, regions.instances), 0)
    numbers = np.arange(1, int(shown.max(initial=0)) + 1)
    if not len(numbers):
        return np.zeros(len(tracks), np.int64)
    votes = np.stack([(shown == number).sum(axis=0) for number in numbers])
    return np.where(votes.any(axis=0), numbers[votes.argmax(axis=0)], 0)


def _regions_under(tracks: Tracks, regions: Regions) -> NDArray[np.uint8]:
    return _under(tracks, regions.of_tracks).astype(np.uint8)


def _under(tracks: Tracks, maps: NDArray[np.integer]) -> NDArray[np.integer]:
    """Values of maps at tracks whose fractions are cut off, shape [F, N]; at the edge where a track is outside."""
    inside = np.nan_to_num(tracks.positions)
    column = np.clip(inside[..., 0], 0, tracks.width - 1).astype(np.int64)
    row = np.clip(inside[..., 1], 0, tracks.height - 1).astype(np.int64)
    return maps[np.arange(tracks.frames)[:, None], row, column]
