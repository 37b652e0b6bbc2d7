"""What the network sees of a camera, and the way back to the camera's own pixels."""

from dataclasses import dataclass
from typing import Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from fourd_ros.errors import InvalidImage
from fourd_ros.geometry.camera import PinholeCamera
from fourd_ros.scene_language.calibration import prepared_camera
from fourd_ros.scene_language.frames import Mode, Pixels, prepare_frames

MODE: Mode = "crop"

Value = TypeVar("Value", bound=np.generic)


@dataclass(frozen=True, kw_only=True)
class CameraView:
    """Images of one size, and what is left of them after preparation: `side` wide, of high ones the middle rows.

    Args:
        camera: of the images as they come, without distortion.
        seen: of the prepared ones.
        calibrated: whether somebody measured them; else only their sizes mean something.
        side: width of prepared images [px].
    """

    camera: PinholeCamera
    seen: PinholeCamera
    calibrated: bool
    side: int

    @classmethod
    def of(cls, camera: PinholeCamera, *, side: int) -> Self:
        """Of a calibrated camera.

        Raises:
            InvalidCamera: with distortion.
        """
        return cls(camera=camera, seen=prepared_camera(camera, mode=MODE, side=side), calibrated=True, side=side)

    @classmethod
    def of_size(cls, width: int, height: int, *, side: int) -> Self:
        """Of a camera that nobody calibrated."""
        K = np.array([[width, 0, (width - 1) / 2], [0, width, (height - 1) / 2], [0, 0, 1.0]])
        camera = PinholeCamera(width=width, height=height, K=K)
        return cls(camera=camera, seen=prepared_camera(camera, mode=MODE, side=side), calibrated=False, side=side)

    def prepared(self, rgb: Pixels) -> NDArray[np.float32]:
        """An image [H, W, 3] as the network takes it, shape [1, 3, h, w].

        Raises:
            InvalidImage: of another size, or no 8-bit colours.
        """
        if rgb.shape[:2] != (self.camera.height, self.camera.width):
            size = f"{self.camera.width} x {self.camera.height}"
            raise InvalidImage(f"an image of {rgb.shape[1]} x {rgb.shape[0]} pixels of a camera of {size}")
        return prepare_frames([rgb], mode=MODE, side=self.side).pixels

    def seen_of(self, image: NDArray[Value]) -> NDArray[Value]:
        """The nearest pixels of an image [H, W] that are not colours, such as depth, shape [h, w].

        Raises:
            InvalidImage: of another size.
        """
        if image.shape != (self.camera.height, self.camera.width):
            size = f"{self.camera.width} x {self.camera.height}"
            raise InvalidImage(f"an image of {list(image.shape)} of a camera of {size} pixels")
        rows, columns = _pixels(self.camera, self.seen)
        chosen: NDArray[Value] = image[rows.clip(0, len(image) - 1)[:, None], columns.clip(0, image.shape[1] - 1)]
        return chosen

    def image_of(self, mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """A mask [h, w] of what the network saw in the camera's own image, shape [H, W]."""
        rows, columns = _pixels(self.seen, self.camera)
        inside = (rows >= 0) & (rows < mask.shape[0])
        found = np.zeros((self.camera.height, self.camera.width), bool)
        found[inside] = mask[rows[inside][:, None], columns.clip(0, mask.shape[1] - 1)]
        return found


def _pixels(source: PinholeCamera, target: PinholeCamera) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Row and column of the source that every row and column of the target shows."""
    return (
        _along(1, source, target, target.height),
        _along(0, source, target, target.width),
    )


def _along(axis: int, source: PinholeCamera, target: PinholeCamera, length: int) -> NDArray[np.intp]:
    rays = (np.arange(length) - target.K[axis, 2]) / target.K[axis, axis]
    pixels: NDArray[np.intp] = np.rint(rays * source.K[axis, axis] + source.K[axis, 2]).astype(np.intp)
    return pixels
