"""The bundle adjustment of DynamicVerse as it is: first-order steps in three stages, for comparisons with ours.

First each new frame is fitted to the four before it, by pairs of frames and their depth; then all poses and static
points together; then the points of objects that move, each in each frame by itself. Nothing is robust, nothing fixes
the world, and focal lengths move by no more than a ten-thousandth of a pixel in a step; that is how the original does
it. Takes minutes for a short clip. Source: specification of DynamicVerse, 6.4.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation
from torch import Tensor

from fourd_ros.errors import CannotReconstruct, InvalidClip
from fourd_ros.geometry.camera import PinholeCamera
from fourd_ros.geometry.transforms import apply, from_parts, invert
from fourd_ros.reconstruction.motion.scene_motion import REJECTED, STATIC, MovingObject, SceneMotion
from fourd_ros.reconstruction.motion.tracks import Tracks
from fourd_ros.reconstruction.official.axis_angle import rotation_matrices, starting_poses
from fourd_ros.reconstruction.official.losses import (
    moving_smoothness,
    pairwise_loss,
    reprojection_loss,
    rigidity_loss,
    rotation_smoothness,
    translation_smoothness,
)
from fourd_ros.reconstruction.official.optimiser import Rate, descend
from fourd_ros.reconstruction.official.point_initialisation import (
    RIGIDITY_WEIGHT,
    SMOOTHNESS_WEIGHT,
    dynamic_outliers,
    isolated_points,
    moving_points,
    neighbours_at_birth,
    static_points,
)
from fourd_ros.reconstruction.official.projection import bilinear, intrinsics, project, within_image
from fourd_ros.reconstruction.official.rigid_motion import object_of_points
from fourd_ros.reconstruction.official.track_labels import (
    DYNAMIC,
    LONG_STATIC,
    SHORT_STATIC,
    label_tracks,
    objects_of_tracks,
    window_tracks,
)
from fourd_ros.reconstruction.official.track_regions import Regions

__all__ = ["OfficialSchedule", "OfficialSearch", "sliding_windows", "solve_official"]

WINDOW = 5
POSE_RATE, LATER_POSE_RATE, POINT_RATE, FOCAL_RATE = 1e-2, 1e-3, 1e-2, 1e-4
SMOOTH_FRAMES = 3
"""Frames that smoothness of the camera needs."""

_WINDOW_PATIENCE, _WINDOW_RATE_PATIENCE = 20, 10
_PATIENCE, _RATE_PATIENCE = 100, 20
_LEAST_SEEN = 3


@dataclass(frozen=True, kw_only=True)
class OfficialSchedule:
    """How long, at most, and what for.

    Args:
        window_epochs: steps for each window.
        static_epochs: steps for all static points.
        moving_epochs: steps for the points that move.
        optimise_focal: seek the focal lengths, with the principal point in the middle of the image whatever the
            calibration says; else the calibration is taken as it is.
    """

    window_epochs: int = 600
    static_epochs: int = 2000
    moving_epochs: int = 1000
    optimise_focal: bool = True


def sliding_windows(frames: int, *, size: int = WINDOW) -> list[list[int]]:
    """The frames in the window after each new one: that one and up to `size` - 1 before it."""
    return [list(range(max(0, last - size + 1), last + 1)) for last in range(frames)]


def solve_official(
    tracks: Tracks,
    *,
    depth: NDArray[np.float32],
    camera: PinholeCamera,
    regions: Regions,
    schedule: OfficialSchedule = OfficialSchedule(),
) -> SceneMotion:
    """Camera path and points, the way DynamicVerse finds them.

    Args:
        tracks: without distortion.
        depth: of the frames [m], known everywhere, shape [F, H, W].
        camera: whose focal lengths the search starts from.
        regions: of the same frames.
        schedule: how long to look.

    Raises:
        InvalidClip: depth or masks of another size, or depth that is not known everywhere.
        CannotReconstruct: no track stands still.
    """
    size = (tracks.frames, tracks.height, tracks.width)
    if depth.shape != size or regions.of_tracks.shape != size:
        given = f"depth {list(depth.shape)} and masks {list(regions.of_tracks.shape)}"
        raise InvalidClip(f"{given} for tracks of {list(size)} frames, rows and columns")
    if not np.isfinite(depth).all():
        raise InvalidClip(
            f"{int((~np.isfinite(depth)).sum())} pixels have no depth; this schedule needs all, the default solver none"
        )
    labels = label_tracks(tracks, regions)
    if not (labels == LONG_STATIC).any():
        raise CannotReconstruct(f"none of {len(tracks)} tracks stands still for a fifth of the frames")
    search = OfficialSearch(tracks, labels, depth, camera, regions, schedule)
    search.window_stage()
    search.static_stage()
    points = search.points_anew()
    moving, outliers = search.moving_stage()
    return _motion(search, points, moving, outliers)


class OfficialSearch:
    """The stages one by one, in their order, for who wants to look in between; ``solve_official`` does them all.

    Attributes:
        omega: axis-angle vectors of the cameras in the world [rad], shape [F, 3].
        t: centres of the cameras [m], shape [F, 3].
        focal: fx, fy [px], shape [2].
    """

    def __init__(
        self,
        tracks: Tracks,
        labels: NDArray[np.int32],
        depth: NDArray[np.float32],
        camera: PinholeCamera,
        regions: Regions,
        schedule: OfficialSchedule,
    ) -> None:
        self.tracks, self.labels, self.regions, self.schedule = tracks, labels, regions, schedule
        self.depth = torch.from_numpy(np.array(depth, np.float32))
        positions = torch.from_numpy(np.nan_to_num(tracks.positions).astype(np.float32))
        self.places = within_image(positions, width=tracks.width, height=tracks.height)
        self.seen, self.confidence = torch.from_numpy(tracks.seen), torch.from_numpy(tracks.visible)
        self._given_K = torch.from_numpy(camera.K.astype(np.float32))
        self.omega, self.t = (one.requires_grad_() for one in starting_poses(tracks.frames))
        self.focal = self._given_K.diagonal()[:2].clone().requires_grad_(schedule.optimise_focal)

    def calibration(self) -> Tensor:
        """K with the focal lengths as they are now."""
        if not self.schedule.optimise_focal:
            return self._given_K
        return intrinsics(self.focal, width=self.tracks.width, height=self.tracks.height)

    def window_stage(self) -> None:
        """Poses, one frame after the other."""
        chosen = self._of(window_tracks(self.tracks, self.regions, self.labels, official_compat=True))
        places, seen = self.places[:, chosen], self.seen[:, chosen]
        depth = bilinear(self.depth, places)
        frozen = torch.zeros(self.tracks.frames, dtype=torch.bool)
        for number, frames in enumerate(sliding_windows(self.tracks.frames)[1:]):
            with torch.no_grad():
                for variable in (self.omega, self.t):
                    variable[frames[-1]] = variable[frames[-2]]
            self._fit_window(frames, frozen, places, seen, depth, rate=LATER_POSE_RATE if number else POSE_RATE)
            frozen[frames[0]] = True

    def _fit_window(
        self, frames: list[int], frozen: Tensor, places: Tensor, seen: Tensor, depth: Tensor, *, rate: float
    ) -> None:
        pairs = torch.tensor([(a, b) for a in range(len(frames)) for b in range(len(frames)) if a != b])

        def loss() -> Tensor:
            R, t = rotation_matrices(self.omega[frames]), self.t[frames]
            error = pairwise_loss(places[frames], seen[frames], depth[frames], pairs, R, t, self.calibration())
            return error + _smoothness(R, t)

        descend(
            loss,
            [*self._poses(rate), *self._focal()],
            epochs=self.schedule.window_epochs,
            patience=_WINDOW_PATIENCE,
            rate_patience=_WINDOW_RATE_PATIENCE,
            before_step=self._freezer(frozen),
        )

    def static_stage(self) -> None:
        """All poses together with long static points, which are then forgotten."""
        chosen = self._of(np.flatnonzero(self.labels == LONG_STATIC))
        places, seen = self.places[:, chosen], self.seen[:, chosen]
        points = self._start(chosen).requires_grad_()

        def loss() -> Tensor:
            R = rotation_matrices(self.omega)
            return reprojection_loss(points, places, seen, R, self.t, self.calibration()) + _smoothness(R, self.t)

        descend(
            loss,
            [Rate(variable=points, rate=POINT_RATE), *self._poses(POSE_RATE), *self._focal()],
            epochs=self.schedule.static_epochs,
            patience=_PATIENCE,
            rate_patience=_RATE_PATIENCE,
        )

    def points_anew(self) -> NDArray[np.float64]:
        """Static points from the depth and the final poses, NaN for isolated and all other tracks, shape [N, 3]."""
        static = np.isin(self.labels, (LONG_STATIC, SHORT_STATIC)) & (self.tracks.seen.sum(axis=0) >= _LEAST_SEEN)
        index = np.flatnonzero(static)
        points = self._start(self._of(index))
        found = np.full((len(self.tracks), 3), np.nan)
        found[index] = np.where(isolated_points(points).numpy()[:, None], np.nan, points.numpy())
        return found

    def moving_stage(self) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Points of moving tracks in every frame, shape [n, F, 3], and which of them are outliers, shape [n]."""
        chosen = self._of(np.flatnonzero(self.labels == DYNAMIC))
        places, seen = self.places[:, chosen], self.seen[:, chosen]
        with torch.no_grad():
            R, t, K = rotation_matrices(self.omega), self.t, self.calibration()
            points = moving_points(places, self.depth, R, t, K).contiguous()
            born = torch.from_numpy(self.tracks.born)[chosen]
            neighbours = neighbours_at_birth(places, seen, born, self.depth, K)
        points.requires_grad_()

        def loss() -> Tensor:
            error = reprojection_loss(points, places, seen, R.detach(), t.detach(), K.detach())
            smooth, rigid = moving_smoothness(points, seen), rigidity_loss(points, seen, neighbours)
            return error + SMOOTHNESS_WEIGHT * smooth + RIGIDITY_WEIGHT * rigid

        if len(chosen):
            descend(
                loss,
                [Rate(variable=points, rate=POINT_RATE)],
                epochs=self.schedule.moving_epochs,
                patience=_PATIENCE,
                rate_patience=_RATE_PATIENCE,
            )
        outliers = dynamic_outliers(points.detach(), seen, neighbours)
        return points.detach().double().numpy(), outliers.numpy()

    @torch.no_grad()
    def _start(self, chosen: Tensor) -> Tensor:
        seen, confidence = self.seen[:, chosen], self.confidence[:, chosen]
        camera = rotation_matrices(self.omega), self.t, self.calibration()
        return static_points(self.places[:, chosen], seen, self.depth, *camera, official_confidence=confidence)

    def _of(self, index: NDArray[np.int64]) -> Tensor:
        return torch.from_numpy(index)

    def _poses(self, rate: float) -> list[Rate]:
        return [Rate(variable=self.omega, rate=rate), Rate(variable=self.t, rate=rate)]

    def _focal(self) -> list[Rate]:
        return [Rate(variable=self.focal, rate=FOCAL_RATE)] if self.schedule.optimise_focal else []

    def _freezer(self, frozen: Tensor) -> Callable[[], None]:
        """Takes the gradients of frames that were frozen."""

        def freeze() -> None:
            for variable in (self.omega, self.t):
                if variable.grad is not None:
                    variable.grad[frozen] = 0

        return freeze


