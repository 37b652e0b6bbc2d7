"""What things stand on: the largest plane that a camera at rest sees, and what lies above it."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = ["LOWEST", "SupportPlane", "find_support"]

FloatArray = NDArray[np.float64]
Mask = NDArray[np.bool_]

DRAWS, SAMPLE = 300, 4000
FLAT = 0.006
"""Points are of a plane up to this distance while it is looked for [m]."""

LEAST_SHARE = 0.1
"""Of the known pixels that a plane must have."""

LOWEST = 0.004
"""Nothing flatter is told apart from the plane [m]."""

_SIGMAS = 4.0
_ABOVE = 1.0
_MAD_TO_SIGMA = 1.4826
_REFITS = 3


@dataclass(frozen=True, kw_only=True)
class SupportPlane:
    """A plane in the camera's frame.

    Args:
        normal: of length 1, towards the camera, shape [3].
        offset: height of the camera's centre above it [m].
        noise: standard deviation of the measured height at a depth of 1 m; it grows with the square of depth [1/m].
        outline: of what is seen of the plane, a convex polygon in the plane's own axes [m], shape [k, 2].
        axes: the two in the plane, shape [2, 3].
    """

    normal: FloatArray
    offset: float
    noise: float
    outline: NDArray[np.float32]
    axes: FloatArray

    def heights(self, points: NDArray[np.floating]) -> FloatArray:
        """Of points [*, 3] in the camera's frame above the plane [m], shape [*]; NaN stays NaN."""
        return np.asarray(points @ self.normal + self.offset, np.float64)

    def stands_on(self, points: NDArray[np.floating]) -> Mask:
        """Which points [H, W, 3] are above the plane, higher than noise, and over the part of it that is seen."""
        heights = self.heights(points)
        with np.errstate(invalid="ignore"):
            least = np.maximum(LOWEST, _SIGMAS * self.noise * points[..., 2] ** 2)
            above = (heights > least) & (heights < _ABOVE)
        inside = np.zeros(above.shape, bool)
        places = (points[above] @ self.axes.T).astype(np.float32)
        inside[above] = _inside(places, self.outline)
        return inside

    def is_seen_through(self, rays: NDArray[np.floating]) -> Mask:
        """Which rays [H, W, 3] from the camera meet the plane where it is seen, whatever stands before it."""
        slopes = rays @ self.normal
        meets = slopes < 0
        distances = np.where(meets, -self.offset / np.where(meets, slopes, -1), np.nan)
        seen = np.zeros(meets.shape, bool)
        seen[meets] = _inside(((rays * distances[..., None])[meets] @ self.axes.T).astype(np.float32), self.outline)
        return seen


def find_support(points: NDArray[np.floating], *, seed: int = 0) -> SupportPlane | None:
    """The plane with most pixels of a picture; None where no plane has enough of them.

    Source: Fischler and Bolles 1981 (RANSAC), refitted to its inliers by least squares.

    Args:
        points: in the camera's frame [m], NaN where unknown, shape [H, W, 3].
        seed: of the draws.
    """
    known = np.isfinite(points).all(axis=-1)
    all_points = points[known].astype(np.float64)
    if len(all_points) < 100:
        return None
    rng = np.random.default_rng(seed)
    sample = all_points[rng.integers(len(all_points), size=SAMPLE)]
    normal, offset = _best_of_draws(sample, rng)
    for _ in range(_REFITS):
        inliers = all_points[np.abs(all_points @ normal + offset) < FLAT]
        if len(inliers) < max(3, LEAST_SHARE * len(all_points)):
            return None
        normal, offset = _fitted(inliers)
    distances = points @ normal + offset
    with np.errstate(invalid="ignore"):
        flat = np.abs(distances) < FLAT
    depth = points[flat][:, 2]
    noise = _MAD_TO_SIGMA * float(np.median(np.abs(distances[flat]) / depth**2))
    axes = _axes_of(normal)
    part = _largest_part(flat)
    outline = np.asarray(cv2.convexHull((points[part] @ axes.T).astype(np.float32))[:, 0], np.float32)
    return SupportPlane(normal=normal, offset=offset, noise=noise, outline=outline, axes=axes)


def _best_of_draws(sample: FloatArray, rng: np.random.Generator) -> tuple[FloatArray, float]:
    corners = sample[rng.integers(len(sample), size=(DRAWS, 3))]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    lengths = np.linalg.norm(normals, axis=-1, keepdims=True)
    normals = np.where(lengths > 0, normals / np.maximum(lengths, 1e-12), (0.0, 0.0, 1.0))
    offsets = -(normals * corners[:, 0]).sum(axis=-1)
    counts = (np.abs(sample @ normals.T + offsets) < FLAT).sum(axis=0)
    best = int(counts.argmax())
    return _towards_camera(normals[best], float(offsets[best]))


def _fitted(points: FloatArray) -> tuple[FloatArray, float]:
    middle = points.mean(axis=0)
    normal = np.linalg.eigh(np.cov((points - middle).T))[1][:, 0]
    return _towards_camera(normal, -float(normal @ middle))


def _towards_camera(normal: FloatArray, offset: float) -> tuple[FloatArray, float]:
    return (normal, offset) if offset >= 0 else (-normal, -offset)


def _axes_of(normal: FloatArray) -> FloatArray:
    first = np.cross(normal, np.eye(3)[np.abs(normal).argmin()])
    first /= np.linalg.norm(first)
    return np.stack([first, np.cross(normal, first)])


def _largest_part(mask: Mask) -> Mask:
    """The connected part of a mask with most pixels."""
    count, labels, facts, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=4)
    if count < 2:
        return mask
    return np.asarray(labels == 1 + np.asarray(facts)[1:, cv2.CC_STAT_AREA].argmax())


def _inside(places: NDArray[np.float32], polygon: NDArray[np.float32]) -> Mask:
    """Which places [n, 2] are in a convex polygon [k, 2], in whichever sense it goes around."""
    edges = np.roll(polygon, -1, axis=0) - polygon
    offsets = places[:, None] - polygon
    side = edges[:, 0] * offsets[..., 1] - edges[:, 1] * offsets[..., 0]
    return np.asarray((side >= 0).all(axis=-1) | (side <= 0).all(axis=-1))
