"""What of a frame is needed to follow points into it."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fourd_ros.reconstruction.tracking.flow import grey
from fourd_ros.reconstruction.tracking.patch_alignment import prepared

__all__ = ["TrackedPicture"]

SMALL_SIDE = 320
"""Longer side of the picture in which large motions are looked for [px]."""

LEAST_SMALL_SIDE = 12
"""However thin the picture is [px]."""

USUAL_MEAN, USUAL_DEVIATION = 128.0, 48.0
LEAST_DEVIATION = 4.0
"""A frame with less contrast is not amplified further [grey levels]."""


@dataclass(frozen=True, kw_only=True)
class TrackedPicture:
    """A frame.

    Args:
        colour: as patches are sampled from it, shape [H, W, 3], float32.
        grey: with usual mean and contrast, so that exposure does not look like motion, shape [H, W], uint8.
        small: the same at most `SMALL_SIDE` long.
    """

    colour: NDArray[np.float32]
    grey: NDArray[np.uint8]
    small: NDArray[np.uint8]

    @staticmethod
    def of(rgb: NDArray[np.uint8]) -> "TrackedPicture":
        """The frame with colour [H, W, 3], uint8.

        Raises:
            InvalidImage: no colour picture, or one too small.
        """
        import cv2

        raw = grey(rgb)
        mean, deviation = (float(value[0, 0]) for value in cv2.meanStdDev(raw))
        gain = USUAL_DEVIATION / max(deviation, LEAST_DEVIATION)
        levels = np.rint(np.arange(256) * gain + (USUAL_MEAN - gain * mean)).clip(0, 255).astype(np.uint8)
        usual = cv2.LUT(raw, levels)
        shrink = max(1.0, max(raw.shape) / SMALL_SIDE)
        size = tuple(max(LEAST_SMALL_SIDE, round(side / shrink)) for side in raw.shape[::-1])
        small = cv2.resize(usual, size, interpolation=cv2.INTER_AREA)
        return TrackedPicture(colour=prepared(rgb), grey=np.asarray(usual, np.uint8), small=np.asarray(small, np.uint8))

    @property
    def size(self) -> tuple[int, int]:
        """Height and width [px]."""
        return self.grey.shape[0], self.grey.shape[1]
