"""Live odometry: every frame finds its pose from placed points, key frames adjust a window of bounded length."""

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from fourd_ros.errors import CannotReconstruct
from fourd_ros.geometry.camera import PinholeCamera
from fourd_ros.geometry.transforms import apply, invert
from fourd_ros.reconstruction.bundle.adjustment import Adjustment
from fourd_ros.reconstruction.bundle.marginal import prior_without_first
from fourd_ros.reconstruction.bundle.prior import FramePrior
from fourd_ros.reconstruction.bundle.problem import BundleOptions, BundleProblem
from fourd_ros.reconstruction.bundle.state import POSE
from fourd_ros.reconstruction.motion.motion_segmentation import SHORTEST, tracking_sigma
from fourd_ros.reconstruction.motion.path_start import FEWEST_POINTS, back_projected, path_from_motion, pose_of
from fourd_ros.reconstruction.motion.rigid_pose import PoseOptions, rigid_pose
from fourd_ros.reconstruction.motion.triangulation import triangulated

__all__ = ["LivePose", "SlidingWindow", "WindowOptions"]

FloatArray = NDArray[np.float64]
Ids = NDArray[np.int64]

SMALLEST_SIGMA = 0.05
"""No tracker is believed to be better [px]."""

COARSE = 16.0
"""A pose from a search may be off by so many times the tolerance."""

AGREEING = 0.5
"""A pose near the expected one is right if this share of the points agrees with it."""

QUANTILE = 0.8
"""Of a point's errors in a window that is tested."""

MOST_ASTRAY = 0.5
"""If more than this share of the points disagree, it is the window that is wrong, not the points."""


@dataclass(frozen=True, kw_only=True)
class WindowOptions:
    """How live odometry works.

    Args:
        key_frames: of the window.
        known_share: a frame becomes a key frame when a smaller share of its points is placed.
        parallax: or when points have moved by this share of the longer side since the last key frame.
        longest_gap: or after so many frames.
        shortest_gap: but never sooner than this many after the last one.
        tolerance: of a point that agrees with a pose, as a share of the longer side.
        deviations: a still point's errors within a window stay below so many standard deviations.
        strikes: a point that disagreed so many more times than it agreed counts as moving.
        start_parallax: without depth, frames are collected until points have moved by this share.
        start_frames: without depth, frames that are collected at most before the first is dropped.
        lost_after: frames without a pose after which the window starts again at the last one.
        bundle: of the adjustment of a window.
    """

    key_frames: int = 8
    known_share: float = 0.7
    parallax: float = 0.04
    longest_gap: int = 15
    shortest_gap: int = 3
    tolerance: float = 0.006
    deviations: float = 4.0
    strikes: int = 3
    start_parallax: float = 0.05
    start_frames: int = 60
    lost_after: int = 10
    bundle: BundleOptions = field(
        default_factory=lambda: BundleOptions(
            focal="fixed", depth_sigma=0.05, huber_depth=0.1, scale_sigma=0.0, max_iterations=6, tolerance=1e-4
        )
    )


@dataclass(frozen=True, kw_only=True)
class LivePose:
    """What a frame says.

    Args:
        T_world_camera: shape [4, 4]; *world* is the camera of the first frame that has a pose.
        covariance: of translation and rotation vector in the camera's axes [m^2, rad^2], shape [6, 6].
        still: ids of points that agree with the pose.
        moving: ids of points that keep disagreeing with standing still.
        key_frame: whether the window was adjusted.
        restarted: whether the path was broken: lengths and drift before say nothing about those after.
    """

    T_world_camera: FloatArray
    covariance: FloatArray
    still: Ids
    moving: Ids
    key_frame: bool
    restarted: bool


@dataclass(frozen=True, kw_only=True)
class _Frame:
    """Points of one frame, without distortion; depth is NaN where unknown."""

    ids: Ids
    pixels: FloatArray
    depth: FloatArray


@dataclass(frozen=True, kw_only=True)
class _KeyFrame:
    frame: _Frame
    T_world_camera: FloatArray
    log_scale: float


