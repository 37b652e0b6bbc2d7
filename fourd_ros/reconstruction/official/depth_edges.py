"""Steps of depth images, where a pixel may lie between two surfaces."""

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = ["KEPT_PERCENTILE", "away_from_edges", "depth_slope"]

KEPT_PERCENTILE = 95.0


def depth_slope(depth: NDArray[np.floating]) -> NDArray[np.float64]:
    """Length of the 3 x 3 Sobel gradient, eight times the slope [m / px], shape [H, W]; NaN next to unknown depth."""
    image = depth.astype(np.float64)
    return np.hypot(cv2.Sobel(image, cv2.CV_64F, 1, 0, ksize=3), cv2.Sobel(image, cv2.CV_64F, 0, 1, ksize=3))


def away_from_edges(depth: NDArray[np.floating]) -> NDArray[np.bool_]:
    """All but the five steepest hundredths of the pixels of each image, shape [F, H, W]; False where unknown.

    Args:
        depth: z-depth [m], NaN where unknown, shape [F, H, W].
    """
    slopes = np.stack([depth_slope(frame) for frame in depth])
    kept = np.zeros(slopes.shape, np.bool_)
    for slope, keep in zip(slopes, kept, strict=True):
        known = np.isfinite(slope)
        if known.any():
            keep[known] = slope[known] < np.percentile(slope[known], KEPT_PERCENTILE)
    return kept
