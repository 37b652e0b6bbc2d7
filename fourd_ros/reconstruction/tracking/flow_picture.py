"""Optical flow as a picture: the direction is a colour, the length its strength."""

import math
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray


def flow_picture(flow: NDArray[np.floating[Any]]) -> NDArray[np.uint8]:
    """Hue for the direction, saturation for the length up to the longest; white where nothing moves.

    Args:
        flow: (x, y) [px], NaN where unknown, shape [H, W, 2].

    Returns:
        RGB, black where unknown, shape [H, W, 3].
    """
    known = np.isfinite(flow).all(axis=-1)
    x, y = (np.where(known, flow[..., axis], 0.0) for axis in (0, 1))
    length, angle = np.hypot(x, y), np.arctan2(y, x) % (2 * math.pi)
    hue = angle * (180 / (2 * math.pi))
    strength = 255 * length / max(float(length.max(initial=0.0)), 1e-6)
    hsv = np.stack([hue, strength, np.where(known, 255.0, 0.0)], axis=-1).astype(np.uint8)
    return np.asarray(cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB), np.uint8)