class SlidingWindow:
    """Camera poses as frames come; memory is bounded by the window and the points in view.

    Args:
        camera: calibration; its lens distortion must have been undone in the points it is given.
        options: how it works.
    """

    def __init__(self, camera: PinholeCamera, options: WindowOptions | None = None) -> None:
        self._camera, self._options = camera, options or WindowOptions()
        self._side = max(camera.width, camera.height)
        self.forget(np.eye(4))

    def forget(self, T_world_camera: FloatArray) -> None:
        """Start again from a pose, as after a jump in time."""
        self._keys: list[_KeyFrame] = []
        self._prior: FramePrior | None = None
        self._points: dict[int, FloatArray] = {}
        self._strikes: dict[int, int] = {}
        self._waiting: list[_Frame] = []
        self._T_world_camera = T_world_camera.copy()
        self._T_before = T_world_camera.copy()
        self._covariance = np.zeros((POSE, POSE))
        self._lost = self._since_key = 0
        self._sigma = self._options.tolerance * self._side / self._options.deviations
        self._restarted = False

    def add(self, ids: Ids, pixels: FloatArray, depth: FloatArray | None = None) -> LivePose | None:
        """The pose of the next frame.

        Args:
            ids: of the points that are seen, each once, shape [n].
            pixels: where, without distortion [px], shape [n, 2].
            depth: z-depth there [m], NaN where unknown, shape [n]; None for a camera without depth.

        Returns:
            None before there is parallax (without depth), and for a frame in which too few points are known.
        """
        unknown = np.full(len(ids), np.nan)
        frame = _Frame(ids=ids, pixels=pixels, depth=unknown if depth is None else depth)
        self._forget_points(ids)
        if not self._keys:
            return self._first(frame, has_depth=depth is not None)
        return self._next(frame)

    def places(self, ids: Ids) -> FloatArray:
        """Points in the world, NaN where not placed, shape [n, 3]."""
        nowhere = np.full(3, np.nan)
        return np.array([self._points.get(int(number), nowhere) for number in ids]).reshape(-1, 3)

    def _first(self, frame: _Frame, *, has_depth: bool) -> LivePose | None:
        if has_depth:
            if (frame.depth > 0).sum() < FEWEST_POINTS:
                return None
            self._add_key(frame, self._T_world_camera)
            self._place_by_depth(frame, self._T_world_camera)
            return self._pose(frame, key_frame=True)
        self._waiting = [*self._waiting, frame][-self._options.start_frames :]
        return self._start_without_depth()

    def _start_without_depth(self) -> LivePose | None:
        """The waiting frames at once, some of them, when the first and the newest have parallax."""
        first, last = self._waiting[0], self._waiting[-1]
        common, mine, theirs = np.intersect1d(first.ids, last.ids, return_indices=True)
        if len(common) < 2 * FEWEST_POINTS:
            self._waiting = self._waiting[1:]
            return None
        moved = np.linalg.norm(last.pixels[theirs] - first.pixels[mine], axis=1)
        if np.median(moved) < self._options.start_parallax * self._side:
            return None
        chosen = np.unique(np.linspace(0, len(self._waiting) - 1, self._options.key_frames).astype(int))
        frames = [self._waiting[index] for index in chosen]
        ids, pixels, seen = _together(frames)
        try:
            start = path_from_motion(pixels, seen, self._camera.K, longer_side=self._side)
        except CannotReconstruct:
            self._waiting = self._waiting[1:]
            return None
        if start.caveats:
            return None
        origin = self._T_world_camera
        placed = np.isfinite(start.points[:, 0]) & start.agrees & (seen.sum(axis=0) >= 2)
        self._points = dict(zip(ids[placed].tolist(), apply(origin, start.points[placed]), strict=True))
        for frame, T in zip(frames, start.T_world_camera, strict=True):
            self._add_key(frame, origin @ T)
        self._waiting = []
        self._adjust()
        self._T_before = self._keys[-1].T_world_camera
        return self._pose(last, key_frame=True)

    def _next(self, frame: _Frame) -> LivePose | None:
        guess = self._T_world_camera @ invert(self._T_before) @ self._T_world_camera
        known = np.flatnonzero(np.isfinite(self.places(frame.ids)[:, 0]) & ~self._moves(frame.ids))
        tolerance = self._options.tolerance * self._side
        T = self._pose_near(guess, frame, known, tolerance)
        if T is None:
            return self._without_pose(frame)
        self._lost = 0
        self._T_before, self._T_world_camera = self._T_world_camera, T
        self._judge(frame)
        self._since_key += 1
        key_frame = self._is_key(frame, known)
        if key_frame:
            self._add_key(frame, T)
            self._adjust()
            self._place_new(frame)
        return self._pose(frame, key_frame=key_frame)

    def _pose_near(
        self, guess: FloatArray, frame: _Frame, known: NDArray[np.int64], tolerance: float
    ) -> FloatArray | None:
        """By pixels and depth from where the camera should be; if that explains too little, by a search.

        The search is the second choice: it is content with any pose that many points roughly agree with, such as one
        that goes along with a slow thing nearby.
        """
        places, pixels, depth = self.places(frame.ids[known]), frame.pixels[known], frame.depth[known]
        expected = PoseOptions(
            pixel_sigma=self._sigma,
            depth_sigma=self._options.bundle.depth_sigma,
            outlier=self._options.deviations,
            fewest=FEWEST_POINTS,
            coarse=1.0,
        )
        found = rigid_pose(places, pixels, depth, self._camera.K, guess, options=expected)
        if found is not None and found.agrees.mean() > AGREEING:
            return found.T_points_camera
        T, _ = pose_of(places, pixels, self._camera.K, guess, tolerance=tolerance)
        if T is None:
            return None
        rough = replace(expected, pixel_sigma=tolerance / self._options.deviations, coarse=COARSE)
        found = rigid_pose(places, pixels, depth, self._camera.K, T, options=rough)
        return T if found is None else found.T_points_camera

    def _without_pose(self, frame: _Frame) -> LivePose | None:
        self._lost += 1
        self._T_before = self._T_world_camera
        if self._lost < self._options.lost_after:
            return None
        self.forget(self._T_world_camera)
        self._restarted = True
        return self._first(frame, has_depth=bool(np.isfinite(frame.depth).any()))

    def _is_key(self, frame: _Frame, known: NDArray[np.int64]) -> bool:
        options, last = self._options, self._keys[-1].frame
        if self._since_key < options.shortest_gap:
            return False
        if self._since_key >= options.longest_gap or len(known) < options.known_share * len(frame.ids):
            return True
        _, mine, theirs = np.intersect1d(frame.ids, last.ids, return_indices=True)
        if not len(mine):
            return True
        moved = np.linalg.norm(frame.pixels[mine] - last.pixels[theirs], axis=1)
        return bool(np.median(moved) > options.parallax * self._side)

    def _judge(self, frame: _Frame) -> None:
        """Counts for and against standing still; points that were taken for moving are asked too."""
        placed = np.isfinite(self.places(frame.ids)[:, 0])
        ids = frame.ids[placed]
        there = apply(invert(self._T_world_camera), self.places(ids))
        with np.errstate(invalid="ignore", divide="ignore"):
            appear = there[:, :2] / there[:, 2:] * self._camera.K[[0, 1], [0, 1]] + self._camera.K[:2, 2]
            errors = np.where(there[:, 2] > 0, np.linalg.norm(appear - frame.pixels[placed], axis=1), np.inf)
        largest = self._options.tolerance * self._side / self._options.deviations
        self._sigma = min(max(tracking_sigma(errors[~self._moves(ids)]), SMALLEST_SIGMA), largest)
        wrong = errors > self._options.deviations * self._sigma
        most = 2 * self._options.strikes
        for number, bad in zip(ids.tolist(), wrong, strict=True):
            strikes = self._strikes.get(number, 0) + (1 if bad else -1)
            self._strikes[number] = min(max(strikes, -most), most)

    def _moves(self, ids: Ids) -> NDArray[np.bool_]:
        return np.array([self._strikes.get(int(number), 0) >= self._options.strikes for number in ids], bool)

    def _forget_points(self, ids: Ids) -> None:
        """Of points that neither this frame nor the window sees."""
        needed = set(ids.tolist()).union(*(key.frame.ids.tolist() for key in self._keys))
        self._points = {number: place for number, place in self._points.items() if number in needed}
        self._strikes = {number: strikes for number, strikes in self._strikes.items() if number in needed}

    def _place_by_depth(self, frame: _Frame, T: FloatArray) -> None:
        new = np.isnan(self.places(frame.ids)[:, 0]) & (frame.depth > 0)
        places = apply(T, back_projected(frame.pixels[new], frame.depth[new], self._camera.K))
        self._points.update(zip(frame.ids[new].tolist(), places, strict=True))

    def _place_new(self, frame: _Frame) -> None:
        """Points of a key frame that have none yet: by depth, else by the rays of the window."""
        self._place_by_depth(frame, self._T_world_camera)
        missing = frame.ids[np.isnan(self.places(frame.ids)[:, 0])]
        if not len(missing) or len(self._keys) < 2:
            return
        problem = self._problem(missing)
        places = triangulated(problem.pixels, problem.weights, problem.T_world_camera, self._camera.K)
        placed = np.isfinite(places[:, 0])
        self._points.update(zip(missing[placed].tolist(), places[placed], strict=True))

    def _add_key(self, frame: _Frame, T: FloatArray) -> None:
        self._since_key = 0
        if len(self._keys) >= self._options.key_frames:
            self._drop_first(frame.ids)
        log_scale = self._keys[-1].log_scale if self._keys else 0.0
        self._keys.append(_KeyFrame(frame=frame, T_world_camera=T.copy(), log_scale=log_scale))

    def _drop_first(self, current: Ids) -> None:
        """The oldest key frame goes; points that it saw and that are out of view go with it into the prior."""
        ids = self._window_ids()
        problem = replace(self._problem(ids), prior=self._prior)
        leaving = ~np.isin(ids, current)
        try:
            self._prior = prior_without_first(problem, leaving, self._options.bundle)
        except CannotReconstruct:
            self._prior = None
        first, second = self._keys[0].T_world_camera, self._keys[1].T_world_camera
        self._covariance = _carried(self._covariance, invert(first) @ second) + self._step_covariance
        self._keys = self._keys[1:]

    def _adjust(self) -> None:
        """The window once, and once more without points that turn out to move."""
        if self._adjusted() and self._adjusted():
            self._adjusted()

    def _adjusted(self) -> bool:
        """Adjusts the window; whether points disagree that had not before."""
        ids = self._window_ids()
        problem = replace(self._problem(ids), prior=self._prior)
        try:
            adjustment = Adjustment(problem, self._options.bundle)
        except CannotReconstruct:
            return False
        solution = adjustment.run()
        self._keys = [
            replace(key, T_world_camera=T, log_scale=float(scale))
            for key, T, scale in zip(self._keys, solution.T_world_camera, solution.log_scales, strict=True)
        ]
        self._points.update(zip(ids.tolist(), solution.points, strict=True))
        self._T_world_camera = solution.T_world_camera[-1]
        self._set_covariances(adjustment)
        astray = self._astray(solution.errors)
        self._strikes.update(dict.fromkeys(ids[astray].tolist(), 2 * self._options.strikes))
        return bool(astray.any())

    def _astray(self, errors: FloatArray) -> NDArray[np.bool_]:
        """Points that the window cannot explain as standing still, from reprojection errors [K, n]."""
        seen = ~np.isnan(errors)
        judged = seen.sum(axis=0) >= SHORTEST
        bound = max(self._options.deviations * tracking_sigma(errors), self._options.tolerance * self._side / 2)
        usual = np.full(errors.shape[1], 0.0)
        known = np.where(np.isposinf(errors), 1e9, errors)[:, judged]
        usual[judged] = _quantile_of_known(known, QUANTILE)
        astray = judged & (usual > bound)
        window_is_wrong = astray.sum() >= MOST_ASTRAY * max(judged.sum(), 1)
        return np.zeros_like(astray) if window_is_wrong else astray

    def _set_covariances(self, adjustment: Adjustment) -> None:
        """Of the second and the newest key frame, the first being held."""
        information, _ = adjustment.reduced()
        size = adjustment.unknowns
        poses = (np.arange(1, len(self._keys))[:, None] * size + np.arange(POSE)).ravel()
        spread = np.linalg.pinv(information[np.ix_(poses, poses)], hermitian=True)
        self._step_covariance, self._newest_covariance = spread[:POSE, :POSE], spread[-POSE:, -POSE:]

    def _window_ids(self) -> Ids:
        """Placed points that stand still and that the window sees."""
        ids = np.unique(np.concatenate([key.frame.ids for key in self._keys]))
        return ids[np.isfinite(self.places(ids)[:, 0]) & ~self._moves(ids)]

    def _problem(self, ids: Ids) -> BundleProblem:
        shape = (len(self._keys), len(ids))
        pixels, weights, depth = np.zeros((*shape, 2)), np.zeros(shape), np.full(shape, np.nan)
        for row, key in enumerate(self._keys):
            _, column, source = np.intersect1d(ids, key.frame.ids, return_indices=True)
            pixels[row, column], weights[row, column] = key.frame.pixels[source], 1.0
            depth[row, column] = key.frame.depth[source]
        return BundleProblem(
            pixels=pixels,
            weights=weights,
            T_world_camera=np.stack([key.T_world_camera for key in self._keys]),
            points=np.nan_to_num(self.places(ids)),
            focal=self._camera.K[[0, 1], [0, 1]],
            centre=self._camera.K[:2, 2],
            depth=depth if np.isfinite(depth).any() else None,
            log_scales=np.array([key.log_scale for key in self._keys]),
        )

    def _pose(self, frame: _Frame, *, key_frame: bool) -> LivePose:
        moving = self._moves(frame.ids)
        placed = np.isfinite(self.places(frame.ids)[:, 0])
        restarted, self._restarted = self._restarted, False
        covariance = self._covariance + self._newest_covariance if len(self._keys) > 1 else self._covariance
        return LivePose(
            T_world_camera=self._T_world_camera.copy(),
            covariance=covariance.copy(),
            still=frame.ids[placed & ~moving],
            moving=frame.ids[moving],
            key_frame=key_frame,
            restarted=restarted,
        )


