"""A first idea of the camera's path, frame after frame: poses from points that are placed already (PnP)."""

from dataclasses import dataclass, replace
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from fourd_ros.errors import CannotReconstruct
from fourd_ros.geometry.transforms import apply, from_parts, invert
from fourd_ros.reconstruction.motion.triangulation import triangulated

FloatArray = NDArray[np.float64]

FEWEST_POINTS = 6
"""That a pose is found from."""

FEWEST_REFINED = 4
"""Points that a pose is refined from, near one that is known."""

REFINEMENTS = 3
"""Each with the points that agreed with the one before."""

RANSAC_ROUNDS = 300
RANSAC_CERTAINTY = 0.999

AGREES = 0.02
"""How far from its place a point may appear to agree with a pose, as a share of the longer side of the image: depth
that is off by some percent is that wrong."""

EPIPOLAR = 0.002
"""How far from its epipolar line a point may appear, as a share of the longer side."""

PARALLAX = 0.03
"""Two frames tell of the shape of the scene if points move by this share of the longer side."""

STEADY = 0.2
"""A camera that turns only leaves fewer than this share of points with rays that cross."""


@dataclass(frozen=True, kw_only=True)
class PathStart:
    """Poses and points to begin a bundle adjustment with.

    Args:
        T_world_camera: shape [F, 4, 4]; *world* is the first frame's camera.
        points: in the world, NaN where none could be placed, shape [N, 3].
        agrees: whether a track was where its frame's pose puts its point, in most frames, shape [N].
        lost: frames with too few points for a pose; they repeat the one before.
        caveats: what could not be found, in words.
    """

    T_world_camera: FloatArray
    points: FloatArray
    agrees: NDArray[np.bool_]
    lost: NDArray[np.int64]
    caveats: tuple[str, ...] = ()


class PoseFinder(Protocol):
    """Finds the pose that `points` [n, 3] at `pixels` [n, 2] agree with; see `pose_of`."""

    def __call__(
        self, points: FloatArray, pixels: FloatArray, K: FloatArray, T_near: FloatArray, *, tolerance: float
    ) -> tuple[FloatArray | None, NDArray[np.int64]]:
        """``T_world_camera`` and the indices of the points that agree; None if there is none."""


def path_from_depth(
    pixels: FloatArray,
    seen: NDArray[np.bool_],
    depth: FloatArray,
    K: FloatArray,
    *,
    longer_side: int,
    finder: PoseFinder | None = None,
    first: int = 0,
) -> PathStart:
    """Chains poses: what a frame sees of points placed before gives its pose, its own depth places new ones.

    Args:
        pixels: positions of the tracks without distortion [px], shape [F, N, 2].
        seen: shape [F, N].
        depth: z-depth at the tracks [m], NaN where unknown, shape [F, N].
        K: intrinsics, shape [3, 3].
        longer_side: of the image [px].
        finder: of poses, `pose_of` if not given.
        first: frame to begin with, whose camera is the world; later ones follow, then those before it.

    Raises:
        CannotReconstruct: the frame to begin with sees fewer than six points with depth.
    """
    chain = _Chain(pixels, seen, K, tolerance=AGREES * longer_side, finder=finder or pose_of, first=first)
    for frame in (*range(first, len(pixels)), *range(first - 1, -1, -1)):
        if frame != first:
            chain.find_pose(frame)
        new = np.flatnonzero(seen[frame] & np.isnan(chain.points[:, 0]) & (depth[frame] > 0))
        if frame == first and len(new) < FEWEST_POINTS:
            raise CannotReconstruct(f"frame {first} sees {len(new)} tracks with depth; {FEWEST_POINTS} are needed")
        chain.points[new] = apply(chain.path[frame], back_projected(pixels[frame, new], depth[frame, new], K))
    chain.place_the_rest()
    return chain.result()


