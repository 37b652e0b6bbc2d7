"""Pinhole cameras with the distortion models of ``sensor_msgs/CameraInfo``."""

from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from fourd_ros.errors import InvalidCamera

DISTORTION_LENGTHS = {"plumb_bob": (0, 4, 5), "rational_polynomial": (0, 8)}

UNDISTORT_STEPS = 8
"""Newton steps; the error of real lenses is below 1e-9 after five."""


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

    @cached_property
    def _rays(self) -> NDArray[np.float32]:
        u, v = np.meshgrid(np.arange(self.width, dtype=np.float64), np.arange(self.height, dtype=np.float64))
        pixels = np.stack([u, v, np.ones_like(u)], axis=-1)
        distorted = (pixels @ np.linalg.inv(self.K).T)[..., :2]
        rays = np.ones((self.height, self.width, 3), np.float32)
        rays[..., :2] = self._undistort(distorted)
        rays.flags.writeable = False
        return rays

    def rays(self) -> NDArray[np.float32]:
        """Direction of every pixel with z = 1, without distortion, shape [H, W, 3], read-only (cached)."""
        return self._rays

    def project(self, points: NDArray[np.floating]) -> NDArray[np.floating]:
        """Pixels of camera-frame points.

        Args:
            points: [m], z > 0, shape [*, 3].

        Returns:
            Columns and rows, which may lie outside the image, shape [*, 2].
        """
        normalised = points[..., :2] / points[..., 2:]
        if self.is_distorted:
            normalised = self._distort(normalised)
        K = self.K.astype(points.dtype)
        return normalised @ K[:2, :2].T + K[:2, 2]

    def scaled(self, width: int, height: int) -> "PinholeCamera":
        """The same camera with its image resized; pixel centres keep their directions at the image corners' scale."""
        sx, sy = width / self.width, height / self.height
        K = self.K.copy()
        K[0] *= sx
        K[1] *= sy
        K[0, 2] += (sx - 1) / 2
        K[1, 2] += (sy - 1) / 2
        return replace(self, width=width, height=height, K=K)

    @property
    def is_distorted(self) -> bool:
        """True when any distortion coefficient is not zero."""
        return bool(np.any(self.distortion))

    def _distort(self, xy: NDArray[np.floating]) -> NDArray[np.floating]:
        """The model of CameraInfo (OpenCV's): radial, rational and tangential terms, shape [*, 2]."""
        k1, k2, p1, p2, k3, k4, k5, k6 = np.pad(self.distortion, (0, 8 - len(self.distortion)))
        x, y = xy[..., 0], xy[..., 1]
        r2 = x * x + y * y
        radial = (1 + r2 * (k1 + r2 * (k2 + r2 * k3))) / (1 + r2 * (k4 + r2 * (k5 + r2 * k6)))
        return np.stack(
            [
                x * radial + 2 * p1 * x * y + p2 * (r2 + 2 * x * x),
                y * radial + p1 * (r2 + 2 * y * y) + 2 * p2 * x * y,
            ],
            axis=-1,
        )

    def _undistort(self, distorted: NDArray[np.float64]) -> NDArray[np.float64]:
        """Inverse of `_distort` by Newton's method with a numeric Jacobian, shape [*, 2]."""
        if not self.is_distorted:
            return distorted
        xy, eps = distorted.copy(), 1e-6
        for _ in range(UNDISTORT_STEPS):
            error = self._distort(xy) - distorted
            dx = (self._distort(xy + (eps, 0.0)) - self._distort(xy - (eps, 0.0))) / (2 * eps)
            dy = (self._distort(xy + (0.0, eps)) - self._distort(xy - (0.0, eps))) / (2 * eps)
            det = dx[..., 0] * dy[..., 1] - dx[..., 1] * dy[..., 0]
            xy[..., 0] -= (error[..., 0] * dy[..., 1] - error[..., 1] * dy[..., 0]) / det
            xy[..., 1] -= (error[..., 1] * dx[..., 0] - error[..., 0] * dx[..., 1]) / det
        return xy
