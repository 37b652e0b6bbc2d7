"""What the C allocator does with the buffers of images and clouds once they are free."""

import ctypes
from functools import cache

M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD = -1, -2, -3
"""Parameters of glibc's ``mallopt``."""

LARGEST_REUSED = 32 << 20
"""Buffers up to this size are reused (the most that glibc allows) [bytes]."""

KEPT = 256 << 20
"""Free memory beyond this goes back to the system at once [bytes]."""


@cache
def reuse_buffers() -> bool:
    """Keep freed buffers for the next ones; once a process. False where the C library cannot.

    By default every buffer above 128 KiB is fresh pages from the system, and touching those takes longer than
    filling them: about a third of the time of an answer at 128 x 128 pixels.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    settings = ((M_MMAP_THRESHOLD, LARGEST_REUSED), (M_TRIM_THRESHOLD, KEPT), (M_TOP_PAD, LARGEST_REUSED))
    return sum(mallopt(name, value) for name, value in settings) == len(settings)


def give_back_buffers() -> None:
    """Return what is free to the system."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