def path_from_motion(pixels: FloatArray, seen: NDArray[np.bool_], K: FloatArray, *, longer_side: int) -> PathStart:
    """The same without depth: two frames with parallax first (essential matrix), then the others in turn.

    The distance between these two frames is the unit of length. Where the camera only turns, points are put at
    the distance 1 and a caveat says so.

    Args:
        pixels: positions of the tracks without distortion [px], shape [F, N, 2].
        seen: shape [F, N].
        K: intrinsics, shape [3, 3].
        longer_side: of the image [px].

    Raises:
        CannotReconstruct: no other frame shares eight tracks with the first.
    """
    second = _frame_with_parallax(pixels, seen, PARALLAX * longer_side)
    chain = _Chain(pixels, seen, K, tolerance=AGREES * longer_side / 2, finder=pose_of)
    chain.path[second] = _two_views(pixels, seen, K, second, EPIPOLAR * longer_side)
    chain.place((0, second))
    both = seen[0] & seen[second]
    if (np.isfinite(chain.points[:, 0]) & both).sum() < max(FEWEST_POINTS, STEADY * both.sum()):
        unit = np.where(seen, 1.0, np.nan)
        turning = path_from_depth(pixels, seen, unit, K, longer_side=longer_side)
        told = "the camera hardly moves sideways: distances are not known, all points were put at the distance 1"
        return replace(turning, caveats=(told, *turning.caveats))
    for frame in sorted(set(range(1, len(pixels))) - {second}, key=lambda f: (f > second, f if f > second else -f)):
        chain.find_pose(frame)
        known = range(second, frame + 1) if frame > second else (*range(frame, second + 1), 0)
        chain.place(tuple(known))
    chain.place_the_rest()
    return chain.result()


def pose_of(
    points: FloatArray, pixels: FloatArray, K: FloatArray, T_near: FloatArray, *, tolerance: float
) -> tuple[FloatArray | None, NDArray[np.int64]]:
    """The pose that most points agree with.

    Args:
        points: in the world, shape [n, 3].
        pixels: where they appear, shape [n, 2].
        K: intrinsics, shape [3, 3].
        T_near: a pose not far from it, shape [4, 4].
        tolerance: of a point that agrees [px].

    Returns:
        ``T_world_camera`` and the indices of the points that agree; None if there is none.
    """
    nobody = np.zeros(0, np.int64)
    if len(points) < FEWEST_POINTS:
        return None, nobody
    turn, move = _extrinsics(T_near)
    cv2.setRNGSeed(0)
    found, turned, moved, inliers = cv2.solvePnPRansac(
        points,
        np.ascontiguousarray(pixels),
        K,
        None,
        rvec=turn,
        tvec=move,
        useExtrinsicGuess=True,
        iterationsCount=RANSAC_ROUNDS,
        reprojectionError=tolerance,
        confidence=RANSAC_CERTAINTY,
        flags=cv2.SOLVEPNP_ITERATIVE,
    )
    if not found or inliers is None or len(inliers) < FEWEST_POINTS or not np.isfinite(moved).all():
        return None, nobody
    return invert(from_parts(cv2.Rodrigues(turned)[0], moved[:, 0])), inliers[:, 0].astype(np.int64)


def pose_near(
    points: FloatArray, pixels: FloatArray, K: FloatArray, T_near: FloatArray, *, tolerance: float
) -> tuple[FloatArray | None, NDArray[np.int64]]:
    """As `pose_of`, of points that nearly all belong together, by least squares from the pose nearby.

    A small thing looks much the same from several poses, and samples of few points find any of them.
    """
    kept = np.arange(len(points))
    turn, move = _extrinsics(T_near)
    for _ in range(REFINEMENTS):
        if len(kept) < FEWEST_REFINED:
            return None, np.zeros(0, np.int64)
        found = cv2.solvePnPRefineLM(points[kept], np.ascontiguousarray(pixels[kept]), K, None, turn, move)
        turn, move = (np.asarray(vector, np.float64) for vector in found)
        if not (np.isfinite(turn).all() and np.isfinite(move).all()):
            return None, np.zeros(0, np.int64)
        appear = cv2.projectPoints(points, turn, move, K, None)[0][:, 0]
        errors = np.linalg.norm(appear - pixels, axis=1)
        kept = np.flatnonzero(errors < max(tolerance, 3 * float(np.median(errors))))
    return invert(from_parts(cv2.Rodrigues(turn)[0], move[:, 0])), kept


