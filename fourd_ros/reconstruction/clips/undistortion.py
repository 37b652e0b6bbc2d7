"""Pictures as a camera without distortion would have taken them."""

from dataclasses import replace
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from fourd_ros.geometry.camera import PinholeCamera
from fourd_ros.reconstruction.clips.clip import Clip

__all__ = ["Undistortion", "undistorted"]

Value = TypeVar("Value", bound=np.generic)


class Undistortion:
    """Takes the distortion out of pictures of one camera.

    Args:
        camera: that took them.

    Attributes:
        camera: of the results: the same K and size without distortion.
    """

    def __init__(self, camera: PinholeCamera) -> None:
        self.camera = PinholeCamera(width=camera.width, height=camera.height, K=camera.K)
        places = camera.project(self.camera.rays().astype(np.float64)).astype(np.float32)
        inside = np.asarray(((places >= 0) & (places <= (camera.width - 1, camera.height - 1))).all(axis=-1))
        self._places = np.where(inside[..., None], places, np.float32(-1))
        self._inside = inside

    def colour(self, rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Colour [H, W, 3]; black where the camera saw nothing."""
        import cv2

        x, y = self._places[..., 0], self._places[..., 1]
        straight = np.asarray(cv2.remap(rgb, x, y, cv2.INTER_LINEAR), np.uint8)
        return np.where(self._inside[..., None], straight, np.uint8(0))

    def depth(self, depth: NDArray[np.float32]) -> NDArray[np.float32]:
        """Depth [H, W] of the nearest pixel; NaN where the camera saw nothing."""
        return np.where(self._inside, self._nearest(depth), np.float32(np.nan))

    def mask(self, mask: NDArray[np.int32]) -> NDArray[np.int32]:
        """Numbers [H, W] of the nearest pixel; 0 where the camera saw nothing."""
        return np.where(self._inside, self._nearest(mask), np.int32(0))

    def _nearest(self, values: NDArray[Value]) -> NDArray[Value]:
        x, y = np.rint(np.maximum(self._places, 0)).astype(np.int64).transpose(2, 0, 1)
        return np.asarray(values[y, x])


def undistorted(clip: Clip) -> Clip:
    """The clip without the distortion of its camera; itself where that is not known or has none."""
    if clip.camera is None or not clip.camera.distorted:
        return clip
    straight = Undistortion(clip.camera)
    return replace(
        clip,
        camera=straight.camera,
        rgb=np.stack([straight.colour(rgb) for rgb in clip.rgb]),
        depth=None if clip.depth is None else np.stack([straight.depth(depth) for depth in clip.depth]),
        masks=None if clip.masks is None else np.stack([straight.mask(mask) for mask in clip.masks]),
    )
