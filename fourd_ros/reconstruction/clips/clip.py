"""A clip: the frames of a video with what else is known of them."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fourd_ros.errors import InvalidClip
from fourd_ros.geometry.camera import PinholeCamera

__all__ = ["Clip"]


@dataclass(frozen=True, kw_only=True)
class Clip:
    """F frames of one camera.

    Args:
        name: of the scene, fit for a file name.
        rgb: colour, shape [F, H, W, 3], uint8.
        stamps_ns: acquisition times [ns], strictly increasing, shape [F], int64.
        camera: calibration where one is known.
        depth: z-depth [m], NaN where unknown, shape [F, H, W], float32, where there is any.
        masks: which moving object a pixel shows, 0 none, the same number for the same object in all
            frames, shape [F, H, W], int32, where somebody segmented the video.

    Raises:
        InvalidClip: no frame, shapes that contradict each other, or stamps that do not increase.
    """

    name: str
    rgb: NDArray[np.uint8]
    stamps_ns: NDArray[np.int64]
    camera: PinholeCamera | None = None
    depth: NDArray[np.float32] | None = None
    masks: NDArray[np.int32] | None = None

    def __post_init__(self) -> None:
        if self.rgb.ndim != 4 or self.rgb.shape[3] != 3 or self.rgb.dtype != np.uint8 or not len(self.rgb):
            raise InvalidClip(f"rgb is {self.rgb.dtype} {list(self.rgb.shape)}, needed uint8 [frames, H, W, 3]")
        size = self.rgb.shape[:3]
        for name, array in (("depth", self.depth), ("masks", self.masks)):
            if array is not None and array.shape != size:
                raise InvalidClip(f"{name} has shape {list(array.shape)}, needed {list(size)} as the colour has")
        if self.stamps_ns.shape != size[:1] or (np.diff(self.stamps_ns) <= 0).any():
            raise InvalidClip(f"{size[0]} frames need as many stamps, strictly increasing")
        if self.camera is not None and (self.camera.height, self.camera.width) != size[1:]:
            given = f"{self.camera.width} x {self.camera.height}"
            raise InvalidClip(f"the calibration is of {given} pixels, the frames have {size[2]} x {size[1]}")

    @property
    def frames(self) -> int:
        """Number of frames F."""
        return len(self.rgb)

    @property
    def width(self) -> int:
        """Of a frame [px]."""
        return int(self.rgb.shape[2])

    @property
    def height(self) -> int:
        """Of a frame [px]."""
        return int(self.rgb.shape[1])
