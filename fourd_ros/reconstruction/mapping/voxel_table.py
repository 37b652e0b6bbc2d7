"""Which row of a table a voxel has: many voxels looked up and entered at once."""

import numpy as np
from numpy.typing import NDArray

__all__ = ["VoxelTable"]

Keys = NDArray[np.int64]

_EMPTY = -1
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
"""2^64 over the golden ratio: products with it spread keys that lie side by side (Knuth, volume 3, section 6.4)."""


class VoxelTable:
    """Open addressing with linear probing; all keys of a call take a step at a time.

    Args:
        capacity: voxels at most; the table is at most half full.
    """

    def __init__(self, capacity: int) -> None:
        bits = max(4, (2 * capacity - 1).bit_length())
        self._shift, self._mask = np.uint64(64 - bits), (1 << bits) - 1
        self._keys = np.full(1 << bits, _EMPTY, np.int64)
        self._rows = np.zeros(1 << bits, np.int32)

    def find(self, keys: Keys) -> NDArray[np.int32]:
        """Rows of voxels, -1 for those without one, shape [n]."""
        slots, rows = self._first_slots(keys), np.full(len(keys), -1, np.int32)
        left = np.arange(len(keys))
        while len(left):
            found = self._keys[slots]
            same = found == keys[left]
            rows[left[same]] = self._rows[slots[same]]
            going = ~same & (found != _EMPTY)
            left, slots = left[going], (slots[going] + 1) & self._mask
        return rows

    def add(self, keys: Keys, rows: NDArray[np.int32]) -> None:
        """Enter voxels, each once and none that is there."""
        slots, left = self._first_slots(keys), np.arange(len(keys))
        while len(left):
            free = self._keys[slots] == _EMPTY
            self._keys[slots[free]] = keys[left[free]]
            mine = self._keys[slots] == keys[left]  # of several that want a slot, one gets it
            self._rows[slots[mine]] = rows[left[mine]]
            left, slots = left[~mine], (slots[~mine] + 1) & self._mask

    def rebuild(self, keys: Keys) -> None:
        """Hold these and nothing else, in rows 0, 1, ..."""
        self._keys.fill(_EMPTY)
        self.add(keys, np.arange(len(keys), dtype=np.int32))

    def _first_slots(self, keys: Keys) -> NDArray[np.int64]:
        return ((keys.astype(np.uint64) * _GOLDEN) >> self._shift).astype(np.int64)
