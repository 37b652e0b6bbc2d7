"""The metric scale of a stream, read from what some of its frames know of metres."""

from collections import deque

import numpy as np
from numpy.typing import NDArray

from fourd_ros.errors import InvalidParameter
from fourd_ros.scene_language.metric_scale import (
    UNKNOWN,
    FloatArray,
    MetricScale,
    scale_from_baselines,
    scale_from_depth,
)

FRAMES = 50
"""Frames whose depth counts."""

BASELINES = 100
"""Cameras beside the first one whose place counts."""


class RunningScale:
    """Metres in the unit of a stream: from measured depth where there ever was any, else from known places of cameras.

    Args:
        assumed: metres in a unit while nobody measured; 0 for none.

    Raises:
        InvalidParameter: below zero, or not finite.
    """

    def __init__(self, *, assumed: float = 0.0) -> None:
        if not 0 <= assumed < float("inf"):
            raise InvalidParameter(f"an assumed scale of {assumed} m; needed is 0 for none, or more")
        self._assumed = MetricScale(metres=assumed, spread=float("nan"), source="assumed") if assumed else UNKNOWN
        self.forget()

    def forget(self) -> None:
        """Another stream begins, whose unit is another one."""
        self._depths: deque[float] = deque(maxlen=FRAMES)
        self._first: tuple[FloatArray, FloatArray] | None = None
        self._later: deque[tuple[FloatArray, FloatArray]] = deque(maxlen=BASELINES)

    def see_depth(
        self,
        predicted: NDArray[np.floating],
        measured: NDArray[np.floating],
        *,
        confidence: NDArray[np.floating] | None = None,
    ) -> None:
        """A frame with measured depth; arguments as of `scale_from_depth`."""
        scale = scale_from_depth(predicted, measured, confidence=confidence)
        if scale.is_known:
            self._depths.append(scale.metres)

    def see_place(self, T_camera_world: FloatArray, T_root_camera: FloatArray) -> None:
        """A camera whose place is known.

        Args:
            T_camera_world: predicted, in the unit of the stream, shape [4, 4].
            T_root_camera: in any frame that stands still [m], shape [4, 4].
        """
        if self._first is None:
            self._first = T_camera_world, T_root_camera
        else:
            self._later.append((T_camera_world, T_root_camera))

    @property
    def now(self) -> MetricScale:
        """Of all that was seen lately."""
        if self._depths:
            low, middle, high = np.percentile(self._depths, (25, 50, 75))
            return MetricScale(metres=float(middle), spread=float((high - low) / 2 / middle), source="depth")
        if self._first is not None and self._later:
            predicted, known = (np.stack(poses) for poses in zip(self._first, *self._later, strict=True))
            scale = scale_from_baselines(predicted, known)
            if scale.is_known:
                return scale
        return self._assumed
