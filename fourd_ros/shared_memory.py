"""What processes that were killed have left in shared memory.

Fast DDS keeps a segment of 64 MiB (with our profile) for every participant and removes it when that ends. One that was
killed cannot, and its segment stays until somebody removes it or the machine starts anew. While its owner lives, the
file ``<segment>_el`` beside it is locked.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path("/dev/shm")
PREFIXES = ("fastdds_", "fastrtps_")
LOCK = "_el"


@dataclass(frozen=True, kw_only=True)
class LeftSegments:
    """Segments without an owner.

    Args:
        count: of them.
        size: that they take together [bytes].
    """

    count: int
    size: int


def left_segments(folder: Path = FOLDER, *, remove: bool = False) -> LeftSegments:
    """Segments whose owner is gone; those of other users are left alone.

    Args:
        folder: that holds them.
        remove: delete them too.
    """
    count = size = 0
    for lock in _locks(folder):
        segment = lock.with_name(lock.name.removesuffix(LOCK))
        with _unowned(lock) as free:
            if not free or not segment.exists():
                continue
            count, size = count + 1, size + segment.stat().st_blocks * 512
            if remove:
                segment.unlink(missing_ok=True)
                lock.unlink(missing_ok=True)
    return LeftSegments(count=count, size=size)


def _locks(folder: Path) -> list[Path]:
    return [path for prefix in PREFIXES for path in folder.glob(f"{prefix}*{LOCK}")]


@contextmanager
def _unowned(lock: Path) -> Iterator[bool]:
    """Whether nobody holds the lock; we do, meanwhile."""
    try:
        descriptor = os.open(lock, os.O_RDWR)
    except OSError:  # just gone, or somebody else's
        yield False
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        yield False
    else:
        yield True
    finally:
        os.close(descriptor)
