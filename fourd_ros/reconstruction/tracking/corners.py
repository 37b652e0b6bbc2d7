"""Places worth following: corners, spread over the picture."""

import numpy as np
from numpy.typing import NDArray

__all__ = ["find_corners"]

BLOCK = 5
"""Pixels a side over which gradients are summed."""

LEAST_STRENGTH = 2e-4
"""Smaller eigenvalue of the gradients below which nothing can be told from its surroundings: about one grey level."""

BORDER = 3
"""No corner is so near to the border [px]."""


def find_corners(
    grey: NDArray[np.uint8],
    *,
    taken: NDArray[np.floating],
    wanted: int,
    allowed: NDArray[np.bool_] | None = None,
) -> NDArray[np.float64]:
    """The best corner of each cell of a grid that has no point yet.

    Args:
        grey: shape [H, W].
        taken: pixels (x, y) that have a point, shape [N, 2].
        wanted: points on the whole picture, those that are there included; sets the size of the cells.
        allowed: where corners may be, shape [H, W]; None for everywhere.

    Returns:
        Pixels (x, y), the strongest first, whole numbers, at least half a cell from what is taken, shape [n, 2].

    Source: Shi and Tomasi 1994, for what a corner is.
    """
    import cv2

    height, width = grey.shape
    room = wanted - len(taken)
    cell = max(2, int(np.sqrt(height * width / max(wanted, 1))))
    if room <= 0 or min(height, width) <= 2 * BORDER:
        return np.zeros((0, 2))
    strength = np.asarray(cv2.cornerMinEigenVal(grey, BLOCK), np.float32)
    strength[:BORDER] = strength[-BORDER:] = strength[:, :BORDER] = strength[:, -BORDER:] = 0
    strength[_near(taken, (height, width), cell // 2)] = 0
    if allowed is not None:
        strength[~allowed] = 0
    best, places = _best_of_cells(strength, cell)
    order = np.argsort(-best, kind="stable")[:room]
    return places[order[best[order] > LEAST_STRENGTH]]


def _near(taken: NDArray[np.floating], size: tuple[int, int], distance: int) -> NDArray[np.bool_]:
    import cv2

    marks = np.zeros(size, np.uint8)
    x, y = np.rint(taken).astype(np.int64).T
    inside = (x >= 0) & (x < size[1]) & (y >= 0) & (y < size[0])
    marks[y[inside], x[inside]] = 1
    return np.asarray(cv2.dilate(marks, np.ones((2 * distance + 1, 2 * distance + 1), np.uint8)) > 0)


def _best_of_cells(strength: NDArray[np.float32], cell: int) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Largest value of every cell, shape [cells], and its pixel (x, y), shape [cells, 2]."""
    height, width = strength.shape
    rows, columns = -(-height // cell), -(-width // cell)
    padded = np.zeros((rows * cell, columns * cell), np.float32)
    padded[:height, :width] = strength
    cells = padded.reshape(rows, cell, columns, cell).transpose(0, 2, 1, 3).reshape(rows * columns, cell * cell)
    winner = cells.argmax(axis=1)
    row, column = np.divmod(np.arange(rows * columns), columns)
    places = np.stack([column * cell + winner % cell, row * cell + winner // cell], axis=1)
    return cells[np.arange(len(cells)), winner], places.astype(np.float64)
