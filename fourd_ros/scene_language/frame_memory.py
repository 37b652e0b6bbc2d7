"""The last frames with language, as many as fit into a number of bytes."""

import threading
from collections import deque
from itertools import accumulate

import numpy as np

from fourd_ros.errors import InvalidParameter
from fourd_ros.scene_language.live_language import LiveFrame


class FrameMemory:
    """Frames in the order of their stamps; the oldest go first. Thread-safe.

    Args:
        max_bytes: of all frames. The newest one is kept whatever it takes.

    Raises:
        InvalidParameter: below zero.
    """

    def __init__(self, *, max_bytes: int) -> None:
        if max_bytes < 0:
            raise InvalidParameter(f"a memory of {max_bytes} bytes; needed is 0 or more")
        self._max_bytes = max_bytes
        self._frames: deque[LiveFrame] = deque()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._frames)

    @property
    def byte_count(self) -> int:
        """Memory that the frames take."""
        with self._lock:
            return sum(frame.byte_count for frame in self._frames)

    def add(self, frame: LiveFrame) -> None:
        """Remember a frame that is later than those before."""
        with self._lock:
            self._frames.append(frame)
            taken = list(accumulate(one.byte_count for one in reversed(self._frames)))
            fitting = sum(count <= self._max_bytes for count in taken)
            while len(self._frames) > max(1, fitting):
                self._frames.popleft()

    def clear(self) -> None:
        """Forget all: another world begins."""
        with self._lock:
            self._frames.clear()

    def between(self, begin_ns: int, end_ns: int, *, most: int) -> list[LiveFrame]:
        """Frames of a span of time, newest first.

        Args:
            begin_ns: not before it [ns].
            end_ns: not after it [ns].
            most: frames; of more the newest, the oldest, and others evenly between them (the newest alone for 1).
        """
        with self._lock:
            found = [frame for frame in self._frames if begin_ns <= frame.stamp_ns <= end_ns][::-1]
        if len(found) <= most:
            return found
        return [found[place] for place in np.linspace(0, len(found) - 1, most).round().astype(int)]

    def newest(self) -> LiveFrame | None:
        """The last one; None where nothing is remembered."""
        with self._lock:
            return self._frames[-1] if self._frames else None
