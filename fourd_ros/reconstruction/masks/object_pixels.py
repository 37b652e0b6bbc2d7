"""Which pixels show an object: those of its mask, or what its points span, as far away as they are."""

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = ["ObjectPixels", "pixels_around", "pixels_of_mask"]

WIDER = 1.25
"""Points lie within an object's outline; its pixels are looked for in their hull, so much larger."""

DEEPER = 0.5
"""Pixels of the object are nearer or farther than its points by this share of the width of the hull at most."""


@dataclass(frozen=True, kw_only=True)
class ObjectPixels:
    """Pixels of an object within a rectangle.

    Args:
        left: first column of the rectangle.
        top: first row.
        mask: shape [h, w].
    """

    left: int
    top: int
    mask: NDArray[np.bool_]

    @property
    def count(self) -> int:
        """Pixels."""
        return int(self.mask.sum())

    def places(self, most: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Rows and columns in the image, evenly thinned to `most`."""
        rows, columns = np.nonzero(self.mask)
        step = -(-len(rows) // most) if len(rows) else 1
        return rows[::step] + self.top, columns[::step] + self.left

    def mark(self, image: NDArray[Any], value: int = 1) -> None:
        """Set the object's pixels in an image [H, W]."""
        height, width = self.mask.shape
        image[self.top : self.top + height, self.left : self.left + width][self.mask] = value


def pixels_around(
    positions: NDArray[np.float64],
    distance: NDArray[np.float64],
    depth: NDArray[np.float32] | None,
    *,
    focal: float,
    size: tuple[int, int],
) -> ObjectPixels:
    """What the points of an object span.

    Args:
        positions: of its points in the picture [px], shape [n, 2], n > 2.
        distance: their z-depth [m], shape [n].
        depth: of the frame [m], NaN where unknown, shape [H, W]; None where there is none.
        focal: length [px].
        size: of the picture, height and width.
    """
    hull = cv2.convexHull(positions.astype(np.float32))[:, 0]
    middle = hull.mean(axis=0)
    hull = middle + WIDER * (hull - middle)
    edge = np.array([size[1] - 1, size[0] - 1])
    low, high = (np.clip(part, 0, edge).astype(np.int64) for part in (hull.min(axis=0), np.ceil(hull.max(axis=0))))
    mask = np.zeros((high[1] - low[1] + 1, high[0] - low[0] + 1), np.uint8)
    cv2.fillConvexPoly(mask, np.rint(hull - low).astype(np.int32), 1)
    inside = mask > 0
    if depth is not None:
        there = depth[low[1] : high[1] + 1, low[0] : high[0] + 1]
        room = DEEPER * float((hull.max(axis=0) - hull.min(axis=0)).max()) / focal * float(np.median(distance))
        with np.errstate(invalid="ignore"):
            inside &= (there > distance.min() - room) & (there < distance.max() + room)
    return ObjectPixels(left=int(low[0]), top=int(low[1]), mask=inside)


def pixels_of_mask(masks: NDArray[np.integer], number: int) -> ObjectPixels:
    """The pixels with a number."""
    mask = np.asarray(masks == number)
    if not mask.any():
        return ObjectPixels(left=0, top=0, mask=np.zeros((1, 1), bool))
    left, top, width, height = cv2.boundingRect(mask.astype(np.uint8))
    return ObjectPixels(left=left, top=top, mask=mask[top : top + height, left : left + width])
