"""Regions of frame after frame become objects that keep their number, also after they were hidden for a while."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from fourd_ros.compositional.segmentation.picture_regions import PictureRegion, same_colour

__all__ = ["ObjectTrack", "track_regions"]

FloatArray = NDArray[np.float64]
Mask = NDArray[np.bool_]

REACH, REACH_PER_FRAME = 0.12, 0.10
"""An object is looked for so far from where it was last, and so much farther for every frame since [m]."""

REACH_PIXELS, REACH_PIXELS_PER_FRAME = 0.12, 0.08
"""The same without depth, as a share of the picture's diagonal."""

FRAGMENT_REACH = 3.0
"""A piece is of an object if it is so many of the object's radii from it at most."""

_HUE, _OVERLAP = 0.02, 0.6
_TOO_FAR = 1e6


@dataclass(eq=False)
class ObjectTrack:
    """An object: its regions by frame; several of one frame are pieces that something in front parts."""

    regions: dict[int, list[PictureRegion]] = field(default_factory=dict)

    @property
    def last_frame(self) -> int:
        """In which it was seen last."""
        return max(self.regions)

    @property
    def latest(self) -> PictureRegion:
        """Its largest region in that frame."""
        return self.regions[self.last_frame][0]

    @property
    def radius(self) -> float:
        """Largest of its regions so far [m]; NaN without depth."""
        return float(np.fmax.reduce([region.radius for regions in self.regions.values() for region in regions]))

    @property
    def pixels(self) -> int:
        """In the frame in which most of it is seen."""
        return max(sum(region.pixels for region in regions) for regions in self.regions.values())

    def mask(self, frame: int) -> Mask | None:
        """Where it is seen, shape [H, W]; None where it is not."""
        regions = self.regions.get(frame)
        return None if regions is None else np.logical_or.reduce([region.mask for region in regions])


def track_regions(frames: Sequence[Sequence[PictureRegion]]) -> list[ObjectTrack]:
    """Objects through all frames, in the order in which they appear, larger ones first.

    Regions and known objects are paired so that colour, place and outline change least (Kuhn 1955); regions that are
    left and have the colour of a paired object beside them are pieces of it, others are new objects.

    Args:
        frames: the regions of each.
    """
    tracks: list[ObjectTrack] = []
    for frame, regions in enumerate(frames):
        left = _paired(tracks, frame, regions)
        left = [region for region in left if not _is_piece(tracks, frame, region)]
        tracks += [ObjectTrack(regions={frame: [region]}) for region in left]
    return tracks


def _paired(tracks: list[ObjectTrack], frame: int, regions: Sequence[PictureRegion]) -> list[PictureRegion]:
    """Give regions to the objects that they show; returns those of no known object."""
    if not tracks or not regions:
        return list(regions)
    costs = np.array([[_cost(track, region, frame) for region in regions] for track in tracks])
    rows, columns = linear_sum_assignment(costs)
    taken = set()
    for row, column in zip(rows.tolist(), columns.tolist(), strict=True):
        if costs[row, column] < _TOO_FAR:
            tracks[row].regions[frame] = [regions[column]]
            taken.add(column)
    return [region for column, region in enumerate(regions) if column not in taken]


def _cost(track: ObjectTrack, region: PictureRegion, frame: int) -> float:
    """How little alike an object's last region and another one are; `_TOO_FAR` where they cannot be of one object."""
    last = track.latest
    if not same_colour(last.hue, region.hue):
        return _TOO_FAR
    way = _way(last, region, frame - track.last_frame)
    if way > 1:
        return _TOO_FAR
    common = int((last.mask & region.mask).sum())
    overlap = common / (last.pixels + region.pixels - common)
    hue = float(np.linalg.norm(last.hue - region.hue))
    size = abs(float(np.log(last.pixels / region.pixels)))
    return way + _HUE * hue + _OVERLAP * (1 - overlap) + 0.1 * size


def _way(first: PictureRegion, second: PictureRegion, frames: int) -> float:
    """Distance as a share of what an object can do in so many frames."""
    between = float(np.linalg.norm(first.centre - second.centre))
    if np.isfinite(between):
        return between / (REACH + REACH_PER_FRAME * frames)
    diagonal = float(np.hypot(*first.mask.shape))
    pixels = float(np.linalg.norm(first.middle - second.middle))
    return pixels / (diagonal * (REACH_PIXELS + REACH_PIXELS_PER_FRAME * frames))


def _is_piece(tracks: Sequence[ObjectTrack], frame: int, region: PictureRegion) -> bool:
    """Whether it is a piece of an object of that frame, which then takes it."""
    for track in tracks:
        own = track.regions.get(frame)
        if own is None or not same_colour(own[0].hue, region.hue):
            continue
        between = float(np.linalg.norm(own[0].centre - region.centre))
        if between < FRAGMENT_REACH * track.radius:
            own.append(region)
            return True
    return False
