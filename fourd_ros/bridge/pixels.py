"""What raw and compressed images have in common: bounds on their size and the meaning of depth values."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fourd_ros.errors import ImageTooLarge, InvalidImage

MAX_PIXELS = 4096 * 4096
MILLIMETRE = np.float32(1e-3)


def check_pixels(width: int, height: int, max_pixels: int) -> None:
    """Refuse an image size before anything is allocated for it.

    Raises:
        InvalidImage: no pixels at all.
        ImageTooLarge: more than `max_pixels`.
    """
    if width < 1 or height < 1:
        raise InvalidImage(f"image of {width} x {height} pixels; both must be positive")
    if width * height > max_pixels:
        raise ImageTooLarge(
            f"image of {width} x {height} pixels exceeds the bound of {max_pixels}; send smaller ones (max_pixels)"
        )


def metres(depth: NDArray[Any]) -> NDArray[np.float32]:
    """Raw depth -> float32 [m] with NaN where unknown (REP 118), a copy.

    Integers are millimetres with 0 for unknown; floats are metres, of which only positive finite ones are known.
    """
    scaled: NDArray[np.float32]
    if np.issubdtype(depth.dtype, np.integer):
        scaled = np.multiply(depth, MILLIMETRE, dtype=np.float32)
    else:
        scaled = depth.astype(np.float32)
    scaled[~((scaled > 0) & (scaled < np.inf))] = np.nan
    return scaled
