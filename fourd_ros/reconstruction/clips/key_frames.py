"""Key frames: those where most moves, some frames apart from each other (section 2 of the specification).

A pair of frames ``i -> i + 1`` has a score, a statistic of the length of its optical flow, and stands for frame ``i``;
so the last frame of a clip is never a key frame.
"""

from collections import deque
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fourd_ros.errors import InvalidParameter

FloatArray = NDArray[np.float64]

STATISTICS = ("mean", "median", "percentile_75", "percentile_90", "percentile_95", "max")
"""Columns of `motion_statistics`."""

METRIC = "percentile_90"
"""The one that decides unless another is asked for."""

SHARE, GAP = 0.3, 3

_PERCENTILES = (50, 75, 90, 95)


def motion_statistics(flow: NDArray[np.floating[Any]]) -> FloatArray:
    """Statistics of the length of optical flow [px].

    Args:
        flow: (x, y) of every pixel [px], shape [*, H, W, 2].

    Returns:
        Columns `STATISTICS`, shape [*, 6]; NaN where the flow has a NaN.
    """
    length = np.linalg.norm(flow, axis=-1).reshape(*flow.shape[:-3], -1)
    percentiles = np.percentile(length, _PERCENTILES, axis=-1)
    rows = [length.mean(axis=-1, dtype=np.float64), *percentiles, length.max(axis=-1)]
    return np.stack(rows, axis=-1).astype(np.float64)


def select_key_frames(scores: FloatArray, *, count: int, gap: int) -> NDArray[np.int64]:
    """The greedy choice: highest score first, earlier frames first among equals, none nearer than `gap` to another.

    Args:
        scores: of the pairs, NaN for those that must not be chosen, shape [F - 1].
        count: of frames that are wanted; there may be fewer.
        gap: least difference of two chosen frames.

    Returns:
        Frames, ascending.

    Raises:
        InvalidParameter: no frame is wanted, or the gap is not positive.
    """
    if count < 1 or gap < 1:
        raise InvalidParameter(f"{count} frames, {gap} apart; needed is at least one of both")
    chosen: list[int] = []
    for frame in np.argsort(-scores, kind="stable").tolist():
        if len(chosen) == count or np.isnan(scores[frame]):
            break
        if all(abs(frame - other) >= gap for other in chosen):
            chosen.append(frame)
    return np.array(sorted(chosen), np.int64)


def select_share(scores: FloatArray, *, share: float = SHARE, gap: int = GAP) -> NDArray[np.int64]:
    """A share of the frames of a clip, by the greedy choice; the gap shrinks where it leaves no room for them.

    Args:
        scores: of the pairs, shape [F - 1].
        share: of the F frames, above 0 and at most 1.
        gap: least difference of two chosen frames, where there is room.

    Returns:
        Frames, ascending; none of a clip of one frame.

    Raises:
        InvalidParameter: no such share, or the gap is not positive.
    """
    if not 0 < share <= 1 or gap < 1:
        raise InvalidParameter(f"a share of {share:g}, {gap} apart; needed is a share up to 1, at least one apart")
    frames = len(scores) + 1
    count = max(1, int(frames * share))
    if count > frames // (gap + 1) + 1:
        gap = max(1, (frames - 1) // count)
    return select_key_frames(scores, count=count, gap=gap)


class LiveKeyFrames:
    """The same for a stream: a frame is a key frame when what moves is much by what moved lately.

    Args:
        share: of the frames, about; the score must reach the percentile of the recent scores that it leaves above.
        gap: least number of frames from one key frame to the next; it makes the share smaller where much moves at once.
        history: number of recent scores.

    Raises:
        InvalidParameter: no such share, gap or history.
    """

    def __init__(self, *, share: float = SHARE, gap: int = GAP, history: int = 300) -> None:
        if not 0 < share <= 1 or gap < 1 or history < 1:
            raise InvalidParameter(
                f"a share of {share:g}, {gap} apart, of {history} scores; needed is a share up to 1 and at least one"
            )
        self._percentile, self._gap = 100 * (1 - share), gap
        self._scores: deque[float] = deque(maxlen=history)
        self._since = gap

    def offer(self, score: float) -> bool:
        """Whether the next frame is a key frame, by the score of the pair that it ends; NaN never is."""
        self._since += 1
        if np.isnan(score):
            return False
        self._scores.append(score)
        if self._since < self._gap or score < np.percentile(self._scores, self._percentile):
            return False
        self._since = 0
        return True

    def clear(self) -> None:
        """Forget the past, as after a jump of the clock."""
        self._scores.clear()
        self._since = self._gap
