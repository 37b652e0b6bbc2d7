"""Pictures of any camera at the size of a clip, and the calibration that they have then."""

from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fourd_ros.data.robo4d_preparation import covering_size, crop_start, resize_centre_crop
from fourd_ros.geometry.camera import PinholeCamera
from fourd_ros.geometry.letterbox import Letterbox

FRAMES_AT_ONCE = 8
"""Resized together, which bounds the memory for float32."""

Rectangle = tuple[int, int, int, int]
"""Top, left, height, width."""


class Fit(StrEnum):
    """What becomes of pictures of another aspect."""

    LETTERBOX = "letterbox"
    """They are shown whole, their edges repeated beside them, as world models are shown them at run time."""
    CROP = "crop"
    """They fill the clip; what is too much is cut off on both sides, as in the original."""


@dataclass(frozen=True, kw_only=True)
class Placement:
    """How pictures of one size come to another.

    Args:
        source: height and width that they have.
        target: height and width of the clip.
        fit: what becomes of another aspect.
    """

    source: tuple[int, int]
    target: tuple[int, int]
    fit: Fit

    @cached_property
    def content(self) -> Rectangle:
        """Where the pictures of a clip show the scene."""
        if self.fit is Fit.CROP:
            return 0, 0, *self.target
        rows, columns = self._box.window
        return rows.start, columns.start, rows.stop - rows.start, columns.stop - columns.start

    def colour(self, pictures: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Smoothly, shape [T, H, W, 3] -> [T, *target, 3]."""
        if self.fit is Fit.LETTERBOX:
            return self._box.picture(pictures)
        if self.source == self.target:
            return pictures
        parts = (pictures[start : start + FRAMES_AT_ONCE] for start in range(0, len(pictures), FRAMES_AT_ONCE))
        smooth = [resize_centre_crop(part, self.target, "bilinear").clip(0, 255) for part in parts]
        return np.concatenate([np.rint(part).astype(np.uint8) for part in smooth])

    def values(self, values: NDArray[Any]) -> NDArray[Any]:
        """Nearest pixels, never mixed, shape [T, H, W, C] -> [T, *target, C]."""
        if self.fit is Fit.LETTERBOX:
            return self._box.values(values)
        return resize_centre_crop(values, self.target, "nearest")

    def beside_content(self, values: NDArray[Any]) -> NDArray[Any]:
        """The edges of what has the size of the content repeated, shape [T, h, w, C] -> [T, *target, C]."""
        return extended(values, self.content, self.target)

    def content_camera(self, camera: PinholeCamera) -> PinholeCamera:
        """What sees the content and nothing beside it."""
        if self.fit is Fit.LETTERBOX:
            _, _, height, width = self.content
            return camera.scaled(width, height)
        resized = covering_size(self.source, self.target)
        top, left = (crop_start(length, new) for length, new in zip(resized, self.target, strict=True))
        return _moved(camera.scaled(resized[1], resized[0]), -top, -left, self.target)

    def camera(self, camera: PinholeCamera) -> PinholeCamera:
        """The calibration of the pictures of the clip, which holds for their content."""
        top, left, _, _ = self.content
        return _moved(self.content_camera(camera), top, left, self.target)

    @property
    def _box(self) -> Letterbox:
        return Letterbox(source=self.source, target=self.target)


def extended(values: NDArray[Any], content: Rectangle, size: tuple[int, int]) -> NDArray[Any]:
    """Values of the content in frames of `size`, its edges repeated, shape [T, h, w, C] -> [T, *size, C]."""
    top, left, height, width = content
    bars = ((0, 0), (top, size[0] - top - height), (left, size[1] - left - width), (0, 0))
    return np.pad(values, bars, mode="edge") if np.any(bars) else values


def _moved(camera: PinholeCamera, down: int, right: int, size: tuple[int, int]) -> PinholeCamera:
    """The camera whose pictures are moved within a frame of another size."""
    K = camera.K.copy()
    K[:2, 2] += right, down
    return replace(camera, width=size[1], height=size[0], K=K)
