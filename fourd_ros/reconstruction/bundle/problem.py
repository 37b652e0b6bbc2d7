"""What the bundle adjustment is asked and what it answers."""

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from fourd_ros.errors import InvalidTracks
from fourd_ros.reconstruction.bundle.prior import FramePrior

FloatArray = NDArray[np.float64]
Focal = Literal["fixed", "shared", "separate"]
FOCAL_UNKNOWNS: dict[Focal, int] = {"fixed": 0, "shared": 1, "separate": 2}


@dataclass(frozen=True, kw_only=True)
class BundleProblem:
    """Tracks in F frames of P points, and a first idea of everything that is sought.

    Args:
        pixels: where the points appear, without distortion [px], shape [F, P, 2]; anything where unseen.
        weights: of each observation, 0 where the point is not seen, shape [F, P].
        T_world_camera: first idea of the path, shape [F, 4, 4].
        points: first idea of the points in the world [m], shape [P, 3].
        focal: first idea of fx, fy [px], shape [2].
        centre: cx, cy [px], shape [2].
        depth: measured z-depth [m] of each observation, NaN where there is none, shape [F, P]; None without depth.
        log_scales: first idea of log(true depth / measured depth) by frame, shape [F]; zeros if not given.
        fixed: frames whose pose stays, shape [F]; the first one if not given.
        prior: what is known of frames from observations that are no longer there.
        times: of the frames [s], increasing, shape [F]; equal steps of a second if not given.
    """

    pixels: FloatArray
    weights: FloatArray
    T_world_camera: FloatArray
    points: FloatArray
    focal: FloatArray
    centre: FloatArray
    depth: FloatArray | None = None
    log_scales: FloatArray | None = None
    fixed: NDArray[np.bool_] | None = None
    prior: FramePrior | None = None
    times: FloatArray | None = None

    def __post_init__(self) -> None:
        frames, count = self.weights.shape
        for name, array, needed in (
            ("pixels", self.pixels, (frames, count, 2)),
            ("T_world_camera", self.T_world_camera, (frames, 4, 4)),
            ("points", self.points, (count, 3)),
            ("depth", self.depth, (frames, count)),
            ("log_scales", self.log_scales, (frames,)),
            ("fixed", self.fixed, (frames,)),
            ("times", self.times, (frames,)),
        ):
            if array is not None and array.shape != needed:
                raise InvalidTracks(f"{name} has shape {list(array.shape)}, needed {list(needed)}")

    @property
    def frames(self) -> int:
        """Number of frames F."""
        return len(self.weights)


@dataclass(frozen=True, kw_only=True)
class BundleOptions:
    """How the bundle is adjusted.

    Args:
        focal: ``fixed``; ``shared``: fx and fy change by the same factor; ``separate``: each its own.
        pixel_sigma: standard deviation of a track's position [px].
        huber_pixels: reprojection errors beyond count linearly [px].
        depth_sigma: standard deviation of the logarithm of measured depth within a frame.
        huber_depth: errors of the logarithm of depth beyond count linearly.
        scale_sigma: standard deviation of the logarithm of a frame's depth scale; 0: the scales stay as given.
        smooth_acceleration: standard deviation of the camera's acceleration [m/s^2], none if infinite.
        smooth_turning: standard deviation of its angular acceleration [rad/s^2], none if infinite.
        max_iterations: of Levenberg and Marquardt.
        tolerance: stops when the cost falls by a smaller share.
        device: ``cpu`` (NumPy), or a device of torch such as ``cuda``.
    """

    focal: Focal = "shared"
    pixel_sigma: float = 0.5
    huber_pixels: float = 1.0
    depth_sigma: float = 0.1
    huber_depth: float = 0.2
    scale_sigma: float = 0.1
    smooth_acceleration: float = np.inf
    smooth_turning: float = np.inf
    max_iterations: int = 30
    tolerance: float = 1e-6
    device: str = "cpu"


@dataclass(frozen=True, kw_only=True)
class BundleSolution:
    """What explains the tracks best.

    Args:
        T_world_camera: shape [F, 4, 4].
        points: shape [P, 3]; those seen in fewer than two frames as given.
        focal: fx, fy [px], shape [2].
        log_scales: log(true depth / measured depth) by frame, shape [F].
        errors: reprojection error of each observation [px], NaN where unseen, infinite behind the camera, shape [F, P].
        cost: half the weighted sum of robust squares.
        iterations: steps taken.
        converged: whether the cost had stopped to fall.
    """

    T_world_camera: FloatArray
    points: FloatArray
    focal: FloatArray
    log_scales: FloatArray
    errors: FloatArray = field(repr=False)
    cost: float
    iterations: int
    converged: bool
