"""The newest frames of a camera, as many as are kept, until somebody asks about them."""

import threading
from collections import deque

from fourd_ros.errors import InvalidTime, NoObservation, TooLarge
from fourd_ros.nodes.camera_frames import CameraFrame

__all__ = ["FrameRing"]


class FrameRing:
    """Thread-safe. Frames are kept as messages, so that those nobody asks about cost nothing but memory.

    Args:
        most: frames.
        period: least time between two of them [s].
    """

    def __init__(self, *, most: int, period: float) -> None:
        self._period_ns = round(period * 1e9)
        self._frames: deque[CameraFrame] = deque(maxlen=most)
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._frames)

    def add(self, frame: CameraFrame) -> None:
        """Keep a frame, unless it comes too soon after the last one."""
        with self._lock:
            if not self._frames or frame.stamp_ns - self._frames[-1].stamp_ns >= self._period_ns:
                self._frames.append(frame)

    def clear(self) -> None:
        """Forget all frames."""
        with self._lock:
            self._frames.clear()

    def newest(self, count: int) -> list[CameraFrame]:
        """The last frames, fewer where there are not so many.

        Raises:
            TooLarge: more than are ever kept.
            NoObservation: there is none.
        """
        with self._lock:
            frames = list(self._frames)
        if count > (most := self._frames.maxlen or 0):
            raise TooLarge(f"the last {count} frames; {most} are kept, see the parameter kept_frames")
        if not frames:
            raise NoObservation("no frame has come yet; are the camera, its camera_info, depth and masks published?")
        return frames[-count:]

    def between(self, begin_ns: int, end_ns: int) -> list[CameraFrame]:
        """The frames of a time, both ends included.

        Args:
            begin_ns: [ns].
            end_ns: [ns]; 0 for now.

        Raises:
            InvalidTime: it ends before it begins.
            NoObservation: nothing is kept of that time.
        """
        if end_ns and end_ns < begin_ns:
            raise InvalidTime(f"from {begin_ns / 1e9:.3f} s to {end_ns / 1e9:.3f} s is no time")
        with self._lock:
            frames = list(self._frames)
        found = [one for one in frames if begin_ns <= one.stamp_ns and (not end_ns or one.stamp_ns <= end_ns)]
        if not found:
            kept = f"{frames[0].stamp_ns / 1e9:.3f} to {frames[-1].stamp_ns / 1e9:.3f} s" if frames else "none"
            raise NoObservation(f"no frame of that time; those that are kept: {kept}")
        return found
