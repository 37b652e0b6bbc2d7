"""What the C allocator does with the buffers of images and clouds once they are free."""

import ctypes
from functools import cache

M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD, M_MMAP_MAX = -1, -2, -3, -4
"""Parameters of glibc's ``mallopt``."""

LARGEST_REUSED = 32 << 20
"""Buffers up to this size are reused (the most that glibc allows) [bytes]."""

KEPT = 256 << 20
"""Free memory beyond this goes back to the system at once [bytes]."""

MOST = 2**31 - 1
"""The largest number that ``mallopt`` takes."""


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


@cache
def keep_everything() -> bool:
    """Reuse buffers of any size and give nothing back, for processes that do the same over and over; once a process.
    False where the C library cannot.

    A step of training frees and takes hundreds of megabytes; fresh pages for them can cost it more than all arithmetic,
    most of all in a virtual machine that lets its host have what is free.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    settings = ((M_MMAP_MAX, 0), (M_TRIM_THRESHOLD, MOST), (M_TOP_PAD, KEPT))
    return sum(mallopt(name, value) for name, value in settings) == len(settings)


def give_back_buffers() -> None:
    """Return what is free to the system."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
