"""Images of any aspect in frames of a fixed size: resized to fit, in the middle, and back."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fourd_ros.errors import InvalidImage


@dataclass(frozen=True, kw_only=True)
class Letterbox:
    """How images of one size lie in frames of another; where both are equal nothing changes.

    Args:
        source: rows and columns of the images.
        target: rows and columns of the frames.

    Raises:
        InvalidImage: a size is not positive.
    """

    source: tuple[int, int]
    target: tuple[int, int]

    def __post_init__(self) -> None:
        if min(*self.source, *self.target) < 1:
            raise InvalidImage(f"images of {self.source} in frames of {self.target}; needed are positive sizes")

    @property
    def window(self) -> tuple[slice, slice]:
        """Rows and columns of the frame that show the image."""
        scale = min(self.target[0] / self.source[0], self.target[1] / self.source[1])
        slices = []
        for length, room in zip(self.source, self.target, strict=True):
            shown = min(max(round(length * scale), 1), room)
            start = (room - shown) // 2
            slices.append(slice(start, start + shown))
        return slices[0], slices[1]

    @property
    def fits(self) -> bool:
        """Whether images have the size of frames."""
        return self.source == self.target

    def picture(self, rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Colour images [*, h, w, 3] in frames [*, H, W, 3], bicubic; the bars repeat the edges."""
        self._check(rgb)
        if self.fits:
            return rgb
        shown = np.stack([_resized(image, self._shown) for image in rgb.reshape(-1, *rgb.shape[-3:])])
        return self._with_bars(shown.reshape(*rgb.shape[:-3], *shown.shape[1:]))

    def values(self, values: NDArray[Any]) -> NDArray[Any]:
        """Values that must not be mixed (points, labels) [*, h, w, C] in frames [*, H, W, C]; bars repeat the edges."""
        self._check(values)
        if self.fits:
            return values
        rows, columns = (_nearest(length, shown) for length, shown in zip(self.source, self._shown, strict=True))
        return self._with_bars(values[..., rows[:, None], columns, :])

    def picture_back(self, frames: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """What frames [*, H, W, 3] show, as images [*, h, w, 3]."""
        if self.fits:
            return frames
        shown = frames[..., self.window[0], self.window[1], :]
        images = np.stack([_resized(image, self.source) for image in shown.reshape(-1, *shown.shape[-3:])])
        return images.reshape(*frames.shape[:-3], *images.shape[1:])

    def values_back(self, frames: NDArray[Any]) -> NDArray[Any]:
        """Values of frames [*, H, W, C] that must not be mixed, for the pixels of images [*, h, w, C]."""
        if self.fits:
            return frames
        shown = frames[..., self.window[0], self.window[1], :]
        rows, columns = (_nearest(shown, length) for length, shown in zip(self.source, self._shown, strict=True))
        return shown[..., rows[:, None], columns, :]

    @property
    def _shown(self) -> tuple[int, int]:
        rows, columns = self.window
        return rows.stop - rows.start, columns.stop - columns.start

    def _check(self, images: NDArray[Any]) -> None:
        if images.shape[-3:-1] != self.source:
            raise InvalidImage(f"images of {images.shape[-3:-1]}, needed {self.source}")

    def _with_bars(self, shown: NDArray[Any]) -> NDArray[Any]:
        bars = [(window.start, room - window.stop) for window, room in zip(self.window, self.target, strict=True)]
        return np.pad(shown, [(0, 0)] * (shown.ndim - 3) + [*bars, (0, 0)], mode="edge")


def _resized(image: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    return np.asarray(Image.fromarray(image).resize(size[::-1], Image.Resampling.BICUBIC))


def _nearest(length: int, count: int) -> NDArray[np.intp]:
    """Of `length` pixels, those whose middles are nearest to the middles of `count`."""
    return np.minimum(((np.arange(count) + 0.5) * length / count).astype(np.intp), length - 1)
