"""Which object a pixel shows: numbers from masks, colours from numbers and back (section 4 of the specification)."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fourd_ros.errors import InvalidClip

InstanceMap = NDArray[np.int32]
Pixels = NDArray[np.uint8]

SET3 = np.array(
    [
        (141, 211, 199),
        (255, 255, 179),
        (190, 186, 218),
        (251, 128, 114),
        (128, 177, 211),
        (253, 180, 98),
        (179, 222, 105),
        (252, 205, 229),
        (217, 217, 217),
        (188, 128, 189),
        (204, 235, 197),
        (255, 237, 111),
    ],
    np.uint8,
)
"""Set3 of ColorBrewer (Harrower and Brewer 2003) as matplotlib has it, times 255 and truncated."""

MAX_OBJECTS = 60
"""Objects that have a colour of their own."""

_ALPHA = 0.6


def instance_map(
    masks: Sequence[NDArray[Any]], *, frames: int, official_compat: bool = False
) -> tuple[InstanceMap, dict[int, int]]:
    """One map of numbers from a mask of every object; later objects lie above earlier ones.

    Args:
        masks: for each object of shape [f, H, W], f at most `frames`; True or above a half where it is.
        frames: of the map.
        official_compat: count from 1 in every frame, only objects that have a mask there, as DynamicVerse does: where
            the masks of an object end early, the numbers of all later objects shift. Else object k is k + 1 throughout.

    Returns:
        Map of shape [frames, H, W], 0 for none; and for each number the index of the object that had it last.

    Raises:
        InvalidClip: no mask, masks of several sizes, or more masks than frames.
    """
    shapes = {mask.shape[1:] for mask in masks}
    if len(shapes) != 1 or any(mask.ndim != 3 or len(mask) > frames for mask in masks):
        given = [list(mask.shape) for mask in masks[:10]]
        raise InvalidClip(f"masks of the shapes {given}; needed are some of one size, each of at most {frames} frames")
    numbers = np.zeros((frames, *shapes.pop()), np.int32)
    owners: dict[int, int] = {}
    for frame in range(frames):
        present = [k for k, mask in enumerate(masks) if frame < len(mask)]
        for position, k in enumerate(present):
            number = (position if official_compat else k) + 1
            mask = masks[k][frame]
            numbers[frame][mask if mask.dtype == np.bool_ else mask > 0.5] = number
            owners[number] = k
    return numbers, owners


def palette(count: int, *, official_compat: bool = False) -> Pixels:
    """Colours of objects 1 to `count`, shape [count, 3].

    The first twelve are those of DynamicVerse. Beyond them it samples the twelve again so that objects share a colour
    and cannot be told apart in its files (`official_compat`); ours are darker, and every object has its own.

    Raises:
        InvalidClip: more objects than there are colours.
    """
    if count <= len(SET3):
        return SET3[:count]
    if official_compat:
        rows = (np.linspace(0, 1, count) * len(SET3)).astype(np.int64).clip(max=len(SET3) - 1)
        return np.take(SET3, rows, axis=0)
    if count > MAX_OBJECTS:
        raise InvalidClip(f"{count} objects; colours tell at most {MAX_OBJECTS} apart, arrays (.npy) any number")
    number = np.arange(count)
    return (SET3[number % len(SET3)] // (1 + number // len(SET3))[:, None]).astype(np.uint8)


def paint(numbers: InstanceMap, colours: Pixels) -> Pixels:
    """The map in colour, black where there is no object, shape [*, H, W, 3].

    Raises:
        InvalidClip: a number has no colour.
    """
    largest = int(numbers.max(initial=0))
    if largest > len(colours) or numbers.min(initial=0) < 0:
        raise InvalidClip(f"objects from {numbers.min()} to {largest}, and colours for 1 to {len(colours)}")
    return np.concatenate([np.zeros((1, 3), np.uint8), colours])[numbers]


def numbers_of(colour: Pixels) -> InstanceMap:
    """The map of a picture in colour, shape [*, H, W].

    Colours of `palette` are the numbers that they stand for. Where a colour is another (of another program), all are
    numbered from 1 in the order of their code R + 256 G + 65536 B, as DynamicVerse reads them; black is none.

    Args:
        colour: RGB, of all frames together, shape [*, H, W, 3].

    Raises:
        InvalidClip: more colours than objects could have, as in pictures that were scaled or compressed with loss.
    """
    code = colour[..., 0] + 256 * colour[..., 1].astype(np.int32) + 65536 * colour[..., 2].astype(np.int32)
    found, inverse = np.unique(code, return_inverse=True)
    if len(found) > 1 + 255:
        raise InvalidClip(f"masks with {len(found)} colours; were they scaled, or compressed with loss? At most 256")
    known = {int(r) + 256 * int(g) + 65536 * int(b): k + 1 for k, (r, g, b) in enumerate(palette(MAX_OBJECTS))}
    objects = [int(one) for one in found if one]
    if not known.keys() >= set(objects):
        known = {one: rank for rank, one in enumerate(objects, start=1)}
    table = np.array([known.get(int(one), 0) for one in found], np.int32)
    return table[inverse].reshape(code.shape)


def overlay(rgb: Pixels, numbers: InstanceMap, colours: Pixels) -> Pixels:
    """Six tenths of colour over the picture where there is an object, shape [*, H, W, 3]."""
    mixed = (_ALPHA * paint(numbers, colours) + (1 - _ALPHA) * rgb).astype(np.uint8)
    return np.where(numbers[..., None] > 0, mixed, rgb)


def segmented(rgb: Pixels, numbers: InstanceMap) -> Pixels:
    """The picture where there is an object, black elsewhere, shape [*, H, W, 3]."""
    return np.where(numbers[..., None] > 0, rgb, np.uint8(0))
