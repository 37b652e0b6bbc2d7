"""Objects in front of a background that stands still: what lies above a plane by depth, or what moves by colour.

Nothing is learnt, so anything that stands on a table is found, whatever it is. With depth and calibration objects at
rest are found too; without, only what moves. Two things of one colour that touch all the time are one object, and an
object of two colours can be two.
"""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from fourd_ros.compositional.segmentation.object_tracks import ObjectTrack, track_regions
from fourd_ros.compositional.segmentation.picture_regions import PictureRegion, hue_plane, picture_regions
from fourd_ros.compositional.segmentation.segmenter import MAX_OBJECTS, Footage, Progress, SegmentedObject
from fourd_ros.compositional.segmentation.support_plane import LOWEST, SupportPlane, find_support
from fourd_ros.errors import InvalidClip, InvalidParameter
from fourd_ros.geometry.pointmap import points_from_depth

__all__ = ["BackgroundSegmenter"]

Mask = NDArray[np.bool_]

BACKGROUND_FRAMES = 60
"""Of these, evenly spread, the background is the median."""

OTHER_HUE, OTHER_LIGHTNESS = 12.0, 60
"""A pixel that differs so much from the background, in `hue_plane` or in lightness of 255, shows something else."""

MOVED = 0.010
"""Background appears behind an object, or was where it is, if depth differs by so much [m]."""

MOVED_SHARE = 0.2
"""An object moved if that is so of this share of its pixels."""

_NOISE_SIGMAS = 4.0
_CELL, _USUAL_SHARE, _COLOUR_FRAMES = 4.0, 1e-3, 8


class BackgroundSegmenter:
    """Finds what stands on a plane, or without depth what moves.

    Args:
        least_frames: an object is seen in at least so many frames.
        least_share: and covers this share of the picture in one of them.

    Raises:
        InvalidParameter: a value out of range.
    """

    def __init__(self, *, least_frames: int = 2, least_share: float = 5e-4) -> None:
        if least_frames < 1 or not 0 <= least_share < 1:
            raise InvalidParameter(f"least_frames {least_frames} and least_share {least_share}; needed: >= 1, 0 to 1")
        self._least_frames, self._least_share = least_frames, least_share

    def segment(self, footage: Footage, *, progress: Progress) -> tuple[SegmentedObject, ...]:
        """The objects, those that appear first have the first numbers.

        Raises:
            InvalidClip: depth without calibration, or no plane in the depth, or more objects than have numbers.
        """
        finder = _finder(footage)
        frames: list[list[PictureRegion]] = []
        for frame in range(footage.frames):
            frames.append(finder.regions(frame))
            progress((frame + 1) / footage.frames)
        tracks = [track for track in track_regions(frames) if self._is_object(track, footage)]
        if len(tracks) > MAX_OBJECTS:
            raise InvalidClip(f"{len(tracks)} objects, at most {MAX_OBJECTS} have a number; raise least_share")
        return tuple(
            SegmentedObject(number=number, label="", moves=finder.moved(track), masks=_masks(track, footage))
            for number, track in enumerate(tracks, start=1)
        )

    def _is_object(self, track: ObjectTrack, footage: Footage) -> bool:
        height, width = footage.size
        frames = min(self._least_frames, footage.frames)
        return len(track.regions) >= frames and track.pixels >= self._least_share * height * width


def _finder(footage: Footage) -> "_ByDepth | _ByColour":
    if footage.depth is None:
        return _ByColour(footage.rgb)
    if footage.camera is None:
        raise InvalidClip("depth without calibration says nothing about planes; give camera_info or a calibration file")
    return _ByDepth(footage)


