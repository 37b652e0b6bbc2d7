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
Holes = tuple[Indices, Indices]

FILLS = ("nearest", "smooth", "left", "right", "up", "down", "across", "along")
"""The nearest known pixel; averages from coarse to fine; the first known pixel on each of four sides; between left and
right, and between up and down."""

DISTANCES = ("nearest", "left", "right", "up", "down")
"""To which known pixels the distance is told."""

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
        distances: of the holes, in the order of `DISTANCES`; infinite where there is nothing [pixels], shape [D, N].
        median: of the known depth [m].
    """

    known: Mask
    log_depth: Floats
    holes: Holes
    in_holes: Floats
    distances: Floats
    median: float

    def images(self) -> Floats:
        """The filled images, shape [K, H, W]; known depth is the same in all."""
        return _painted(self.log_depth, self.holes, self.in_holes)

    def closeness(self, *, unit: float) -> Floats:
        """1 where depth is known, falling with the `distances` to a half at `unit` [pixels], shape [D, H, W]."""
        return _painted(np.ones_like(self.log_depth), self.holes, unit / (unit + self.distances))


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
    log_depth = np.zeros(depth.shape, np.float32)
    log_depth[known] = -np.log(inverse[known])
    rows, columns = np.nonzero(~known)
    holes = rows, columns
    nearest, distance = _nearest(inverse, known, holes)
    smooth = push_pull(inverse, known)[holes]
    left, right, across, *sideways = _sides(inverse, known, holes, smooth, axis=1)
    up, down, along, *upright = _sides(inverse, known, holes, smooth, axis=0)
    return Fills(
        known=known,
        log_depth=log_depth,
        holes=holes,
        in_holes=-np.log(np.stack([nearest, smooth, left, right, up, down, across, along])),
        distances=np.stack([distance, *sideways, *upright]),
        median=median,
    )


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
    border = ((0, height % 2), (0, width % 2))
    total, count = (
        _halved(np.pad(image, border)) for image in (np.where(known, values, np.float32(0)), known.astype(np.float32))
    )
    coarse = push_pull((total / np.maximum(count, 1)).astype(np.float32), count > 0)
    return np.where(known, values, _doubled(coarse)[:height, :width])


def _painted(image: Floats, holes: Holes, in_holes: Floats) -> Floats:
    """Copies of `image` [H, W] with other values in the holes, shape [K, H, W]."""
    copies = np.repeat(image[None], len(in_holes), axis=0)
    for copy, values in zip(copies, in_holes, strict=True):
        copy[holes] = values
    return copies


def _nearest(values: Floats, known: Mask, holes: Holes) -> tuple[Floats, Floats]:
    """Value and distance of the nearest known pixel of each hole."""
    import cv2

    distance, labels = cv2.distanceTransformWithLabels(
        (~known).astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    by_label = np.zeros(labels.max() + 1, np.float32)
    by_label[labels[known]] = values[known]
    return by_label[labels[holes]], np.asarray(distance[holes], np.float32)


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
    values: Floats, known: Mask, holes: Holes, otherwise: Floats, *, axis: int
) -> tuple[Floats, Floats, Floats, Floats, Floats]:
    """The first known values before and after each hole along `axis`, linear between them, and both distances.

    Where there is none on one side it is taken from the other, where there is none at all from `otherwise`; all [N].
    """
    size = known.shape[axis]
    places = np.arange(size, dtype=np.int32)[:, None] if axis == 0 else np.arange(size, dtype=np.int32)
    last = np.maximum.accumulate(np.where(known, places, np.int32(-1)), axis=axis)[holes]
    reverse = np.flip(np.where(known, places, np.int32(size)), axis)
    following = np.flip(np.minimum.accumulate(reverse, axis=axis), axis)[holes]
    has_last, has_following = last >= 0, following < size

    def at(place: Indices, there: Mask) -> Floats:
        place = np.where(there, place, 0)
        found = values[place, holes[1]] if axis == 0 else values[holes[0], place]
        return np.where(there, found, otherwise)

    before, after = at(last, has_last), at(following, has_following)
    before, after = np.where(has_last, before, after), np.where(has_following, after, before)
    back, ahead = (gap.astype(np.float32) for gap in (holes[axis] - last, following - holes[axis]))
    between = before + back / (back + ahead) * (after - before)
    nothing = np.float32(np.inf)
    return before, after, between, np.where(has_last, back, nothing), np.where(has_following, ahead, nothing)
