"""Where small pictures went, however far: a start for finer searches."""

import numpy as np
from numpy.typing import NDArray

from fourd_ros.reconstruction.tracking.flow import DisFlow

__all__ = ["LargeMotion"]

HALVINGS = 2
"""A common shift needs no fine picture."""

LEAST_RESPONSE = 0.25
"""Share of the pictures' power that a common shift must explain, or there is none."""

LARGE = 0.05
"""A smaller shift is found without help, in widths of the picture."""


class LargeMotion:
    """Flow that begins with the shift that most of the picture has in common."""

    def __init__(self) -> None:
        self._flow = DisFlow("ultrafast")

    def __call__(self, first: NDArray[np.uint8], second: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Flow between two grey pictures [H, W], uint8, shape [H, W, 2]."""
        shift = _common_shift(first, second)
        start = None if np.abs(shift).max() < LARGE * first.shape[1] else shift
        return self._flow.of_grey(first, second, start=start)


def _common_shift(first: NDArray[np.uint8], second: NDArray[np.uint8]) -> NDArray[np.float32]:
    """(dx, dy) [px], zero where there is none.

    Source: phase correlation, Kuglin and Hines 1975.
    """
    import cv2

    height, width = first.shape
    size = width // HALVINGS, height // HALVINGS
    before, after = (
        np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.float32) for picture in (first, second)
    )
    shift, response = cv2.phaseCorrelate(before, after, cv2.createHanningWindow(size, cv2.CV_32F))
    if not response > LEAST_RESPONSE:
        return np.zeros(2, np.float32)
    return np.asarray(np.multiply(shift, np.divide((width, height), size)), np.float32)