def _together(frames: list[_Frame]) -> tuple[Ids, FloatArray, NDArray[np.bool_]]:
    """All ids of frames, where they are [F, n, 2] and whether they are seen [F, n]."""
    ids = np.unique(np.concatenate([frame.ids for frame in frames]))
    pixels, seen = np.zeros((len(frames), len(ids), 2)), np.zeros((len(frames), len(ids)), bool)
    for row, frame in enumerate(frames):
        column = np.searchsorted(ids, frame.ids)
        pixels[row, column], seen[row, column] = frame.pixels, True
    return ids, pixels, seen


def _carried(covariance: FloatArray, T_first_second: FloatArray) -> FloatArray:
    """Covariance of a pose that hangs rigidly on one with `covariance`, in its own axes (adjoint)."""
    R, t = T_first_second[:3, :3], T_first_second[:3, 3]
    cross = np.array([[0, -t[2], t[1]], [t[2], 0, -t[0]], [-t[1], t[0], 0]])
    adjoint = np.block([[R.T, -R.T @ cross], [np.zeros((3, 3)), R.T]])
    carried: FloatArray = adjoint @ covariance @ adjoint.T
    return carried


def _quantile_of_known(values: FloatArray, share: float) -> FloatArray:
    """Of each column without its NaN, of which some must be left, shape [n]; `np.nanquantile` goes column by column."""
    ordered, last = np.sort(values, axis=0), np.isfinite(values).sum(axis=0) - 1
    below = np.floor(share * last).astype(np.int64)
    lower, upper = (np.take_along_axis(ordered, rows[None], axis=0)[0] for rows in (below, np.minimum(below + 1, last)))
    return np.asarray(lower + (share * last - below) * (upper - lower))
