"""How far point tracks get in the image."""

import numpy as np
from numpy.typing import NDArray

__all__ = ["parallax"]

LEAST_FRAMES = 4


def parallax(positions: NDArray[np.floating], visible: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Largest distance between two visible positions of each track [px], 0 with fewer than four of them, shape [N].

    Args:
        positions: pixels (x, y), shape [F, N, 2].
        visible: shape [F, N].
    """
    longest = np.zeros(positions.shape[1])
    places = np.where(visible[..., None], positions, np.nan).astype(np.float64)
    for frame in range(1, len(places)):
        distance = np.linalg.norm(places[:frame] - places[frame], axis=-1)
        np.fmax(longest, np.fmax.reduce(distance, axis=0), out=longest)
    return np.where(visible.sum(axis=0) >= LEAST_FRAMES, longest, 0.0)
