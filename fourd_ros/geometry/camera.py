"""Pinhole cameras with the distortion models of ``sensor_msgs/CameraInfo``."""

from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from fourd_ros.errors import InvalidCamera

DISTORTION_LENGTHS = {"plumb_bob": (0, 4, 5), "rational_polynomial": (0, 8)}

NEWTON_STEPS = 20
NEWTON_TOLERANCE = 1e-10
"""Undistortion stops when no pixel moves further than this on the plane z = 1."""

CACHED_CAMERAS = 8

Float = TypeVar("Float", bound=np.floating)


@dataclass(frozen=True, kw_only=True, eq=False)
class PinholeCamera:
    """Intrinsics of one camera, in pixels; pixel (0, 0) has its centre at coordinate (0, 0).

    Cameras with equal calibration compare equal and share their cached rays.

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
    def _calibration(self) -> tuple[int, int, bytes, bytes]:
        return self.width, self.height, self.K.tobytes(), self._coefficients.tobytes()

    @cached_property
    def _coefficients(self) -> NDArray[np.float64]:
        """k1 k2 p1 p2 k3 k4 k5 k6; those not given are zero."""
        coefficients = np.zeros(8)
        coefficients[: len(self.distortion)] = self.distortion
        return coefficients

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PinholeCamera) and self._calibration == other._calibration

    def __hash__(self) -> int:
        return hash(self._calibration)

    @property
    def distorted(self) -> bool:
        """Whether any distortion coefficient differs from zero."""
        return bool(self._coefficients.any())

    def rays(self) -> NDArray[np.float32]:
        """Point at z = 1 that every pixel's centre sees, shape [H, W, 3], read-only, cached.

        NaN where the distortion cannot be undone (far outside the calibrated region).
        """
        return _rays(self)

    def project(self, points: NDArray[Float]) -> NDArray[Float]:
        """Pixel coordinates (u, v) of camera-frame points.

        Args:
            points: shape [*, 3], in metres.

        Returns:
            Shape [*, 2], of the dtype of `points`. NaN for points at or behind the camera plane, and for those so
            far outside the image that the distortion model folds back.
        """
        z = np.where(points[..., 2] > 0, points[..., 2], np.asarray(np.nan, points.dtype))
        x, y = points[..., 0] / z, points[..., 1] / z
        if self.distorted:
            x, y = self._distort_or_nan(x, y)
        (fx, skew, cx), (_, fy, cy) = self.K[0].tolist(), self.K[1].tolist()
        return np.stack([fx * x + skew * y + cx, fy * y + cy], axis=-1)

    def scaled(self, width: int, height: int) -> "PinholeCamera":
        """The camera of the same image resized to `width` x `height` pixels."""
        sx, sy = width / self.width, height / self.height
        resize = np.array([[sx, 0, (sx - 1) / 2], [0, sy, (sy - 1) / 2], [0, 0, 1]])
        return PinholeCamera(
            width=width,
            height=height,
            K=resize @ self.K,
            distortion_model=self.distortion_model,
            distortion=self.distortion,
        )

    def _distort_or_nan(self, x: NDArray[Float], y: NDArray[Float]) -> tuple[NDArray[Float], NDArray[Float]]:
        radial, slope = _radial(x * x + y * y, self._coefficients)
        xd, yd = _distort(x, y, radial, self._coefficients)
        folds = radial + 2 * (x * x + y * y) * slope <= 0
        nan = np.asarray(np.nan, x.dtype)
        return np.where(folds, nan, xd), np.where(folds, nan, yd)

    def _undistort(
        self, xd: NDArray[np.float64], yd: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Newton's method on the distortion model; NaN where it does not converge."""
        _, _, p1, p2, *_ = self._coefficients.tolist()
        x, y = xd.copy(), yd.copy()
        for _ in range(NEWTON_STEPS):
            radial, slope = _radial(x * x + y * y, self._coefficients)
            xe, ye = _distort(x, y, radial, self._coefficients)
            xe, ye = xe - xd, ye - yd
            xx = radial + 2 * x * x * slope + 2 * p1 * y + 6 * p2 * x
            xy = 2 * x * y * slope + 2 * p1 * x + 2 * p2 * y
            yy = radial + 2 * y * y * slope + 6 * p1 * y + 2 * p2 * x
            with np.errstate(divide="ignore", invalid="ignore"):
                determinant = xx * yy - xy * xy
                dx, dy = (yy * xe - xy * ye) / determinant, (xx * ye - xy * xe) / determinant
            x, y = x - dx, y - dy
            error = np.maximum(np.abs(dx), np.abs(dy))
            if not (error > NEWTON_TOLERANCE).any():
                break
        radial, slope = _radial(x * x + y * y, self._coefficients)
        lost = ~(error <= NEWTON_TOLERANCE) | (radial + 2 * (x * x + y * y) * slope <= 0)
        return np.where(lost, np.nan, x), np.where(lost, np.nan, y)


@lru_cache(maxsize=CACHED_CAMERAS)
def _rays(camera: PinholeCamera) -> NDArray[np.float32]:
    (fx, skew, cx), (_, fy, cy) = camera.K[0].tolist(), camera.K[1].tolist()
    v, u = np.mgrid[: camera.height, : camera.width].astype(np.float64)
    y = (v - cy) / fy
    x = (u - cx - skew * y) / fx
    if camera.distorted:
        x, y = camera._undistort(x, y)
    rays = np.stack([x, y, np.where(np.isnan(x), np.nan, 1.0)], axis=-1).astype(np.float32)
    rays.flags.writeable = False
    return rays


def _radial(r2: NDArray[Float], coefficients: NDArray[np.float64]) -> tuple[NDArray[Float], NDArray[Float]]:
    """Radial factor and its derivative by r^2 (Brown-Conrady, rational with k4 k5 k6)."""
    k1, k2, _, _, k3, k4, k5, k6 = coefficients.tolist()
    above = 1 + r2 * (k1 + r2 * (k2 + r2 * k3))
    below = 1 + r2 * (k4 + r2 * (k5 + r2 * k6))
    above_slope = k1 + r2 * (2 * k2 + r2 * 3 * k3)
    below_slope = k4 + r2 * (2 * k5 + r2 * 3 * k6)
    return above / below, (above_slope * below - above * below_slope) / (below * below)


def _distort(
    x: NDArray[Float], y: NDArray[Float], radial: NDArray[Float], coefficients: NDArray[np.float64]
) -> tuple[NDArray[Float], NDArray[Float]]:
    _, _, p1, p2, *_ = coefficients.tolist()
    xy, xx, yy = x * y, x * x, y * y
    return x * radial + 2 * p1 * xy + p2 * (3 * xx + yy), y * radial + p1 * (xx + 3 * yy) + 2 * p2 * xy
