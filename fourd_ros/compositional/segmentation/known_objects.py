"""Numbers of objects that stay the same from one segmentation of a camera's frames to the next."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from fourd_ros.compositional.segmentation.segmenter import SegmentedObject

__all__ = ["KnownObjects"]

Mask = NDArray[np.bool_]

SAME = 0.2
"""Least overlap (intersection over union) of the masks of an object in the nearest frames of both segmentations."""


class KnownObjects:
    """Remembers where each object was seen last. A camera that stands still is needed, and objects that do not jump."""

    def __init__(self) -> None:
        self._masks: dict[int, tuple[int, Mask]] = {}
        self._next = 1

    def clear(self) -> None:
        """Forget all of them; numbers begin anew."""
        self._masks.clear()
        self._next = 1

    def renumbered(self, stamps_ns: Sequence[int], objects: Sequence[SegmentedObject]) -> tuple[SegmentedObject, ...]:
        """The same objects under the numbers that they had before; new ones get new numbers.

        Args:
            stamps_ns: of the frames [ns], shape [F].
            objects: that were found in them.
        """
        known = [number for number, (_, mask) in self._masks.items() if objects and mask.shape == objects[0].size]
        overlaps = np.array([[self._overlap(number, stamps_ns, one) for number in known] for one in objects])
        numbers: dict[int, int] = {}
        if known and objects:
            for row, column in zip(*linear_sum_assignment(-overlaps), strict=True):
                if overlaps[row, column] >= SAME:
                    numbers[int(row)] = known[column]
        renumbered = []
        for place, one in enumerate(objects):
            if place not in numbers:
                numbers[place], self._next = self._next, self._next + 1
            renumbered.append(SegmentedObject(number=numbers[place], label=one.label, moves=one.moves, masks=one.masks))
            self._remember(numbers[place], stamps_ns, one)
        return tuple(sorted(renumbered, key=lambda one: one.number))

    def _overlap(self, number: int, stamps_ns: Sequence[int], one: SegmentedObject) -> float:
        """Of the mask that is remembered and that of the nearest frame that shows the object."""
        stamp_ns, mask = self._masks[number]
        shown = [frame for frame in range(one.frames) if one.mask(frame).any()]
        if not shown:
            return 0.0
        other = one.mask(min(shown, key=lambda frame: abs(stamps_ns[frame] - stamp_ns)))
        return float((mask & other).sum() / (mask | other).sum())

    def _remember(self, number: int, stamps_ns: Sequence[int], one: SegmentedObject) -> None:
        for frame in reversed(range(one.frames)):
            if one.mask(frame).any():
                self._masks[number] = (stamps_ns[frame], one.mask(frame))
                return
