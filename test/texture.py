"""Pictures with enough texture to follow."""

import cv2
import numpy as np


def texture(height: int, width: int, *, seed: int = 0) -> np.ndarray:
    """Smooth noise of several scales, shape [height, width, 3], uint8."""
    rng = np.random.default_rng(seed)
    total = np.zeros((height, width, 3))
    for step in (4, 8, 16, 48, 96):
        coarse = rng.uniform(-1, 1, (height // step + 2, width // step + 2, 3))
        total += cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    return np.clip(127 + 40 * total, 0, 255).astype(np.uint8)


def shifted(picture: np.ndarray, dx: float, dy: float) -> np.ndarray:
    """The picture after everything went by (dx, dy) [px]; the border is repeated."""
    move = np.float32([[1, 0, dx], [0, 1, dy]])
    size = picture.shape[1], picture.shape[0]
    return cv2.warpAffine(picture, move, size, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
