"""Where the world of a stream lies in a frame that others know, in metres as far as they are known."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fourd_ros.geometry.transforms import apply, from_parts
from fourd_ros.scene_language.live_language import LiveFrame
from fourd_ros.scene_language.metric_scale import FloatArray, MetricScale

UNSCALED = "_unscaled"
"""What is put behind the name of a frame whose unit is not the metre."""


@dataclass(frozen=True, kw_only=True)
class Placement:
    """A frame for poses and points of a stream.

    Args:
        name: of the frame.
        unit: its lengths in one unit of the stream: metres, or 1 where they are not known.
        T_frame_world: of the first camera, shape [4, 4].
        is_metric: whether lengths are metres.
    """

    name: str
    unit: float
    T_frame_world: FloatArray
    is_metric: bool

    @classmethod
    def of(cls, name: str, T_frame_world: FloatArray, scale: MetricScale) -> "Placement":
        """In metres; where they are not known, in a frame with the same axes and its origin in the first camera.

        Args:
            name: of the frame in metres; the other one is called by it and `UNSCALED`.
            T_frame_world: where the first camera is [m], shape [4, 4].
            scale: of the stream.
        """
        if scale.is_known:
            return cls(name=name, unit=scale.metres, T_frame_world=T_frame_world, is_metric=True)
        turn = from_parts(T_frame_world[:3, :3], np.zeros(3))
        return cls(name=name + UNSCALED, unit=1.0, T_frame_world=turn, is_metric=False)

    def camera_pose(self, frame: LiveFrame) -> FloatArray:
        """``T_frame_camera`` of a frame of the stream, shape [4, 4]."""
        T_world_camera = frame.T_world_camera.copy()
        T_world_camera[:3, 3] *= self.unit
        return self.T_frame_world @ T_world_camera

    def points(self, frame: LiveFrame) -> NDArray[np.float32]:
        """What every pixel shows, shape [h, w, 3]."""
        placed = apply(self.T_frame_world, (frame.points() * np.float32(self.unit)).reshape(-1, 3))
        return placed.reshape(*frame.depth.shape, 3).astype(np.float32)
