"""From tracks to the motion of camera and objects: the whole of a clip at once."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from fourd_ros.errors import CannotReconstruct, InvalidTracks
from fourd_ros.geometry.camera import PinholeCamera
from fourd_ros.geometry.transforms import apply, invert
from fourd_ros.reconstruction.bundle.problem import BundleOptions, BundleProblem, BundleSolution
from fourd_ros.reconstruction.bundle.state import POSE
from fourd_ros.reconstruction.motion.motion_segmentation import (
    SHORTEST,
    Segmentation,
    SegmentationOptions,
    adjust_only,
    segment_motion,
    tracking_sigma,
)
from fourd_ros.reconstruction.motion.object_grouping import group_tracks
from fourd_ros.reconstruction.motion.object_motion import ObjectFit, fit_object
from fourd_ros.reconstruction.motion.path_start import FEWEST_POINTS, PathStart, path_from_depth, path_from_motion
from fourd_ros.reconstruction.motion.scene_motion import REJECTED, STATIC, MovingObject, SceneMotion
from fourd_ros.reconstruction.motion.track_depth import depth_at
from fourd_ros.reconstruction.motion.tracks import Tracks

FloatArray = NDArray[np.float64]
Labels = NDArray[np.int64]

VIEW_ANGLES = (40.0, 55.0, 70.0, 90.0)
"""Horizontal fields of view that are tried when nobody knows the calibration [degrees]."""

UNKNOWN = -2
"""Label of a track of which nobody said whether it moves."""

GUESSED_FROM = 600
"""Tracks, the longest, from which a field of view is guessed."""

HUBER_DEVIATIONS = 2.5
"""Errors of still tracks beyond so many standard deviations count linearly."""

SMALLEST_SIGMA = 0.01
"""Trackers are not believed to be better than this [px]."""

UNITED, UNITED_GROWTH, UNITED_DEVIATIONS = 0.8, 3.0, 4.0
"""Two groups are one object if this share of the tracks of each follow a common motion and the sum of their squared
errors grows by less than so many times what the poses saved would explain; errors count up to so many deviations."""

COMPARED_FRAMES = 5
"""Motions of neighbours are compared over so many frames, where they stand out of the noise."""

COMPARED_DEVIATIONS = 3.0
"""And count as the same if they differ by less than so many standard deviations of a track's position."""

STILL_MASK = 0.5
"""A track belongs to the mask that covers more than this share of where it is seen."""


@dataclass(frozen=True, kw_only=True)
class SolverOptions:
    """How a scene is solved.

    Args:
        focal: ``fixed`` for a calibrated camera, ``shared`` where its focal length may be off, ``separate`` where fx
            and fy may be off differently.
        bundle: of the adjustment; sigmas and bounds of pixels are found from the tracks.
        segmentation: when a track moves.
    """

    focal: Literal["fixed", "shared", "separate"] = "shared"
    bundle: BundleOptions = field(
        default_factory=lambda: BundleOptions(depth_sigma=0.5, huber_depth=0.2, tolerance=1e-5)
    )
    segmentation: SegmentationOptions = field(default_factory=SegmentationOptions)


def solve_scene(
    tracks: Tracks,
    *,
    camera: PinholeCamera | None,
    depth: NDArray[np.floating] | None = None,
    labels: Labels | None = None,
    options: SolverOptions | None = None,
    progress: Callable[[str], None] | None = None,
) -> SceneMotion:
    """Camera path, focal length, still points and moving objects that explain `tracks`.

    Args:
        tracks: of N points in F frames, at least two.
        camera: calibration, from which the focal length may be off; None tries several fields of view.
        depth: z-depth [m], NaN where unknown, shape [F, H, W]; lengths are in metres then.
        labels: of every track, ``STATIC``, the number of an object or ``UNKNOWN``, shape [N]; without them the
            tracks themselves must tell what moves.
        options: how to solve.
        progress: is told what begins.

    Raises:
        CannotReconstruct: too few tracks, or the camera's path cannot be found from them.
        InvalidTracks: depth or labels that do not fit the tracks.
    """
    options = options or SolverOptions()
    _check(tracks, depth, labels)
    if camera is None:
        return _with_guessed_camera(tracks, depth, labels, options, progress)
    return _Solver(tracks, camera, depth, labels, options, progress or (lambda _: None)).solve()


