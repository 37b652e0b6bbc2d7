"""Regions of a live picture that move by themselves, by dense flow between looks some frames apart."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from fourd_ros.geometry.camera import PinholeCamera
from fourd_ros.geometry.transforms import invert
from fourd_ros.reconstruction.tracking.flow import DisFlow, grey
from fourd_ros.reconstruction.tracking.residual_flow import moving_regions, static_flow

__all__ = ["LiveMotion", "MovingRegions"]

SIDE = 320
"""Longer side of the pictures that are compared [px]."""

LEAST, SHARE = 1.2, 0.2
"""Flow differs from that of a world at rest by this [px], and by this share of it, where something moves."""

NEARER = 0.05
"""What was nearer than expected by this share hid the pixel."""

LEAST_PIXELS = 40
MOST_REGIONS = 16


@dataclass(frozen=True, kw_only=True)
class MovingRegions:
    """What moves in a picture.

    Args:
        numbers: of the region at each pixel of the small picture, 0 for none, shape [h, w].
        scale: pixels of the large picture in one of the small one, x and y.
    """

    numbers: NDArray[np.int32]
    scale: tuple[float, float]

    @property
    def count(self) -> int:
        """Regions that are looked at."""
        return min(int(self.numbers.max(initial=0)), MOST_REGIONS)

    def at(self, positions: NDArray[np.float64]) -> NDArray[np.int32]:
        """Number of the region at pixels (x, y) of the large picture, shape [n]."""
        height, width = self.numbers.shape
        x, y = np.rint((positions + 0.5) / self.scale - 0.5).astype(np.int64).T
        return np.asarray(self.numbers[np.clip(y, 0, height - 1), np.clip(x, 0, width - 1)])

    def box(self, number: int) -> tuple[slice, slice]:
        """Rows and columns of the large picture that hold a region."""
        left, top, width, height = cv2.boundingRect((self.numbers == number).astype(np.uint8))
        x, y = self.scale
        return slice(int(top * y), int((top + height) * y)), slice(int(left * x), int((left + width) * x))

    def marks(self) -> NDArray[np.bool_]:
        """What moves in the large picture, with some pixels around it, shape [H, W]."""
        wider = cv2.dilate((self.numbers > 0).astype(np.uint8), np.ones((5, 5), np.uint8))
        height, width = self.numbers.shape
        size = round(width * self.scale[0]), round(height * self.scale[1])
        return np.asarray(np.asarray(cv2.resize(wider, size, interpolation=cv2.INTER_NEAREST)) > 0)


class LiveMotion:
    """Compares each picture that it is shown with the one before; needs depth.

    Args:
        camera: calibration.
    """

    def __init__(self, camera: PinholeCamera) -> None:
        shrink = max(1.0, max(camera.width, camera.height) / SIDE)
        self._size = round(camera.width / shrink), round(camera.height / shrink)
        self._camera = camera.scaled(*self._size)
        self._scale = camera.width / self._size[0], camera.height / self._size[1]
        self._flow = DisFlow("fast")
        self.clear()

    def clear(self) -> None:
        """Forget the picture before."""
        self._before: _Look | None = None

    def look(
        self, rgb: NDArray[np.uint8], depth: NDArray[np.float32], T_world_camera: NDArray[np.float64]
    ) -> MovingRegions:
        """What moved since the picture before.

        Args:
            rgb: colour, shape [H, W, 3].
            depth: z-depth [m], NaN where unknown, shape [H, W].
            T_world_camera: shape [4, 4].
        """
        now = _Look(
            picture=np.asarray(cv2.resize(grey(rgb), self._size, interpolation=cv2.INTER_AREA), np.uint8),
            depth=np.asarray(cv2.resize(depth, self._size, interpolation=cv2.INTER_NEAREST), np.float32),
            T_world_camera=T_world_camera.copy(),
        )
        before, self._before = self._before, now
        if before is None:
            return MovingRegions(numbers=np.zeros(now.picture.shape, np.int32), scale=self._scale)
        T_before_now = invert(before.T_world_camera) @ T_world_camera
        still = static_flow(now.depth, self._camera, T_before_now)
        known = np.asarray(np.isfinite(still).all(axis=-1)) & ~self._was_hidden(now, before, still, T_before_now)
        start = np.where(np.isfinite(still), still, 0.0).astype(np.float32)
        flow = self._flow.of_grey(now.picture, before.picture, start=start)
        residual = np.where(known, np.linalg.norm(flow - start, axis=-1), np.nan)
        threshold = LEAST + SHARE * np.linalg.norm(start, axis=-1)
        numbers = moving_regions(residual, threshold=threshold, radius=1, min_pixels=LEAST_PIXELS)
        return MovingRegions(numbers=numbers, scale=self._scale)

    def _was_hidden(
        self, now: "_Look", before: "_Look", still: NDArray[np.float64], T_before_now: NDArray[np.float64]
    ) -> NDArray[np.bool_]:
        """Pixels behind what was seen before: something nearer went away from them, shape [h, w]."""
        height, width = now.depth.shape
        y, x = np.mgrid[:height, :width]
        with np.errstate(invalid="ignore"):
            column = np.rint(np.nan_to_num(x + still[..., 0])).clip(0, width - 1).astype(np.int64)
            row = np.rint(np.nan_to_num(y + still[..., 1])).clip(0, height - 1).astype(np.int64)
            turn, move = T_before_now[2, :3].astype(np.float32), np.float32(T_before_now[2, 3])
            expected = self._camera.rays() @ turn * now.depth + move
            return np.asarray(before.depth[row, column] < (1 - NEARER) * expected)


@dataclass(frozen=True, kw_only=True)
class _Look:
    """Small grey picture and depth [h, w], and the camera's pose."""

    picture: NDArray[np.uint8]
    depth: NDArray[np.float32]
    T_world_camera: NDArray[np.float64]
