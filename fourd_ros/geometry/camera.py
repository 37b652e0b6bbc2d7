"""Pinhole cameras with the distortion models of ``sensor_msgs/CameraInfo``."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from fourd_ros.errors import InvalidCamera

DISTORTION_LENGTHS = {"plumb_bob": (0, 4, 5), "rational_polynomial": (0, 8)}


@dataclass(frozen=True, kw_only=True)
class PinholeCamera:
    """Intrinsics of one camera, in pixels; pixel (0, 0) has its centre at coordinate (0, 0).

    Args:
        width: columns.
        height: rows.
        K: intrinsic matrix, finite, regular, shape [3, 3].
        distortion_model: ``plumb_bob`` or ``rational_polynomial``.
        distortion: its coefficients in the order of CameraInfo (k1 k2 p1 p2 k3 ...), empty for none.

    Raises:
        InvalidCamera: the size is not positive, K is zero, singular or not finite, or the model is unknown.
    """

    width: int
    height: int
    K: NDArray[np.float64]
    distortion_model: str = "plumb_bob"
    distortion: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))

    def __post_init__(self) -> None:
        if self.width < 1 or self.height < 1:
            raise InvalidCamera(f"image size {self.width} x {self.height}; both must be positive")
        if self.K.shape != (3, 3) or not np.isfinite(self.K).all():
            raise InvalidCamera(f"K must be a finite [3, 3] matrix, got {self.K.tolist()}")
        if self.K[0, 0] <= 0 or self.K[1, 1] <= 0 or abs(np.linalg.det(self.K)) < 1e-9:
            raise InvalidCamera(f"K is singular or has no focal length: {self.K.tolist()}; is the camera calibrated?")
        lengths = DISTORTION_LENGTHS.get(self.distortion_model)
        if lengths is None:
            raise InvalidCamera(f"distortion model '{self.distortion_model}'; known: {sorted(DISTORTION_LENGTHS)}")
        if len(self.distortion) not in lengths or not np.isfinite(self.distortion).all():
            raise InvalidCamera(f"{self.distortion_model} takes {lengths} finite coefficients, got {self.distortion}")