def _extrinsics(T_world_camera: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Rotation vector and translation of the world in the camera, each [3, 1], as OpenCV takes them."""
    inverse = invert(T_world_camera)
    return np.asarray(cv2.Rodrigues(inverse[:3, :3])[0], np.float64), inverse[:3, 3:].copy()


def back_projected(pixels: FloatArray, depth: FloatArray, K: FloatArray) -> FloatArray:
    """Points in camera axes [*, 3] of `pixels` [*, 2] at z-`depth` [*]."""
    x = (pixels[..., 0] - K[0, 2]) / K[0, 0] * depth
    y = (pixels[..., 1] - K[1, 2]) / K[1, 1] * depth
    return np.stack([x, y, depth], axis=-1)


class _Chain:
    """Poses found so far, and points."""

    def __init__(
        self,
        pixels: FloatArray,
        seen: NDArray[np.bool_],
        K: FloatArray,
        *,
        tolerance: float,
        finder: PoseFinder,
        first: int = 0,
    ) -> None:
        self._pixels, self._seen, self._K, self._tolerance, self._finder = pixels, seen, K, tolerance, finder
        frames, count = seen.shape
        self.path = np.tile(np.eye(4), (frames, 1, 1))
        self.points = np.full((count, 3), np.nan)
        self._votes, self._agreed = np.zeros(count), np.zeros(count)
        self._lost: list[int] = []
        self._done = {first}

    def find_pose(self, frame: int) -> None:
        """Of a frame, from the points that are placed; near the pose of the closest frame that has one."""
        nearest = min(self._done, key=lambda done: abs(done - frame))
        used = np.flatnonzero(self._seen[frame] & np.isfinite(self.points[:, 0]))
        T, inliers = self._finder(
            self.points[used], self._pixels[frame, used], self._K, self.path[nearest], tolerance=self._tolerance
        )
        if T is None:
            self._lost.append(frame)
            self.path[frame] = self.path[nearest]
            return
        self._done.add(frame)
        self._votes[used] += 1
        self._agreed[used[inliers]] += 1
        self.path[frame] = T

    def place(self, frames: tuple[int, ...]) -> None:
        """Points that are not placed yet and whose rays cross in `frames`."""
        missing = np.flatnonzero(np.isnan(self.points[:, 0]))
        chosen = np.array([frame for frame in frames if frame not in self._lost], np.int64)
        weights = self._seen[np.ix_(chosen, missing)].astype(np.float64)
        self.points[missing] = triangulated(self._pixels[np.ix_(chosen, missing)], weights, self.path[chosen], self._K)

    def place_the_rest(self) -> None:
        """By all frames; what is uncertain even then goes to the median depth where it was first seen."""
        self.place(tuple(range(len(self.path))))
        missing = np.flatnonzero(np.isnan(self.points[:, 0]) & self._seen.any(axis=0))
        if not len(missing) or len(missing) == self._seen.any(axis=0).sum():
            return
        first = self._seen[:, missing].argmax(axis=0)
        placed = np.isfinite(self.points[:, 0])
        for frame in np.unique(first):
            here = self._seen[frame] & placed if (self._seen[frame] & placed).any() else placed
            usual = np.median(apply(invert(self.path[frame]), self.points[here])[:, 2])
            mine = missing[first == frame]
            depth = np.full(len(mine), max(usual, 1e-3))
            self.points[mine] = apply(self.path[frame], back_projected(self._pixels[frame, mine], depth, self._K))

    def result(self) -> PathStart:
        """What was found."""
        lost = np.array(sorted(self._lost), np.int64)
        told = (f"{len(lost)} of {len(self.path)} frames see too little for a pose: {lost.tolist()[:10]}",)
        return PathStart(
            T_world_camera=self.path,
            points=self.points,
            agrees=(self._votes == 0) | (self._agreed * 2 >= self._votes),
            lost=lost,
            caveats=told if len(lost) else (),
        )


def _frame_with_parallax(pixels: FloatArray, seen: NDArray[np.bool_], needed: float) -> int:
    """The first frame in which tracks of the first one have moved enough, else the one in which they moved most."""
    best, farthest = 0, -1.0
    for frame in range(1, len(pixels)):
        both = seen[0] & seen[frame]
        if both.sum() < 8:
            continue
        moved = float(np.median(np.linalg.norm(pixels[frame, both] - pixels[0, both], axis=1)))
        if moved > needed:
            return frame
        best, farthest = (frame, moved) if moved > farthest else (best, farthest)
    if not best:
        raise CannotReconstruct("no frame shares eight tracks with the first one; is the video one continuous shot?")
    return best


def _two_views(pixels: FloatArray, seen: NDArray[np.bool_], K: FloatArray, second: int, tolerance: float) -> FloatArray:
    """Pose of the `second` frame in the axes of the first, at the distance 1 (five points; Nister 2004)."""
    both = np.flatnonzero(seen[0] & seen[second])
    first, other = np.ascontiguousarray(pixels[0, both]), np.ascontiguousarray(pixels[second, both])
    cv2.setRNGSeed(0)
    E, _ = cv2.findEssentialMat(first, other, K, method=cv2.RANSAC, prob=RANSAC_CERTAINTY, threshold=tolerance)
    if E is None or E.shape != (3, 3):
        return np.eye(4)
    _, R, t, _ = cv2.recoverPose(E, first, other, K)
    return invert(from_parts(R, t[:, 0]))
