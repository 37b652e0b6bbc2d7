"""Flow as colour: direction is hue, length is saturation."""

import numpy as np
from numpy.typing import NDArray

__all__ = ["flow_picture"]

FULL_QUANTILE = 0.99
LEAST_LENGTH = 1e-3


def flow_picture(flow: NDArray[np.float32], *, longest: float | None = None) -> NDArray[np.uint8]:
    """A picture of a flow field.

    Args:
        flow: (dx, dy) [px], NaN where unknown, shape [H, W, 2].
        longest: length that gets full colour [px]; None for the 99th percentile of this field.

    Returns:
        Colour, white where nothing moves, black where unknown; right is red and down is yellow-green, shape [H, W, 3].
    """
    import cv2

    length = np.hypot(flow[..., 0], flow[..., 1])
    known = np.isfinite(length)
    if longest is None:
        longest = float(np.quantile(length[known], FULL_QUANTILE)) if known.any() else LEAST_LENGTH
    angle = np.degrees(np.arctan2(flow[..., 1], flow[..., 0])) % 360
    saturation = np.clip(length / max(longest, LEAST_LENGTH), 0, 1)
    hsv = np.stack([angle, saturation, np.ones_like(length)], axis=-1).astype(np.float32)
    hsv[~known] = 0
    return np.asarray(np.rint(255 * cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)), np.uint8)