class _ByDepth:
    """Things are what stands on the plane that most of the background is of."""

    def __init__(self, footage: Footage) -> None:
        assert footage.depth is not None and footage.camera is not None
        self._rgb, self._depth, self._camera = footage.rgb, footage.depth, footage.camera
        chosen = _spread(footage.frames)
        with np.errstate(invalid="ignore"):
            depth = _median_of_known(np.stack([footage.depth[frame] for frame in chosen]))
        support = find_support(points_from_depth(depth, footage.camera))
        if support is None:
            raise InvalidClip("depth shows no plane that things could stand on; give masks, or another segmenter")
        self._support: SupportPlane = support
        self._over = support.is_seen_through(footage.camera.rays())
        self._colours = self._of_support(chosen)

    def regions(self, frame: int) -> list[PictureRegion]:
        """Of a frame."""
        points = points_from_depth(self._depth[frame], self._camera)
        unknown = np.isnan(self._depth[frame]) & self._over
        things = self._support.stands_on(points) | (unknown & self._colours.are_other(self._rgb[frame]))
        return picture_regions(self._rgb[frame], things, points)

    def moved(self, track: ObjectTrack) -> bool:
        """Whether something farther away is seen, at some time, where the object is at another."""
        first, last = min(track.regions), track.last_frame
        return self._left(track, first) or self._left(track, last)

    def _left(self, track: ObjectTrack, reference: int) -> bool:
        mask = track.mask(reference)
        assert mask is not None
        here = self._depth[reference][mask]
        allowed = MOVED + _NOISE_SIGMAS * self._support.noise * here**2
        for frame in range(len(self._depth)):
            there = self._depth[frame][mask]
            known = np.isfinite(here) & np.isfinite(there)
            if known.any() and (there > here + allowed)[known].mean() > MOVED_SHARE:
                return True
        return False

    def _of_support(self, frames: NDArray[np.int64]) -> "_Colours":
        """What colours the plane has."""
        samples = []
        for frame in frames[:: max(1, len(frames) // _COLOUR_FRAMES)]:
            heights = self._support.heights(points_from_depth(self._depth[frame], self._camera))
            with np.errstate(invalid="ignore"):
                samples.append(hue_plane(self._rgb[frame])[self._over & (np.abs(heights) < LOWEST)])
        return _Colours(np.concatenate(samples))


class _Colours:
    """The colours of a surface, from samples of `hue_plane` [n, 2]."""

    def __init__(self, samples: NDArray[np.float32]) -> None:
        cells, counts = np.unique(np.rint(samples / _CELL).astype(np.int32), axis=0, return_counts=True)
        usual = cells[counts >= max(1, _USUAL_SHARE * len(samples))]
        self._there = usual.astype(np.float32) * _CELL

    def are_other(self, rgb: NDArray[np.uint8]) -> Mask:
        """Which pixels have none of the colours, shape [H, W]."""
        cells, inverse = np.unique(
            np.rint(hue_plane(rgb) / _CELL).astype(np.int32).reshape(-1, 2), axis=0, return_inverse=True
        )
        if not len(self._there):
            return np.zeros(rgb.shape[:2], bool)
        away = np.linalg.norm(cells[:, None] * np.float32(_CELL) - self._there, axis=-1).min(axis=1)
        return np.asarray((away > OTHER_HUE)[inverse.reshape(rgb.shape[:2])])


class _ByColour:
    """Things are what differs from the median of all frames, unless it is only a shadow; all of them move."""

    def __init__(self, rgb: Sequence[NDArray[np.uint8]]) -> None:
        self._rgb = rgb
        background = np.median(np.stack([rgb[frame] for frame in _spread(len(rgb))]), axis=0).astype(np.uint8)
        self._hue = cv2.medianBlur(hue_plane(background), 3)
        self._lightness = cv2.cvtColor(background, cv2.COLOR_RGB2GRAY).astype(np.int16)

    def regions(self, frame: int) -> list[PictureRegion]:
        """Of a frame."""
        rgb = self._rgb[frame]
        hue = np.linalg.norm(cv2.medianBlur(hue_plane(rgb), 3) - self._hue, axis=-1)
        brighter = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY).astype(np.int16) - self._lightness
        things = ((hue > OTHER_HUE) | (brighter > OTHER_LIGHTNESS)).astype(np.uint8)
        things = cv2.morphologyEx(things, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
        return picture_regions(rgb, things > 0, None)

    def moved(self, track: ObjectTrack) -> bool:
        """Only what moves is seen at all."""
        return True


def _spread(frames: int) -> NDArray[np.int64]:
    return np.unique(np.linspace(0, frames - 1, min(frames, BACKGROUND_FRAMES)).round().astype(np.int64))


def _median_of_known(depth: NDArray[np.float32]) -> NDArray[np.float32]:
    """Median over the frames where depth is known, NaN where it never is, shape [H, W]."""
    ordered = np.sort(depth, axis=0)  # NaN comes last
    known = np.isfinite(depth).sum(axis=0)
    middle = np.maximum(known - 1, 0) // 2
    return np.asarray(np.take_along_axis(ordered, middle[None], axis=0)[0])


def _masks(track: ObjectTrack, footage: Footage) -> Mask:
    masks = np.zeros((footage.frames, *footage.size), bool)
    for frame in track.regions:
        mask = track.mask(frame)
        if mask is not None:
            masks[frame] = mask
    return masks
