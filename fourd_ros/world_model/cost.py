"""What an answer costs on this machine."""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy.optimize import nnls

from fourd_ros.records import FloatArray

USUAL_PERCENTILE = 75.0

REHEARSAL_WEIGHT = 4
"""A rehearsal counts like this many answers, so that one slow answer does not put a rung out of reach for good."""

LEANING = 1e-3
"""How much a cost is taken for one of pixels as long as measurements leave that open."""


@dataclass(frozen=True, kw_only=True)
class Workload:
    """How much a question asks for.

    Args:
        videos: candidates x samples x views.
        pixels: of all frames of all videos.
    """

    videos: int
    pixels: int

    @property
    def parts(self) -> FloatArray:
        """What costs something: the question, its videos, their pixels in millions, shape [3]."""
        return np.array([1.0, self.videos, 1e-6 * self.pixels])


USUAL_WORK = Workload(videos=1, pixels=16 * 128 * 128)
"""16 frames of one small camera."""


class MeasuredCost:
    """Seconds for a question, for each of its videos and for each of their pixels.

    The three are learned from a rehearsal; without one, all is taken to be spent on pixels as declared. How far that
    is off is learned from answers: what most of the recent ones took at most. An upper quartile rather than the
    slowest one: the first answer after start-up is slow and says little.

    Args:
        declared: seconds per million pixels.
        memory: how many answers are remembered.
    """

    def __init__(self, declared: float, *, memory: int = 16) -> None:
        self._seconds = np.array([0.0, 0.0, declared])
        self._ratios: deque[float] = deque(maxlen=memory)
        self.is_rehearsed = False

    def rehearse(self, measured: Mapping[Workload, float]) -> None:
        """Learn from questions of different kinds, and forget answers of before.

        Args:
            measured: seconds by what was asked for.
        """
        seconds = np.array(list(measured.values()))
        parts = np.stack([work.parts for work in measured])
        # Relative errors, and a slight dislike of everything but pixels.
        scale = parts.mean(axis=0) / seconds.mean()
        rows = np.concatenate([parts / seconds[:, None], LEANING * np.diag(scale)[:2]])
        self._seconds, _ = nnls(rows, np.concatenate([np.ones(len(seconds)), np.zeros(2)]))
        self._ratios.clear()
        self._ratios.extend([1.0] * REHEARSAL_WEIGHT)
        self.is_rehearsed = True

    def record(self, work: Workload, seconds: float) -> None:
        """Learn from an answer."""
        self._ratios.append(seconds / float(work.parts @ self._seconds))

    def estimate(self, work: Workload) -> float:
        """Expected wall time [s]."""
        usual = np.percentile(self._ratios, USUAL_PERCENTILE) if self._ratios else 1.0
        return float(usual * (work.parts @ self._seconds))
