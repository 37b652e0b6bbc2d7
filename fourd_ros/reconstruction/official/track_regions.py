"""What of a video is surely static, surely moving, or neither, from masks of moving objects."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from fourd_ros.errors import InvalidClip

__all__ = ["BORDER", "EPIPOLAR", "MOVING_CORE", "STATIC_CORE", "Regions", "instances_of_colours", "regions_of"]

STATIC_CORE, MOVING_CORE, BORDER, EPIPOLAR = 0, 1, 2, 3
"""A pixel is well inside what is static, well inside what moves, near the edge, or moves by its epipolar error."""

_KERNEL = np.ones((4, 4), np.uint8)
_STATIC_EROSIONS, _MOVING_EROSIONS = 3, 2


@dataclass(frozen=True, kw_only=True)
class Regions:
    """Of F frames.

    Args:
        instances: which moving object a pixel shows, 0 none, shape [F, H, W], integers.
        of_masks: ``STATIC_CORE``, ``MOVING_CORE`` or ``BORDER``, from the masks alone, shape [F, H, W], uint8.
        of_tracks: the same with ``EPIPOLAR`` where that was found; what tracks are judged by.
    """

    instances: NDArray[np.integer]
    of_masks: NDArray[np.uint8]
    of_tracks: NDArray[np.uint8]


def instances_of_colours(colours: NDArray[np.uint8]) -> NDArray[np.int32]:
    """Numbers of objects from masks in colour, as DynamicVerse takes them: the rank of a colour in the whole clip.

    Objects are numbered in the order of ``R + 256 G + 65536 B``. Where no pixel of any frame is black, the object with
    the lowest colour becomes 0, which means none.

    Args:
        colours: shape [F, H, W, 3].

    Returns:
        Shape [F, H, W].
    """
    codes = colours.astype(np.int32) @ np.array([1, 256, 65536], np.int32)
    ranks = np.unique(codes, return_inverse=True)[1]
    return ranks.reshape(codes.shape).astype(np.int32)


def regions_of(instances: NDArray[np.integer], *, epipolar: NDArray[np.bool_] | None = None) -> Regions:
    """Regions of the frames of a clip. Source: specification of DynamicVerse, 6.1.

    Args:
        instances: which moving object a pixel shows, 0 none, shape [F, H, W].
        epipolar: pixels that move by their epipolar error, same shape.

    Raises:
        InvalidClip: shapes that do not fit together.
    """
    if instances.ndim != 3 or (epipolar is not None and epipolar.shape != instances.shape):
        given = "" if epipolar is None else f" and {list(epipolar.shape)}"
        raise InvalidClip(f"masks have shape {list(instances.shape)}{given}, needed [frames, H, W], the same for both")
    of_masks = np.stack([_cores(frame) for frame in instances])
    of_tracks = of_masks if epipolar is None else np.where(epipolar, np.uint8(EPIPOLAR), of_masks)
    return Regions(instances=instances, of_masks=of_masks, of_tracks=of_tracks)


def _cores(instances: NDArray[np.integer]) -> NDArray[np.uint8]:
    """Where neither what is static nor what moves is left after eroding, is the border."""
    static = cv2.erode((instances == 0).astype(np.uint8), _KERNEL, iterations=_STATIC_EROSIONS)
    moving = cv2.erode((instances != 0).astype(np.uint8), _KERNEL, iterations=_MOVING_EROSIONS)
    return np.where(static > 0, STATIC_CORE, np.where(moving > 0, MOVING_CORE, BORDER)).astype(np.uint8)
