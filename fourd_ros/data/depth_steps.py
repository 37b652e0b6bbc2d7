"""Depth as whole numbers: steps of 0.1 mm in uint16, 0 meaning unknown, the same in every file of episodes."""

from functools import cache

import numpy as np
from numpy.typing import NDArray

DEPTH_STEP = 1e-4
"""Metres a step; what lies farther than 65535 of them is kept as unknown."""

_FARTHEST = np.iinfo(np.uint16).max


def to_steps(depth: NDArray[np.float32]) -> NDArray[np.uint16]:
    """Depth [m], NaN where unknown, to the nearest step; 0 where it is unknown, not positive, or too far."""
    steps = np.rint(depth / np.float32(DEPTH_STEP))
    known = (steps > 0) & (steps <= _FARTHEST)
    return np.where(known, steps, 0).astype(np.uint16)


def to_metres(steps: NDArray[np.uint16]) -> NDArray[np.float32]:
    """Depth [m], NaN where unknown, of the same shape."""
    return np.take(_metres_by_step(), steps)


@cache
def _metres_by_step() -> NDArray[np.float32]:
    """Looking a value up takes half the time of computing it."""
    table = np.arange(_FARTHEST + 1, dtype=np.float32) * np.float32(DEPTH_STEP)
    table[0] = np.nan
    table.setflags(write=False)
    return table