def _smoothness(R: Tensor, t: Tensor) -> Tensor:
    if len(t) < SMOOTH_FRAMES:
        return t.sum() * 0
    return translation_smoothness(t) + rotation_smoothness(R)


def _motion(
    search: OfficialSearch, points: NDArray[np.float64], moving: NDArray[np.float64], outliers: NDArray[np.bool_]
) -> SceneMotion:
    """In the frame of the first camera, with rotations that are quite orthonormal."""
    with torch.no_grad():
        R, t, K = rotation_matrices(search.omega), search.t, search.calibration()
        T = from_parts(Rotation.from_matrix(R.double().numpy()).as_matrix(), t.double().numpy())
        rms = _rms(search, torch.from_numpy(points.astype(np.float32)), R, t, K)
    T_world_start = invert(T[0])
    tracks = search.tracks
    index = np.flatnonzero(search.labels == DYNAMIC)
    number = np.where(outliers, 0, objects_of_tracks(tracks, search.regions)[index])
    labels = np.full(len(tracks), REJECTED, np.int64)
    labels[np.isfinite(points).all(axis=1)] = STATIC
    labels[index[number > 0]] = number[number > 0]
    return SceneMotion(
        camera=PinholeCamera(width=tracks.width, height=tracks.height, K=K.double().numpy()),
        T_world_camera=T_world_start @ T,
        labels=labels,
        points=apply(T_world_start, points).astype(np.float64, copy=False),
        objects=_objects(tracks, index, number, apply(T_world_start, moving)),
        depth_scales=np.ones(tracks.frames),
        metric=True,
        rms=rms,
    )


def _objects(
    tracks: Tracks, index: NDArray[np.int64], number: NDArray[np.int64], points: NDArray[np.floating]
) -> tuple[MovingObject, ...]:
    """The objects of masks that three or more tracks are on."""
    found = []
    for one in np.unique(number[number > 0]):
        own = number == one
        of_one = index[own]
        found.append(object_of_points(int(one), of_one, points[own].astype(np.float64), tracks.seen[:, of_one]))
    return tuple(one for one in found if one is not None)


def _rms(search: OfficialSearch, points: Tensor, R: Tensor, t: Tensor, K: Tensor) -> float:
    """Reprojection error of static points [px], NaN without any."""
    pixels, _ = project(points, R, t, K)
    error = torch.linalg.vector_norm(pixels - search.places, dim=-1)
    known = search.seen & torch.isfinite(error)
    return float(error[known].square().mean().sqrt())
