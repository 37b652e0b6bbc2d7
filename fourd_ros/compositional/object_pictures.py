"""Pictures of objects: scaled, cut out on white, padded to a square, centred.

Rules: COM4D (arXiv 2512.05272), sections 2, 3, 11 and 15 of the specification this was written from.
"""

from collections.abc import Sequence
from typing import Any, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fourd_ros.errors import InvalidClip

__all__ = [
    "WHITE",
    "centring_offset",
    "cut_out",
    "padded_to_square",
    "resized",
    "resized_mask",
    "shifted",
    "union_of",
    "without_background",
]

Value = TypeVar("Value", bound=np.generic)
Pixels = NDArray[np.uint8]

WHITE = 255
CLOSING_RADIUS = 3
"""Gaps between masks so wide are closed before the background is taken away [px]."""


def resized(rgb: Pixels, *, width: int, height: int) -> Pixels:
    """Colour [H, W, 3] in another size by Lanczos' filter, shape [height, width, 3]; in its own size unchanged."""
    return np.asarray(Image.fromarray(rgb).resize((width, height), Image.Resampling.LANCZOS), np.uint8)


def resized_mask(mask: NDArray[Value], *, width: int, height: int) -> NDArray[Value]:
    """A mask, numbers or depth [H, W] in another size, every pixel that of the nearest, shape [height, width]."""
    return np.asarray(Image.fromarray(mask).resize((width, height), Image.Resampling.NEAREST), mask.dtype)


def cut_out(rgb: Pixels, mask: Pixels, *, dilation: int = 0, erosion: int = 0, keep_foreground: bool = True) -> Pixels:
    """What a mask shows, on white; between 0 and 255 it is mixed with white.

    Args:
        rgb: colour, shape [H, W, 3].
        mask: 0 nothing to 255 all, shape [H, W].
        dilation: radius by which the mask grows first [px].
        erosion: radius by which it shrinks then [px].
        keep_foreground: False shows the rest instead.

    Returns:
        Shape [H, W, 3].

    Raises:
        InvalidClip: picture and mask differ in size.
    """
    _check_size(rgb, mask)
    alpha = _eroded(_dilated(mask, dilation), erosion)
    if not keep_foreground:
        alpha = 255 - alpha
    share = (alpha.astype(np.float32) / np.float32(255))[..., None]
    mixed = rgb.astype(np.float32) / np.float32(255) * share + (1 - share)
    return np.asarray((mixed * np.float32(255)).astype(np.uint8))


def union_of(masks: Sequence[Pixels]) -> Pixels:
    """The largest value of some masks at every pixel, shape [H, W].

    Raises:
        InvalidClip: there is none, or they are of several sizes.
    """
    sizes = {mask.shape for mask in masks}
    if len(sizes) != 1:
        raise InvalidClip(f"masks of the sizes {sorted(sizes)}; needed are some of one size")
    return np.asarray(np.maximum.reduce(list(masks)), np.uint8)


def padded_to_square(picture: NDArray[Value], *, fill: Any) -> NDArray[Value]:
    """A picture [H, W, ...] in the middle of a square with `fill` around; an odd pixel goes to the right or below."""
    height, width = picture.shape[:2]
    side = max(height, width)
    square = np.full((side, side, *picture.shape[2:]), fill, picture.dtype)
    top, left = (side - height) // 2, (side - width) // 2
    square[top : top + height, left : left + width] = picture
    return square


def without_background(rgb: Pixels, mask: Pixels, *, radius: int = CLOSING_RADIUS) -> Pixels:
    """Colour where a mask is, white elsewhere; gaps in the mask up to twice `radius` wide are closed first.

    Args:
        rgb: colour, shape [H, W, 3].
        mask: of everything that is kept, shape [H, W].
        radius: of a square maximum filter and the minimum filter after it [px].

    Raises:
        InvalidClip: picture and mask differ in size.
    """
    _check_size(rgb, mask)
    closed = _eroded(_dilated(mask, radius), radius)
    return np.where(closed[..., None] > 0, rgb, np.uint8(WHITE))


def centring_offset(mask: NDArray[Any]) -> tuple[int, int]:
    """How far to the right and down a picture goes so that what `mask` shows comes to its middle [px].

    Args:
        mask: union of the masks of all frames, above 0 where anything is, shape [H, W]; nothing gives (0, 0).
    """
    rows, columns = np.nonzero(mask)
    if not len(rows):
        return 0, 0
    height, width = mask.shape
    right = round((width - int(columns.min() + columns.max() + 1)) / 2)
    down = round((height - int(rows.min() + rows.max() + 1)) / 2)
    return right, down


def shifted(picture: NDArray[Value], offset: tuple[int, int], *, fill: Any) -> NDArray[Value]:
    """A picture [H, W, ...] moved to the right and down by whole pixels; `fill` comes in, what leaves is lost."""
    height, width = picture.shape[:2]
    right, down = offset
    moved = np.full_like(picture, fill)
    target = tuple(slice(max(step, 0), max(size + min(step, 0), 0)) for step, size in ((down, height), (right, width)))
    source = tuple(slice(max(-step, 0), max(size - max(step, 0), 0)) for step, size in ((down, height), (right, width)))
    moved[target] = picture[source]
    return moved


def _check_size(rgb: Pixels, mask: Pixels) -> None:
    if rgb.shape[:2] != mask.shape:
        raise InvalidClip(f"a mask of {list(mask.shape)} for a picture of {list(rgb.shape)}; needed is the same size")


def _dilated(mask: Pixels, radius: int) -> Pixels:
    """Maximum over a square; beyond the edge of the picture nothing counts."""
    return np.asarray(cv2.dilate(mask, np.ones((2 * radius + 1,) * 2, np.uint8)), np.uint8) if radius else mask


def _eroded(mask: Pixels, radius: int) -> Pixels:
    return np.asarray(cv2.erode(mask, np.ones((2 * radius + 1,) * 2, np.uint8)), np.uint8) if radius else mask
