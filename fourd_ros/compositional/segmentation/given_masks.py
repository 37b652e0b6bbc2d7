"""Masks that somebody else has made, as a segmenter."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from fourd_ros.compositional.object_pictures import padded_to_square, resized_mask
from fourd_ros.compositional.segmentation.segmenter import Footage, Progress, SegmentedObject
from fourd_ros.errors import InvalidClip

__all__ = ["GivenMasks"]

Numbers = NDArray[np.integer]


@dataclass(frozen=True, kw_only=True, eq=False)
class GivenMasks:
    """Objects by the number at every pixel, 0 none; so two objects never overlap.

    Masks have the size of the prepared frames, or that of the frames as they came; these are padded and scaled as
    the frames were, each pixel to that of the nearest.

    Args:
        moving: of the objects that move, shape [F, h, w]; None where there is none.
        static: of those at rest, likewise.
        labels: what they are called, by number.

    Raises:
        InvalidClip: neither of them is given, values are negative, or a number is in both.
    """

    moving: Numbers | None = None
    static: Numbers | None = None
    labels: Mapping[int, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        given = [numbers for numbers in (self.moving, self.static) if numbers is not None]
        if not given:
            raise InvalidClip("no masks are given; needed are those of moving objects, of static ones, or both")
        for numbers in given:
            if numbers.ndim != 3 or numbers.dtype.kind not in "iu" or numbers.min(initial=0) < 0:
                raise InvalidClip(
                    f"masks are {numbers.dtype} {list(numbers.shape)}; needed are numbers from 0 [F, h, w]"
                )
        both = set.intersection(*(set(_numbers_of(numbers)) for numbers in given)) if len(given) == 2 else set()
        if both:
            raise InvalidClip(f"objects {sorted(both)} are among the moving and the static masks; each is only one")

    def segment(self, footage: Footage, *, progress: Progress) -> tuple[SegmentedObject, ...]:
        """The objects of the masks.

        Raises:
            InvalidClip: another number of frames, another size, no object at all, or moving and static masks overlap.
        """
        kinds = [
            (moves, numbers) for moves, numbers in ((True, self.moving), (False, self.static)) if numbers is not None
        ]
        fitted = {moves: _fitted(numbers, footage) for moves, numbers in kinds}
        if len(fitted) == 2 and ((fitted[True] > 0) & (fitted[False] > 0)).any():
            raise InvalidClip("masks of moving and static objects overlap; every pixel shows one object at most")
        found = [
            SegmentedObject(number=number, label=self.labels.get(number, ""), moves=moves, masks=numbers == number)
            for moves, numbers in fitted.items()
            for number in _numbers_of(numbers)
        ]
        if not found:
            raise InvalidClip("the masks are empty in all frames; there is no object to prepare")
        progress(1.0)
        return tuple(sorted(found, key=lambda one: one.number))


def _numbers_of(numbers: Numbers) -> list[int]:
    return [int(number) for number in np.unique(numbers) if number]


def _fitted(numbers: Numbers, footage: Footage) -> NDArray[np.int32]:
    height, width = footage.size
    if len(numbers) != footage.frames:
        raise InvalidClip(f"masks of {len(numbers)} frames, the clip has {footage.frames}; needed is one for each")
    source = footage.source_size or footage.size
    if numbers.shape[1:] not in (footage.size, source):
        given, needed = (f"{size[1]} x {size[0]}" for size in (numbers.shape[1:], source))
        raise InvalidClip(f"masks have {given} pixels; needed are {needed} as the frames have, or {width} x {height}")
    fitted = numbers.astype(np.int32)
    if numbers.shape[1:] == footage.size:
        return fitted
    squares = (padded_to_square(image, fill=0) for image in fitted)
    return np.stack([resized_mask(square, width=width, height=height) for square in squares])
