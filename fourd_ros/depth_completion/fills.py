"""Simple ways to fill the holes of a depth image; a network only has to choose between them.

Everything is done in inverse depth, in which planes are affine: what lies on a line between two pixels of a
plane is their linear interpolation.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fourd_ros.geometry.hole_filling import fill_holes

Floats = NDArray[np.float32]
Colours = NDArray[np.uint8]
Mask = NDArray[np.bool_]
Indices = NDArray[np.signedinteger[Any]]
Holes = tuple[Indices, Indices]

SOURCES = ("nearest", "left", "right", "up", "down")
"""The nearest known pixel, and the first known one on each of four sides."""

FILLS = ("alike", *SOURCES, "smooth", "across", "along")
"""The source of the most similar colour; every source; averages from coarse to fine; linear between left and right, and
between up and down."""

FAR_IS_UNLIKE = 0.3
"""A source that is an image width away counts as if its colour (0..1) differed by so much more."""

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
        distances: from the holes to their `SOURCES`; infinite where there is none [pixels], shape [S, N].
        differences: of their colours, mean over the channels, 0..1; 1 where there is none, shape [S, N].
        median: of the known depth [m].
    """

    known: Mask
    log_depth: Floats
    holes: Holes
    in_holes: Floats
    distances: Floats
    differences: Floats
    median: float

    def images(self) -> Floats:
        """The filled images, shape [K, H, W]; known depth is the same in all."""
        return _painted(self.log_depth, self.holes, self.in_holes)

    def closeness(self, *, unit: float) -> Floats:
        """1 where depth is known, falling with the `distances` to a half at `unit` [pixels], shape [S, H, W]."""
        return _painted(np.ones_like(self.log_depth), self.holes, unit / (unit + self.distances))

    def likeness(self) -> Floats:
        """1 where depth is known, less the more the colour of a source differs, shape [S, H, W]."""
        return _painted(np.ones_like(self.log_depth), self.holes, 1 - self.differences)


def fill(rgb: Colours, depth: Floats) -> Fills | None:
    """Fill a depth image.

    Args:
        rgb: colour of the same pixels, shape [H, W, 3].
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
    holes = np.nonzero(~known)
    rows, columns = holes
    smooth = fill_holes(inverse[..., None], known)[rows, columns, 0]
    sources = [_nearest(known, (rows, columns)), *_sides(known, (rows, columns), axis=1)]
    sources += _sides(known, (rows, columns), axis=0)
    found = np.stack([np.where(source.exists, inverse[source.place], smooth) for source in sources])
    distances = np.stack([source.distance for source in sources])
    differences = np.stack([_difference(rgb, source, (rows, columns)) for source in sources])
    alike = np.argmin(differences + FAR_IS_UNLIKE / depth.shape[1] * distances, axis=0)
    across, along = (_between(*found[pair], *distances[pair]) for pair in (slice(1, 3), slice(3, 5)))
    chosen = np.take_along_axis(found, alike[None], axis=0)
    return Fills(
        known=known,
        log_depth=log_depth,
        holes=(rows, columns),
        in_holes=-np.log(np.concatenate([chosen, found, [smooth, across, along]])),
        distances=distances,
        differences=differences,
        median=median,
    )


def _painted(image: Floats, holes: Holes, in_holes: Floats) -> Floats:
    """Copies of `image` [H, W] with other values in the holes, shape [K, H, W]."""
    copies = np.repeat(image[None], len(in_holes), axis=0)
    for copy, values in zip(copies, in_holes, strict=True):
        copy[holes] = values
    return copies


class _Source(NamedTuple):
    """Where the depth of each hole is taken from; all of shape [N]."""

    place: Holes
    exists: Mask
    distance: Floats


def _nearest(known: Mask, holes: Holes) -> _Source:
    import cv2

    distance, labels = cv2.distanceTransformWithLabels(
        (~known).astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    pixel = np.zeros(labels.max() + 1, np.intp)
    pixel[labels[known]] = np.flatnonzero(known)
    rows, columns = np.divmod(pixel[labels[holes]], known.shape[1])
    return _Source((rows, columns), np.ones(len(rows), np.bool_), np.asarray(distance[holes], np.float32))


def _difference(rgb: Colours, source: _Source, holes: Holes) -> Floats:
    there, here = rgb[source.place].astype(np.int16), rgb[holes].astype(np.int16)
    return np.where(source.exists, np.abs(there - here).sum(axis=1, dtype=np.float32) / (3 * 255), np.float32(1))


def _sides(known: Mask, holes: Holes, *, axis: int) -> tuple[_Source, _Source]:
    """The first known pixels before and after each hole along `axis`."""
    size = known.shape[axis]
    places = np.arange(size, dtype=np.int32)[:, None] if axis == 0 else np.arange(size, dtype=np.int32)
    last = np.maximum.accumulate(np.where(known, places, np.int32(-1)), axis=axis)[holes]
    reverse = np.flip(np.where(known, places, np.int32(size)), axis)
    following = np.flip(np.minimum.accumulate(reverse, axis=axis), axis)[holes]

    def source(place: Indices, exists: Mask) -> _Source:
        safe = np.where(exists, place, 0)
        distance = np.where(exists, np.abs(place - holes[axis]), np.inf).astype(np.float32)
        return _Source((safe, holes[1]) if axis == 0 else (holes[0], safe), exists, distance)

    return source(last, last >= 0), source(following, following < size)


def _between(before: Floats, after: Floats, back: Floats, ahead: Floats) -> Floats:
    """Linear between two sources at distances `back` and `ahead`; the one that there is where the other is missing."""
    finite = np.where(np.isfinite(back), back, np.float32(1))
    share = np.where(np.isfinite(back), finite / (finite + ahead), np.float32(1))
    return np.asarray(before + share * (after - before), np.float32)
