"""Pictures, depth and masks in another size."""

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

__all__ = ["fitting_size", "nearest", "shrunk"]

Value = TypeVar("Value", bound=np.generic)


def fitting_size(width: int, height: int, max_side: int) -> tuple[int, int]:
    """Width and height at most `max_side`, in the same proportion; never larger than they were [px]."""
    scale = min(1.0, max_side / max(width, height))
    return max(1, round(width * scale)), max(1, round(height * scale))


def shrunk(rgb: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """Colour [H, W, 3] in a smaller `size` (width, height); pixels are means of those that they cover."""
    import cv2

    if rgb.shape[1::-1] == size:
        return rgb
    return np.asarray(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA), np.uint8)


def nearest(values: NDArray[Value], size: tuple[int, int]) -> NDArray[Value]:
    """Values [*, H, W] in another `size` (width, height); each is that of the nearest pixel, so none are made up."""
    width, height = size
    rows = ((np.arange(height) + 0.5) * (values.shape[-2] / height)).astype(np.int64)
    columns = ((np.arange(width) + 0.5) * (values.shape[-1] / width)).astype(np.int64)
    return values[..., rows[:, None], columns]
