"""Simple ways to fill the holes of a depth image; a network only has to choose between them.

Everything is done in inverse depth, in which planes are affine: what lies on a line between two pixels of a
plane is their linear interpolation.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Mask = NDArray[np.bool_]
Indices = NDArray[np.signedinteger[Any]]

FILLS = ("smooth", "left", "right", "up", "down", "across", "along")
"""Coarse-to-fine averages; the nearest known pixel on each of four sides; between left and right, up and down."""

LEAST_DEPTH = 1e-3
"""Nearer than this [m] is not a depth."""

MEDIAN_PIXELS = 4096
"""The median of large images is that of about so many pixels."""


@dataclass(frozen=True, kw_only=True)
class Fills:
    """A depth image and several ways to fill its N holes.

    Args:
        known: where depth was known, shape [H, W].
        log_depth: logarithm of known depth over `median`, 0 in holes, shape [H, W].
        holes: rows and columns of the holes, each of shape [N].
        in_holes: the same logarithm for the holes, in the order of `FILLS`, shape [K, N].
        median: of the known depth [m].
    """

    known: Mask
    log_depth: Floats
    holes: tuple[Indices, Indices]
    in_holes: Floats
    median: float

    def images(self) -> Floats:
        """The filled images, shape [K, H, W]; known depth is the same in all."""
        filled = np.repeat(self.log_depth[None], len(FILLS), axis=0)
        for image, values in zip(filled, self.in_holes, strict=True):
            image[self.holes] = values
        return filled


def fill(depth: Floats) -> Fills | None:
    """Fill a depth image.

    Args:
        depth: [m], NaN in holes, shape [H, W].

    Returns:
        The fills, or None if nothing is known.
    """
    known = np.isfinite(depth) & (depth > LEAST_DEPTH)
    values = depth[known]
    if values.size == 0:
        return None
    median = float(np.median(values[:: max(1, values.size // MEDIAN_PIXELS)]))
    inverse = np.zeros(depth.shape, np.float32)
    inverse[known] = median / values
    holes = np.nonzero(~known)
    smooth = push_pull(inverse, known)[holes]
    left, right, across = _sides(inverse, known, holes, smooth, axis=1)
    up, down, along = _sides(inverse, known, holes, smooth, axis=0)
    log_depth = np.zeros(depth.shape, np.float32)
    log_depth[known] = np.log(values / np.float32(median))
    in_holes = -np.log(np.stack([smooth, left, right, up, down, across, along]))
    return Fills(known=known, log_depth=log_depth, holes=holes, in_holes=in_holes, median=median)


def push_pull(values: Floats, known: Mask) -> Floats:
    """Fill holes with averages from ever coarser images.

    Args:
        values: shape [H, W].
        known: which of them count, at least one, shape [H, W].

    Source: Gortler et al. 1996, *The Lumigraph* (push-pull).
    """
    if known.all():
        return values
    height, width = values.shape
    rows, columns = height % 2, width % 2
    weighted = np.pad(np.where(known, values, np.float32(0)), ((0, rows), (0, columns)))
    weights = np.pad(known, ((0, rows), (0, columns))).astype(np.float32)
    total, count = _halved(weighted), _halved(weights)
    coarse = push_pull(total / np.maximum(count, 1), count > 0)
    return np.where(known, values, _doubled(coarse)[:height, :width])


def _halved(image: Floats) -> Floats:
    """Sums over blocks of 2 x 2."""
    rows = image[0::2] + image[1::2]
    return np.asarray(rows[:, 0::2] + rows[:, 1::2])


def _doubled(image: Floats) -> Floats:
    """Twice the size, linear between the centres of the pixels."""
    for axis in (0, 1):
        before = np.concatenate([image.take([0], axis), image], axis).take(range(image.shape[axis]), axis)
        after = np.concatenate([image, image.take([-1], axis)], axis).take(range(1, image.shape[axis] + 1), axis)
        pair = np.stack([0.75 * image + 0.25 * before, 0.75 * image + 0.25 * after], axis + 1)
        image = pair.reshape([2 * n if i == axis else n for i, n in enumerate(image.shape)]).astype(np.float32)
    return image


def _sides(
    values: Floats, known: Mask, holes: tuple[Indices, Indices], otherwise: Floats, *, axis: int
) -> tuple[Floats, Floats, Floats]:
    """The nearest known values before and after each hole along `axis`, and linear between them; each [N]."""
    size = known.shape[axis]
    places = np.arange(size, dtype=np.int32)[:, None] if axis == 0 else np.arange(size, dtype=np.int32)
    last = np.maximum.accumulate(np.where(known, places, np.int32(-1)), axis=axis)[holes]
    reverse = np.flip(np.where(known, places, np.int32(size)), axis)
    next_ = np.flip(np.minimum.accumulate(reverse, axis=axis), axis)[holes]
    has_last, has_next = last >= 0, next_ < size

    def at(place: Indices, there: Mask) -> Floats:
        place = np.where(there, place, 0)
        found = values[place, holes[1]] if axis == 0 else values[holes[0], place]
        return np.where(there, found, otherwise)

    before, after = at(last, has_last), at(next_, has_next)
    share = (holes[axis] - last).astype(np.float32) / (next_ - last)
    before, after = np.where(has_last, before, after), np.where(has_next, after, before)
    return before, after, before + share * (after - before)
