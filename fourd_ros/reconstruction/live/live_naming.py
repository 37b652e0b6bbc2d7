"""Objects before a live camera get their names of a model that is asked now and then; nothing here ever waits."""

import math
import time
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from fourd_ros.reconstruction.clips.key_frames import LiveKeyFrames
from fourd_ros.reconstruction.live.live_reconstruction import LiveFrame
from fourd_ros.reconstruction.masks.object_pixels import ObjectPixels
from fourd_ros.reconstruction.naming.object_namer import ObjectNamer
from fourd_ros.reconstruction.tracking.point_tracker import TrackedFrame

__all__ = ["LiveNaming"]

GAP = 5
"""Least number of frames from one key frame to the next."""

KEPT = 8
"""Key frames that are shown at a time, the newest."""

SIGHTINGS = 2
"""Key frames that show an object before its name is asked for."""

TRIES = 3
"""Answers without a clear name for an object, until it is no longer asked for."""

PERCENTILE = 90
"""Of how far points went: the score of a key frame."""


@dataclass(frozen=True, kw_only=True)
class _KeyFrame:
    rgb: NDArray[np.uint8]
    shown: Mapping[int, ObjectPixels]

    def marks(self, wanted: frozenset[int]) -> NDArray[np.int32]:
        """Number of the wanted object at every pixel, shape [H, W]."""
        numbers = np.zeros(self.rgb.shape[:2], np.int32)
        for number in wanted & self.shown.keys():
            self.shown[number].mark(numbers, number)
        return numbers


class LiveNaming:
    """Keeps key frames of a stream, has a model name the objects in them, and gives the names to later frames.

    Names stay with an object as long as it is known. Objects that the model has not named keep those by their look.
    Memory is bounded by the key frames that are kept.

    Args:
        namer: asks.
        period: least time between two questions [s].
    """

    def __init__(self, namer: ObjectNamer, *, period: float) -> None:
        self._namer, self._period = namer, period
        self._asked_at = -math.inf
        self.clear()

    def clear(self) -> None:
        """Forget frames and names, as after a jump in time or before another camera; give up what is asked."""
        self._namer.close()
        self._key_frames = LiveKeyFrames(gap=GAP)
        self._kept: deque[_KeyFrame] = deque(maxlen=KEPT)
        self._before: TrackedFrame | None = None
        self._asked: frozenset[int] = frozenset()
        self._names: dict[int, str] = {}
        self._tries: Counter[int] = Counter()

    @property
    def named(self) -> int:
        """Known objects with a name of the model."""
        return len(self._names)

    @property
    def counters(self) -> Mapping[str, int]:
        """Of the questions, see `ObjectNamer`."""
        return dict(self._namer.counters)

    @property
    def problem(self) -> str:
        """What went wrong last with a question, empty before."""
        return self._namer.problem

    def name(self, frame: LiveFrame, rgb: NDArray[np.uint8]) -> LiveFrame:
        """The frame with the names that are known; now and then a question goes out.

        Args:
            frame: what was found in it.
            rgb: its picture, shape [H, W, 3].
        """
        known = {one.number for one in frame.objects}
        self._names = {number: name for number, name in self._names.items() if number in known}
        self._keep(frame, rgb)
        self._hear(known)
        self._ask(known)
        objects = tuple(replace(one, name=self._names.get(one.number, one.name)) for one in frame.objects)
        return replace(frame, objects=objects)

    def _keep(self, frame: LiveFrame, rgb: NDArray[np.uint8]) -> None:
        before, self._before = self._before, frame.tracked
        if not self._key_frames.offer(_motion(before, frame.tracked)):
            return
        shown = {
            number: replace(pixels, mask=pixels.mask.copy())
            for number, pixels in frame.shown.items()
            if pixels is not None and pixels.count
        }
        if shown:
            self._kept.append(_KeyFrame(rgb=rgb.copy(), shown=shown))

    def _hear(self, known: set[int]) -> None:
        if not self._asked:
            return
        answer = self._namer.poll()
        if answer is not None:
            found = dict(zip(answer.numbers, answer.objects, strict=True))
            self._names = {number: found[number] for number in known & found.keys()} | self._names
            self._tries.update(self._asked - found.keys())
        elif self._namer.is_waiting:
            return
        elif self._namer.answered_badly:
            self._tries.update(self._asked)
        self._asked = frozenset()

    def _ask(self, known: set[int]) -> None:
        """About all known objects in the key frames, where one of them has no name and may get one."""
        if self._namer.is_asking or self._asked or time.monotonic() < self._asked_at + self._period:
            return
        sightings = Counter(number for frame in self._kept for number in frame.shown)
        self._tries = Counter({number: tries for number, tries in self._tries.items() if number in known})
        if not any(
            sightings[number] >= SIGHTINGS and self._tries[number] < TRIES for number in known - self._names.keys()
        ):
            return
        self._asked_at = time.monotonic()
        self._asked = frozenset(known & sightings.keys())
        self._namer.submit([frame.rgb for frame in self._kept], [frame.marks(self._asked) for frame in self._kept])


def _motion(before: TrackedFrame | None, now: TrackedFrame) -> float:
    """How far points went between two frames [px], NaN where none is seen in both."""
    if before is None:
        return math.nan
    _, earlier, later = np.intersect1d(before.ids, now.ids, assume_unique=True, return_indices=True)
    if not len(later):
        return math.nan
    return float(np.percentile(np.linalg.norm(now.positions[later] - before.positions[earlier], axis=1), PERCENTILE))
