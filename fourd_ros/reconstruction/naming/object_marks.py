"""Marks that let a model speak of the objects in a picture: an outline and a number on each."""

from collections.abc import Iterable, Iterator

import cv2
import numpy as np
from numpy.typing import NDArray

from fourd_ros.errors import InvalidImage
from fourd_ros.reconstruction.masks.instance_map import SET3, InstanceMap, Pixels

__all__ = ["draw_marks", "label_picture", "marked_numbers"]

OUTLINE = 300
"""The outline is as wide as the longer side over this, and within a black one as wide again."""

DIGIT, LEAST_DIGIT = 45, 10
"""Digits are as high as the longer side over this, and no lower than so many pixels."""

ROOM = 0.8
"""A number is put inside an object where a circle of so many of its diagonals as radius fits."""

_FONT = cv2.FONT_HERSHEY_SIMPLEX


def draw_marks(rgb: Pixels, numbers: InstanceMap) -> Pixels:
    """The picture with an outline around every object and its number on it.

    The number stands inside an object that has room for it, else beside it, where it hides no other object and no other
    number as far as that can be.

    Args:
        rgb: shape [H, W, 3].
        numbers: of the object at each pixel, 0 for none, shape [H, W].

    Raises:
        InvalidImage: the numbers are not of the picture's size.
    """
    if rgb.shape[:2] != numbers.shape or rgb.shape[2:] != (3,):
        raise InvalidImage(f"a picture {list(rgb.shape)} and numbers {list(numbers.shape)}; needed: [H, W, 3], [H, W]")
    marked, objects = rgb.copy(), marked_numbers([numbers])
    line = max(1, round(max(numbers.shape) / OUTLINE))
    for number in objects:
        mask = (numbers == number).astype(np.uint8)
        for wide, colour in ((2 * line, (0, 0, 0)), (line, _colour(number))):
            around = cv2.dilate(mask, np.ones((2 * wide + 1, 2 * wide + 1), np.uint8))
            marked[around > mask] = colour
    taken = np.zeros(numbers.shape, bool)
    for number in objects:
        label = label_picture(number, size=max(numbers.shape))
        height, width = (min(*sides) for sides in zip(label.shape[:2], numbers.shape, strict=True))
        top, left = _place(numbers, number, taken, height, width)
        marked[top : top + height, left : left + width] = label[:height, :width]
        taken[top : top + height, left : left + width] = True
    return marked


def label_picture(number: int, *, size: int) -> Pixels:
    """A number in black on the colour of its outline, for a picture whose longer side is `size`, shape [h, w, 3]."""
    height = max(LEAST_DIGIT, size // DIGIT)
    scale = cv2.getFontScaleFromHeight(_FONT, height)
    stroke = max(1, height // 8)
    (width, _), _ = cv2.getTextSize(str(number), _FONT, scale, stroke)
    edge = max(2, height // 4)
    label = np.full((height + 2 * edge, width + 2 * edge, 3), _colour(number), np.uint8)
    cv2.putText(label, str(number), (edge, edge + height), _FONT, scale, (0, 0, 0), stroke, cv2.LINE_AA)
    cv2.rectangle(label, (0, 0), (label.shape[1] - 1, label.shape[0] - 1), (0, 0, 0), 1)
    return label


def marked_numbers(marks: Iterable[InstanceMap]) -> tuple[int, ...]:
    """The objects of several maps, ascending."""
    found = {int(number) for mark in marks for number in np.flatnonzero(np.bincount(mark.ravel()))}
    return tuple(sorted(found - {0}))


def _colour(number: int) -> tuple[int, int, int]:
    red, green, blue = (int(value) for value in SET3[(number - 1) % len(SET3)])
    return red, green, blue


def _place(numbers: InstanceMap, number: int, taken: NDArray[np.bool_], height: int, width: int) -> tuple[int, int]:
    """Top and left of a label: the first place that is free, else on the object."""
    lowest, rightmost = numbers.shape[0] - height, numbers.shape[1] - width
    places = list(_places(numbers == number, height, width))
    for top, left in places:
        part = slice(top, top + height), slice(left, left + width)
        inside = 0 <= top <= lowest and 0 <= left <= rightmost
        if inside and not taken[part].any() and np.isin(numbers[part], (0, number)).all():
            return top, left
    top, left = places[-1]
    return min(max(top, 0), lowest), min(max(left, 0), rightmost)


def _places(mask: NDArray[np.bool_], height: int, width: int) -> Iterator[tuple[int, int]]:
    """Where a label may stand, best first; the last is the middle of the object."""
    inside = cv2.distanceTransform(np.pad(mask, 1).astype(np.uint8), cv2.DIST_L2, 3)[1:-1, 1:-1]
    row, column = (int(value) for value in np.unravel_index(int(inside.argmax()), mask.shape))
    middle = row - height // 2, column - width // 2
    if inside[row, column] > ROOM * np.hypot(height, width):
        yield middle
    left, top, across, down = cv2.boundingRect(mask.astype(np.uint8))
    beside_row = min(max(top + (down - height) // 2, 0), mask.shape[0] - height)
    beside_column = min(max(left + (across - width) // 2, 0), mask.shape[1] - width)
    yield top - height - 1, beside_column
    yield top + down + 1, beside_column
    yield beside_row, left - width - 1
    yield beside_row, left + across + 1
    yield middle
