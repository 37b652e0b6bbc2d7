"""From where a text is in frames to single things: connected pixels, put together over time."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from fourd_ros.scene_language.live_language import LiveFrame
from fourd_ros.scene_language.presence import PresenceGate
from fourd_ros.scene_language.text_search import TextSearch

FloatArray = NDArray[np.float64]
Place = Callable[[LiveFrame], NDArray[np.float32]]
"""What every pixel of a frame shows, shape [h, w, 3]."""

INNER = (5.0, 95.0)
"""Percentiles of coordinates that a thing's box reaches: masks spill over edges, behind which depth is another."""

LEAST_PIXELS = 8


@dataclass(frozen=True, kw_only=True, eq=False)
class Sighting:
    """Connected pixels of a frame that a text means.

    Args:
        frame: that shows them.
        mask: shape [h, w].
        relevancy: of the most relevant pixel, 0..1.
        points: what they show, in the frame of the question, shape [n, 3].
        low: corner of their box, shape [3].
        high: the opposite one, shape [3].
    """

    frame: LiveFrame
    mask: NDArray[np.bool_]
    relevancy: float
    points: NDArray[np.float32]
    low: FloatArray
    high: FloatArray

    @property
    def centre(self) -> FloatArray:
        """Of the box, shape [3]."""
        return (self.low + self.high) / 2

    @property
    def size(self) -> FloatArray:
        """Of the box, shape [3]."""
        return self.high - self.low

    @property
    def rgb(self) -> NDArray[np.uint8]:
        """Colours of the points, shape [n, 3]."""
        return self.frame.rgb[self.mask]

    def touches(self, other: "Sighting") -> bool:
        """Whether the centres are nearer to each other than the boxes are long."""
        reach = (np.linalg.norm(self.size) + np.linalg.norm(other.size)) / 2
        return bool(np.linalg.norm(self.centre - other.centre) <= reach)


@dataclass(frozen=True, kw_only=True, eq=False)
class FoundThing:
    """A thing that a text means.

    Args:
        last: where it was seen last.
        first: where it was seen first.
        frames: in which it was seen.
        relevancy: the largest of all sightings, 0..1.
    """

    last: Sighting
    first: Sighting
    frames: int
    relevancy: float

    @property
    def moved(self) -> bool:
        """Whether it is farther from where it was first than half its size."""
        way = np.linalg.norm(self.last.centre - self.first.centre)
        return bool(way > np.linalg.norm(self.last.size) / 2)


def find_things(
    search: TextSearch,
    frames: Sequence[LiveFrame],
    text: str,
    *,
    place: Place,
    gate: PresenceGate | None = None,
    least_pixels: int = LEAST_PIXELS,
) -> list[FoundThing]:
    """Things that a text means, most relevant first; none where it is in no frame.

    Args:
        search: that knows the features of the frames.
        frames: with features, newest first.
        text: what is looked for.
        place: into which frame things are put.
        gate: what makes a text present; None for that of the model.
        least_pixels: of a thing in a frame.

    Raises:
        InvalidText: empty, or too long.
    """
    limit = (gate or search.told.gate).relevancy
    chains: list[FoundThing] = []
    for frame in frames:
        assert frame.features is not None
        found = search.search(frame.features.float(), [text], gate=gate)
        mask, relevancy = found.masks[0].cpu().numpy(), found.relevancy[0].cpu().numpy()
        seen = sightings(frame, mask, relevancy, place=place, limit=limit, least_pixels=least_pixels)
        chains = joined(chains, seen)
    return sorted(chains, key=lambda thing: -thing.relevancy)


def sightings(
    frame: LiveFrame,
    mask: NDArray[np.bool_],
    relevancy: NDArray[np.floating],
    *,
    place: Place,
    limit: float,
    least_pixels: int = LEAST_PIXELS,
) -> list[Sighting]:
    """Connected pixels of a mask, most relevant first.

    Args:
        frame: of the mask.
        mask: where a text is, shape [h, w].
        relevancy: 0..1, shape [h, w].
        place: into which frame they are put.
        limit: what the most relevant pixel has to exceed.
        least_pixels: of one.
    """
    if not mask.any():
        return []
    points = place(frame)
    known = mask & np.isfinite(points).all(axis=-1)
    count, parts = cv2.connectedComponents(known.astype(np.uint8), connectivity=8)
    found = []
    for number in range(1, count):
        part = parts == number
        most = float(relevancy[part].max())
        if part.sum() >= least_pixels and most > limit:
            there = points[part]
            low, high = np.percentile(there, INNER, axis=0)
            found.append(Sighting(frame=frame, mask=part, relevancy=most, points=there, low=low, high=high))
    return sorted(found, key=lambda one: -one.relevancy)


def joined(chains: list[FoundThing], seen: Sequence[Sighting]) -> list[FoundThing]:
    """Things with the sightings of a frame that is older than theirs: each goes to the nearest that it touches.

    Args:
        chains: what newer frames showed.
        seen: of the older frame.
    """
    free, result = list(range(len(chains))), list(chains)
    for one in seen:
        near = [place for place in free if chains[place].first.touches(one)]
        if not near:
            result.append(FoundThing(last=one, first=one, frames=1, relevancy=one.relevancy))
            continue
        nearest = min(near, key=lambda place: float(np.linalg.norm(chains[place].first.centre - one.centre)))
        free.remove(nearest)
        chain = chains[nearest]
        relevancy = max(chain.relevancy, one.relevancy)
        result[nearest] = replace(chain, first=one, frames=chain.frames + 1, relevancy=relevancy)
    return result
