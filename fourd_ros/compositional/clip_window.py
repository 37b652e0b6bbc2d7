"""The square of a camera's picture that the network is shown, so that the objects fill it as they did in training."""

from dataclasses import dataclass
from typing import Any, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from fourd_ros.compositional.placed_cube import R_CAMERA_CUBE
from fourd_ros.errors import InvalidClip
from fourd_ros.geometry.camera import PinholeCamera
from fourd_ros.geometry.transforms import rotation_about

__all__ = ["ClipWindow"]

Value = TypeVar("Value", bound=np.generic)
FloatArray = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class ClipWindow:
    """A square of pixels, which may reach beyond the picture.

    Args:
        left: first column.
        top: first row.
        side: its width and height [px].
    """

    left: int
    top: int
    side: int

    @classmethod
    def whole(cls, height: int, width: int) -> Self:
        """All of a picture, in the middle of the square."""
        side = max(height, width)
        return cls(left=-((side - width) // 2), top=-((side - height) // 2), side=side)

    @classmethod
    def around(cls, shown: NDArray[np.bool_], *, fill: float) -> Self:
        """Around everything that shows.

        Args:
            shown: where any object is in any frame, shape [H, W].
            fill: share of the side that the longer side of their box takes, above 0 to 1.

        Raises:
            InvalidClip: nothing shows.
        """
        rows, columns = np.nonzero(shown)
        if not len(rows):
            raise InvalidClip("no mask shows anything in any frame, so there is nothing to look at")
        low, high = np.array([columns.min(), rows.min()]), np.array([columns.max(), rows.max()]) + 1
        side = max(1, round(float((high - low).max()) / fill))
        left, top = np.rint((low + high - side) / 2).astype(int).tolist()
        return cls(left=left, top=top, side=side)

    def cut(self, picture: NDArray[Value], *, fill: Any) -> NDArray[Value]:
        """What a picture [H, W, ...] shows there, `fill` beyond it, shape [side, side, ...]."""
        height, width = picture.shape[:2]
        square = np.full((self.side, self.side, *picture.shape[2:]), fill, picture.dtype)
        rows, columns = (
            slice(max(first, 0), max(min(first + self.side, size), 0))
            for first, size in ((self.top, height), (self.left, width))
        )
        part = picture[rows, columns]
        below, right = max(-self.top, 0), max(-self.left, 0)
        square[below : below + part.shape[0], right : right + part.shape[1]] = part
        return square

    def turn_of_cube(self, camera: PinholeCamera) -> FloatArray:
        """``R_camera_cube`` of a cube that a camera would see along -z if it looked at the middle of the square.

        Args:
            camera: that took the whole picture.
        """
        middle = np.array([self.left, self.top]) + (self.side - 1) / 2
        ray = np.array([*((middle - camera.K[:2, 2]) / camera.K[[0, 1], [0, 1]]), 1.0])
        ray /= np.linalg.norm(ray)
        axis = np.cross([0.0, 0.0, 1.0], ray)
        sine = float(np.linalg.norm(axis))
        turn = rotation_about(axis / sine, float(np.arcsin(min(sine, 1.0)))) if sine > 1e-9 else np.eye(3)
        return np.asarray(turn @ R_CAMERA_CUBE)
