"""The pose of a camera by points whose places are known, from where they appear and how far away they are."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from fourd_ros.geometry.transforms import from_parts, invert

__all__ = ["PoseOptions", "RigidPose", "rigid_pose"]

FloatArray = NDArray[np.float64]

ROUNDS, CONVERGED = 10, 1e-5
FREEDOMS = 6


@dataclass(frozen=True, kw_only=True)
class PoseOptions:
    """What measurements are worth.

    Args:
        pixel_sigma: of a position in the image [px].
        depth_sigma: of the logarithm of a depth.
        outlier: measurements off by more of their sigmas do not count.
        fewest: points that must agree.
        coarse: the search begins with outliers so many times as far off; 1 for a start that is nearly right.
    """

    pixel_sigma: float = 0.5
    depth_sigma: float = 0.01
    outlier: float = 6.0
    fewest: int = 4
    coarse: float = 16.0


@dataclass(frozen=True, kw_only=True)
class RigidPose:
    """What was found.

    Args:
        T_points_camera: shape [4, 4].
        agrees: points that are where the pose puts them, shape [N].
        covariance: of a small move and a small turn of the points in the camera's axes [m^2, rad^2], shape [6, 6].
    """

    T_points_camera: FloatArray
    agrees: NDArray[np.bool_]
    covariance: FloatArray


def rigid_pose(
    points: FloatArray,
    pixels: FloatArray,
    depth: FloatArray,
    K: FloatArray,
    T_near: FloatArray,
    *,
    options: PoseOptions | None = None,
) -> RigidPose | None:
    """The pose that explains most; None where too few points agree.

    Gauss-Newton with Geman and McClure's weights, whose scale shrinks from coarse to fine so that the start may be off
    (graduated non-convexity; Yang et al. 2020, doi:10.1109/LRA.2020.2965893).

    Args:
        points: in their own frame, shape [N, 3].
        pixels: where they appear, without distortion, shape [N, 2].
        depth: z-depth there [m], NaN where unknown, shape [N].
        K: intrinsics, shape [3, 3].
        T_near: a pose ``T_points_camera`` not far from it, shape [4, 4].
        options: what measurements are worth.
    """
    options = options or PoseOptions()
    T = _without_rounding(invert(T_near))
    for scale in np.geomspace(options.coarse, 1.0, 3 if options.coarse > 1 else 1):
        for _ in range(ROUNDS):
            errors, slopes = _errors(T, points, pixels, depth, K, options)
            normal, pull = _normal(errors, slopes, scale * options.outlier)
            step = -np.linalg.solve(normal + 1e-9 * np.diag(np.diag(normal)) + 1e-9 * np.eye(FREEDOMS), pull)
            T = from_parts(cv2.Rodrigues(step[3:])[0], step[:3]) @ T
            if not np.isfinite(T).all():
                return None
            if np.abs(step).max() < CONVERGED:
                break
    errors, slopes = _errors(T, points, pixels, depth, K, options)
    agrees = np.asarray(
        (np.nan_to_num(np.abs(errors)) < options.outlier).all(axis=1) & (T[2, :3] @ points.T > -T[2, 3])
    )
    if agrees.sum() < options.fewest:
        return None
    normal, _ = _normal(errors[agrees], slopes[agrees], np.inf)
    return RigidPose(
        T_points_camera=invert(T),
        agrees=agrees,
        covariance=np.asarray(np.linalg.pinv(normal, hermitian=True), np.float64),
    )


def _without_rounding(T: FloatArray) -> FloatArray:
    """The nearest rigid transform; else what is chained from frame to frame would grow."""
    U, _, Vt = np.linalg.svd(T[:3, :3])
    return from_parts(U @ Vt, T[:3, 3])


def _errors(
    T: FloatArray, points: FloatArray, pixels: FloatArray, depth: FloatArray, K: FloatArray, options: PoseOptions
) -> tuple[FloatArray, FloatArray]:
    """Errors in sigmas [N, 3] (x, y, log depth; NaN where unknown) and their slopes by move and turn [N, 3, 6]."""
    p = points @ T[:3, :3].T + T[:3, 3]
    x, y, z = p.T
    z = np.maximum(z, 1e-6)
    f = K[[0, 1], [0, 1]]
    seen = np.stack([f[0] * x / z + K[0, 2], f[1] * y / z + K[1, 2]], axis=1)
    weights = np.array([1 / options.pixel_sigma, 1 / options.pixel_sigma, 1 / options.depth_sigma])
    with np.errstate(invalid="ignore", divide="ignore"):
        errors = np.concatenate([seen - pixels, np.log(z / depth)[:, None]], axis=1) * weights
    by_place = np.zeros((len(p), 3, 3))
    by_place[:, 0, 0], by_place[:, 0, 2] = f[0] / z, -f[0] * x / z**2
    by_place[:, 1, 1], by_place[:, 1, 2] = f[1] / z, -f[1] * y / z**2
    by_place[:, 2, 2] = 1 / z
    # a small turn w moves p by w x p = -[p] w
    cross = np.zeros((len(p), 3, 3))
    cross[:, 0, 1], cross[:, 0, 2] = p[:, 2], -p[:, 1]
    cross[:, 1, 0], cross[:, 1, 2] = -p[:, 2], p[:, 0]
    cross[:, 2, 0], cross[:, 2, 1] = p[:, 1], -p[:, 0]
    slopes = np.concatenate([by_place, by_place @ cross], axis=2) * weights[:, None]
    return errors, slopes


def _normal(errors: FloatArray, slopes: FloatArray, scale: float) -> tuple[FloatArray, FloatArray]:
    known = np.isfinite(errors)
    errors = np.where(known, errors, 0.0)
    weight = known / (1 + (errors / scale) ** 2) ** 2
    normal = np.einsum("nk,nki,nkj->ij", weight, slopes, slopes)
    pull = np.einsum("nk,nki,nk->i", weight, slopes, errors)
    return normal, pull