def labels_from_masks(tracks: Tracks, masks: NDArray[np.int32]) -> Labels:
    """What masks say of tracks: the object that covers most of where one is seen, else ``UNKNOWN``.

    Args:
        tracks: of N points in F frames.
        masks: numbers of objects, 0 none, shape [F, H, W].

    Returns:
        Shape [N]. A track outside all masks is ``UNKNOWN``, not ``STATIC``: segmenters overlook things.
    """
    seen = tracks.seen
    frame, track = np.nonzero(seen)
    x, y = tracks.positions[frame, track].astype(np.int64).T
    numbers = masks[frame, y, x]
    labels = np.full(len(tracks), UNKNOWN, np.int64)
    total = seen.sum(axis=0)
    for number in np.unique(numbers[numbers > 0]):
        covered = np.bincount(track[numbers == number], minlength=len(tracks))
        labels[covered > STILL_MASK * np.maximum(total, 1)] = number
    return labels


class _Solver:
    def __init__(
        self,
        tracks: Tracks,
        camera: PinholeCamera,
        depth: NDArray[np.floating] | None,
        labels: Labels | None,
        options: SolverOptions,
        progress: Callable[[str], None],
    ) -> None:
        self._tracks, self._camera, self._options, self._tell = tracks, camera, options, progress
        self._seen = tracks.seen
        self._pixels = _undistorted(tracks.positions, self._seen, camera)
        self._depth = None if depth is None else depth_at(depth, tracks.positions, self._seen)
        self._given = labels
        self._side = max(camera.width, camera.height)

    def solve(self) -> SceneMotion:
        self._tell("first poses")
        start = self._start()
        problem = self._problem(start)
        self._tell("camera path")
        found = self._segmented(problem, start)
        solution, sigma = self._refined(problem, found)
        camera = self._with_focal(solution.focal)
        self._tell("objects")
        labels = np.where(found.still, STATIC, REJECTED).astype(np.int64)
        labels = self._grouped(labels, found, solution, camera, sigma)
        fits, caveats = self._objects(labels, solution, camera, sigma)
        if self._given is None:
            fits = self._united(fits, solution, camera, sigma)
        objects = tuple(fit.moving for fit in fits)
        kept = {int(moving.number): moving.tracks for moving in objects}
        labels[labels > STATIC] = REJECTED
        for number, tracks in kept.items():
            labels[tracks] = number
        return self._motion(camera, solution, labels, objects, (*start.caveats, *caveats))

    def _start(self) -> PathStart:
        static = np.ones(len(self._tracks), bool) if self._given is None else np.isin(self._given, (STATIC, UNKNOWN))
        if static.sum() < SHORTEST:
            raise CannotReconstruct(f"{static.sum()} tracks are not on moving objects; at least {SHORTEST} are needed")
        seen = self._seen & static
        K = self._camera.K
        if self._depth is not None and np.isfinite(self._depth[0, seen[0]]).sum() >= 6:
            return path_from_depth(self._pixels, seen, self._depth, K, longer_side=self._side)
        return path_from_motion(self._pixels, seen, K, longer_side=self._side)

    def _problem(self, start: PathStart) -> BundleProblem:
        placed = np.isfinite(start.points[:, 0])
        return BundleProblem(
            pixels=self._pixels,
            weights=(self._seen & placed).astype(np.float64),
            T_world_camera=start.T_world_camera,
            points=np.nan_to_num(start.points),
            focal=self._camera.K[[0, 1], [0, 1]],
            centre=self._camera.K[:2, 2],
            depth=self._depth,
        )

    def _segmented(self, problem: BundleProblem, start: PathStart) -> Segmentation:
        bundle = self._bundle(None)
        given = self._given
        if given is not None and not (given == UNKNOWN).any():
            still = given == STATIC
            solution = adjust_only(problem, still, bundle)
            judged = (problem.weights > 0).sum(axis=0) >= SHORTEST
            sigma = tracking_sigma(solution.errors[:, still])
            return Segmentation(still=still & judged, judged=judged, solution=solution, sigma=sigma)
        eligible = np.ones(len(self._tracks), bool) if given is None else np.isin(given, (STATIC, UNKNOWN))
        masked = replace(problem, weights=problem.weights * eligible)
        return segment_motion(
            masked, start.agrees & eligible, longer_side=self._side, bundle=bundle, options=self._options.segmentation
        )

    def _refined(self, problem: BundleProblem, found: Segmentation) -> tuple[BundleSolution, float]:
        """Still tracks once more, with the noise that they have; single frames in which they jump are left out."""
        sigma = max(found.sigma, SMALLEST_SIGMA)
        limit = max(self._options.segmentation.deviations * sigma, self._options.segmentation.share * self._side)
        with np.errstate(invalid="ignore"):
            jumps = found.solution.errors > limit
        again = replace(
            problem,
            weights=np.where(jumps, 0.0, problem.weights),
            T_world_camera=found.solution.T_world_camera,
            points=found.solution.points,
            focal=found.solution.focal,
            log_scales=found.solution.log_scales,
        )
        solution = adjust_only(again, found.still, self._bundle(sigma))
        if not np.isfinite(solution.T_world_camera).all():
            raise CannotReconstruct("the adjustment of the camera path does not converge; are the tracks still ones?")
        return solution, sigma

    def _bundle(self, sigma: float | None) -> BundleOptions:
        """With the noise of the tracks, once it is known."""
        bundle = replace(self._options.bundle, focal=self._options.focal)
        if sigma is None:
            return bundle
        return replace(bundle, pixel_sigma=sigma, huber_pixels=HUBER_DEVIATIONS * sigma)

    def _with_focal(self, focal: FloatArray) -> PinholeCamera:
        K = self._camera.K.copy()
        K[0, 0], K[1, 1] = focal
        return replace(self._camera, K=K)

    def _grouped(
        self, labels: Labels, found: Segmentation, solution: BundleSolution, camera: PinholeCamera, sigma: float
    ) -> Labels:
        """Labels with the numbers of objects, given ones first."""
        given = self._given
        if given is not None:
            labels = np.where(given > STATIC, given, labels)
        moving = found.judged & (labels == REJECTED)
        if (given is not None and not (given == UNKNOWN).any()) or not moving.any():
            return labels
        chosen = np.flatnonzero(moving)
        residual = self._beyond_still(chosen, solution, camera)
        groups = group_tracks(
            self._pixels[:, chosen],
            self._seen[:, chosen],
            residual,
            longer_side=self._side,
            noise=COMPARED_DEVIATIONS * sigma,
        )
        used = int(labels.max(initial=0))
        labels[chosen] = np.where(groups == REJECTED, REJECTED, groups + used)
        return labels

    def _beyond_still(self, chosen: Labels, solution: BundleSolution, camera: PinholeCamera) -> FloatArray:
        """Motion in the image over some frames beyond that of a still point at the same depth, shape [*, n, 2]."""
        gap = min(COMPARED_FRAMES, max(1, (len(self._seen) - 1) // 3))
        depth = self._unit_depth(chosen, solution)
        pixels, seen = self._pixels[:, chosen], self._seen[:, chosen]
        rays = np.concatenate([(pixels - camera.K[:2, 2]) / camera.K[[0, 1], [0, 1]], np.ones((*seen.shape, 1))], -1)
        step = invert(solution.T_world_camera[gap:]) @ solution.T_world_camera[:-gap]
        there = apply(step, rays[:-gap] * depth[:-gap, :, None])
        still = there[..., :2] / there[..., 2:] * camera.K[[0, 1], [0, 1]] + camera.K[:2, 2]
        both = seen[:-gap] & seen[gap:]
        return np.where(both[..., None], pixels[gap:] - still, np.nan)

    def _unit_depth(self, chosen: Labels, solution: BundleSolution) -> FloatArray:
        """Depth at tracks in the unit of the path; without a depth camera, that of the still points around."""
        if self._depth is not None:
            return self._depth[:, chosen] * np.exp(solution.log_scales)[:, None]
        scaled = np.full((len(self._seen), len(chosen)), np.nan)
        R, t = solution.T_world_camera[:, :3, :3], solution.T_world_camera[:, :3, 3]
        known = np.isfinite(solution.errors).any(axis=0)
        for frame in np.flatnonzero(self._seen[:, chosen].any(axis=1)):
            around = np.flatnonzero(known & self._seen[frame])
            missing = self._seen[frame, chosen]
            if not len(around):
                continue
            z = (solution.points[around] - t[frame]) @ R[frame, :, 2]
            apart = self._pixels[frame, chosen[missing], None] - self._pixels[frame, around]
            scaled[frame, missing] = z[(apart**2).sum(axis=-1).argmin(axis=1)]
        return scaled

    def _objects(
        self, labels: Labels, solution: BundleSolution, camera: PinholeCamera, sigma: float
    ) -> tuple[tuple[ObjectFit, ...], tuple[str, ...]]:
        found, caveats = [], []
        if self._depth is None and (labels > STATIC).any():
            caveats.append("without depth the distance of moving objects is a guess: that of still points beside them")
        for number in np.unique(labels[labels > STATIC]):
            try:
                found.append(self._object(int(number), np.flatnonzero(labels == number), solution, camera, sigma))
            except CannotReconstruct as reason:
                caveats.append(f"object {number} has no path: {reason}")
        return tuple(found), tuple(caveats)

    def _object(
        self, number: int, tracks: Labels, solution: BundleSolution, camera: PinholeCamera, sigma: float
    ) -> ObjectFit:
        return fit_object(
            number,
            tracks,
            pixels=self._pixels[:, tracks],
            seen=self._seen[:, tracks],
            depth=self._unit_depth(tracks, solution),
            T_world_camera=solution.T_world_camera,
            camera=camera,
            options=self._bundle(sigma),
        )

    def _united(
        self, fits: tuple[ObjectFit, ...], solution: BundleSolution, camera: PinholeCamera, sigma: float
    ) -> tuple[ObjectFit, ...]:
        """Groups that move as one are one object: tracks of a thing are not always neighbours."""
        kept: list[ObjectFit] = []
        for fit in fits:
            for index, other in enumerate(kept):
                both = np.concatenate([other.moving.tracks, fit.moving.tracks])
                try:
                    union = self._object(other.moving.number, both, solution, camera, sigma)
                except CannotReconstruct:
                    continue
                if self._is_one(union, other, fit, sigma):
                    kept[index] = union
                    break
            else:
                kept.append(fit)
        return tuple(kept)

    @staticmethod
    def _is_one(union: ObjectFit, first: ObjectFit, second: ObjectFit, sigma: float) -> bool:
        """Whether one rigid motion explains two groups: errors grow by what a pose less in every frame accounts for."""
        groups = (first, second)
        if any(np.isin(group.moving.tracks, union.moving.tracks).mean() < UNITED for group in groups):
            return False
        bound = UNITED_DEVIATIONS * sigma
        squares = [np.nansum(np.minimum(fit.errors, bound) ** 2) for fit in (union, *groups)]
        frames = min(int(np.isfinite(group.moving.T_world_object[:, 0, 0]).sum()) for group in groups)
        return bool(squares[0] - squares[1] - squares[2] <= UNITED_GROWTH * POSE * frames * sigma**2)

    def _motion(
        self,
        camera: PinholeCamera,
        solution: BundleSolution,
        labels: Labels,
        objects: tuple[MovingObject, ...],
        caveats: tuple[str, ...],
    ) -> SceneMotion:
        still = labels == STATIC
        errors = solution.errors[:, still]
        errors = errors[np.isfinite(errors)]
        return SceneMotion(
            camera=camera,
            T_world_camera=solution.T_world_camera,
            labels=labels,
            points=np.where(still[:, None], solution.points, np.nan),
            objects=objects,
            depth_scales=np.exp(solution.log_scales),
            metric=self._depth is not None,
            rms=float(np.sqrt((errors**2).mean())) if len(errors) else float("nan"),
            caveats=caveats,
        )


def _check(tracks: Tracks, depth: NDArray[np.floating] | None, labels: Labels | None) -> None:
    if tracks.frames < 2:
        raise CannotReconstruct(f"a path needs at least two frames, given {tracks.frames}")
    if len(tracks) < FEWEST_POINTS:
        raise CannotReconstruct(f"{len(tracks)} points could be followed; do the pictures show anything with texture?")
    if depth is not None and depth.shape != (tracks.frames, tracks.height, tracks.width):
        needed = [tracks.frames, tracks.height, tracks.width]
        raise InvalidTracks(f"depth has shape {list(depth.shape)}, needed {needed} as the tracks have")
    if labels is not None and labels.shape != (len(tracks),):
        raise InvalidTracks(f"labels have shape {list(labels.shape)}, needed [{len(tracks)}]")


def _undistorted(positions: FloatArray, seen: NDArray[np.bool_], camera: PinholeCamera) -> FloatArray:
    """Where the tracks would appear without the distortion of the lens, shape [F, N, 2]."""
    if not camera.distorted:
        return positions
    found = np.where(seen[..., None], positions, 0.0)
    flat = cv2.undistortPoints(found.reshape(-1, 1, 2), camera.K, camera.distortion, P=camera.K)
    return np.asarray(flat, np.float64).reshape(positions.shape)


def _with_guessed_camera(
    tracks: Tracks,
    depth: NDArray[np.floating] | None,
    labels: Labels | None,
    options: SolverOptions,
    progress: Callable[[str], None] | None,
) -> SceneMotion:
    """The field of view with which still tracks fit best, found from some tracks and then used for all."""
    longest = np.sort(np.argsort(-tracks.seen.sum(axis=0), kind="stable")[:GUESSED_FROM])
    known = None if labels is None else labels[longest]
    best: SceneMotion | None = None
    last = ""
    for angle in VIEW_ANGLES:
        focal = tracks.width / 2 / np.tan(np.radians(angle) / 2)
        K = np.array([[focal, 0, (tracks.width - 1) / 2], [0, focal, (tracks.height - 1) / 2], [0, 0, 1]])
        camera = PinholeCamera(width=tracks.width, height=tracks.height, K=K)
        try:
            found = solve_scene(tracks.of(longest), camera=camera, depth=depth, labels=known, options=options)
        except CannotReconstruct as reason:
            last = str(reason)
            continue
        if best is None or _fit(found) > _fit(best):
            best = found
    if best is None:
        raise CannotReconstruct(f"no path fits the tracks, whatever the field of view: {last}")
    motion = solve_scene(tracks, camera=best.camera, depth=depth, labels=labels, options=options, progress=progress)
    told = f"no calibration was given: a focal length of {motion.camera.K[0, 0]:.0f} px fits best"
    return replace(motion, caveats=(told, *motion.caveats))


def _fit(motion: SceneMotion) -> float:
    """Still tracks, fewer the larger their errors are."""
    return float((motion.labels == STATIC).sum() / (1 + motion.rms))


__all__ = ["UNKNOWN", "SolverOptions", "labels_from_masks", "solve_scene"]
