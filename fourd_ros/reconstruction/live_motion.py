"""Regions of a live picture that move by themselves, by dense flow between looks some frames apart."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from fourd_ros.geometry.camera import PinholeCamera
from fourd_ros.geometry.transforms import invert
from fourd_ros.reconstruction.flow import DisFlow, grey
from fourd_ros.reconstruction.residual_flow import moving_regions, static_flow

__all__ = ["LiveMotion", "MovingRegions"]

SIDE = 320
"""Longer side of the pictures that are compared [px]."""

LEAST, SHARE = 1.2, 0.2
"""Flow differs from that of a world at rest by this [px], and by this share of it, where something moves."""

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
        self._before: tuple[NDArray[np.uint8], NDArray[np.float64]] | None = None

    def look(
        self, rgb: NDArray[np.uint8], depth: NDArray[np.float32], T_world_camera: NDArray[np.float64]
    ) -> MovingRegions:
        """What moved since the picture before.

        Args:
            rgb: colour, shape [H, W, 3].
            depth: z-depth [m], NaN where unknown, shape [H, W].
            T_world_camera: shape [4, 4].
        """
        picture = np.asarray(cv2.resize(grey(rgb), self._size, interpolation=cv2.INTER_AREA), np.uint8)
        before, self._before = self._before, (picture, T_world_camera.copy())
        if before is None:
            return MovingRegions(numbers=np.zeros(picture.shape, np.int32), scale=self._scale)
        small = cv2.resize(depth, self._size, interpolation=cv2.INTER_NEAREST)
        still = static_flow(np.asarray(small, np.float32), self._camera, invert(before[1]) @ T_world_camera)
        known = np.asarray(np.isfinite(still).all(axis=-1))
        start = np.where(known[..., None], still, 0.0).astype(np.float32)
        flow = self._flow.of_grey(picture, before[0], start=start)
        residual = np.where(known, np.linalg.norm(flow - start, axis=-1), np.nan)
        threshold = LEAST + SHARE * np.linalg.norm(start, axis=-1)
        numbers = moving_regions(residual, threshold=threshold, radius=1, min_pixels=LEAST_PIXELS)
        return MovingRegions(numbers=numbers, scale=self._scale)
