"""A scene reconstructed while a camera moves through it: its path, what stands still, and the objects that move."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from fourd_ros.errors import InvalidImage
from fourd_ros.geometry.camera import PinholeCamera
from fourd_ros.geometry.transforms import apply, invert
from fourd_ros.reconstruction.bundle.arrays import blas
from fourd_ros.reconstruction.live.live_motion import LiveMotion, MovingRegions
from fourd_ros.reconstruction.live.live_object import FramePictures, LiveObject, describe_objects, pixels_of
from fourd_ros.reconstruction.live.live_objects import LiveObjectOptions, LiveObjects
from fourd_ros.reconstruction.live.seen_points import SeenPoints, without_distortion
from fourd_ros.reconstruction.mapping.voxel_map import VoxelMap, VoxelMapOptions
from fourd_ros.reconstruction.masks.object_pixels import ObjectPixels
from fourd_ros.reconstruction.motion.sliding_window import LivePose, SlidingWindow, WindowOptions
from fourd_ros.reconstruction.motion.track_depth import depth_at
from fourd_ros.reconstruction.tracking.point_tracker import PointTracker, PointTrackerOptions, TrackedFrame

__all__ = ["LiveFrame", "LiveOptions", "LiveReconstruction"]

FloatArray = NDArray[np.float64]

SURE_TO = 4.0
"""Depth is as sure as it gets up to here, from there on the less the farther [m]."""

AROUND = 5
"""Still points around a moving one that say how far away it is, where that is not measured."""

CLOSEST, ACROSS = 4.0, 80
"""In moving regions points are followed this near to each other [px], and no more than so many side by side."""

STEP = 1.05
"""Ratio of depths beside each other from which on they lie on two surfaces."""


@dataclass(frozen=True, kw_only=True)
class LiveOptions:
    """How a live reconstruction works.

    Args:
        tracker: of points.
        window: of the camera's path.
        objects: what moves.
        map: what stands still.
        map_every: frames from one that goes into the map to the next.
        map_points: of one such frame, about; pixels are left out evenly.
        map_margin: of a depth within which the map is not looked through.
        max_depth: what is farther away does not go into the map [m].
        look_every: frames from one search for moving regions to the next; needs depth.
        region_points: new ones that are followed in a moving region, each time.
        object_points: of the cloud of one object, at most.
    """

    tracker: PointTrackerOptions = field(default_factory=lambda: PointTrackerOptions(max_points=300))
    window: WindowOptions = field(default_factory=WindowOptions)
    objects: LiveObjectOptions = field(default_factory=LiveObjectOptions)
    map: VoxelMapOptions = field(default_factory=VoxelMapOptions)
    map_every: int = 5
    map_points: int = 20_000
    map_margin: float = 0.03
    max_depth: float = 10.0
    look_every: int = 5
    region_points: int = 40
    object_points: int = 2000


@dataclass(frozen=True, kw_only=True)
class LiveFrame:
    """What a frame says.

    Args:
        stamp_ns: of the frame [ns].
        pose: of the camera.
        tracked: the points that are followed.
        objects: that are known, also those that the frame does not show.
        shown: pixels of the objects by number, None for those that the frame does not show.
        seconds: that each stage took [s].
    """

    stamp_ns: int
    pose: LivePose
    tracked: TrackedFrame
    objects: tuple[LiveObject, ...]
    shown: Mapping[int, ObjectPixels | None]
    seconds: Mapping[str, float]


class LiveReconstruction:
    """Takes frame after frame; memory is bounded by its options.

    Args:
        camera: calibration of all frames.
        options: how it works.

    Attributes:
        camera: calibration of all frames.
        map: what stands still.
        restarts: how often the path was broken, by `restart` or because the camera was lost.
    """

    def __init__(self, camera: PinholeCamera, options: LiveOptions | None = None) -> None:
        self.camera, self.options = camera, options or LiveOptions()
        self._tracker = PointTracker(self.options.tracker)
        self._window = SlidingWindow(camera, self.options.window)
        self._objects = LiveObjects(camera, self.options.objects)
        self._motion = LiveMotion(camera)
        self._regions: MovingRegions | None = None
        self._suspects = np.zeros(0, np.int64)
        self._apart = max(CLOSEST, max(camera.width, camera.height) / ACROSS)
        self.map = VoxelMap(self.options.map)
        self._frame = self._last_stamp_ns = 0
        self.restarts = 0

    @property
    def melted(self) -> int:
        """Objects that stopped and became part of the map."""
        return self._objects.melted

    @property
    def forgotten(self) -> int:
        """Objects that were not seen any more."""
        return self._objects.forgotten

    def restart(self, T_world_camera: FloatArray | None = None) -> None:
        """Forget everything, as after a jump in time; numbers of objects are not used again.

        Args:
            T_world_camera: where the next frame is, shape [4, 4]; None for the origin.
        """
        self.restarts += bool(self._frame)
        self._frame = self._last_stamp_ns = 0
        self._tracker.restart()
        self._window.forget(np.eye(4) if T_world_camera is None else T_world_camera)
        self._objects.clear()
        self._motion.clear()
        self._regions = None
        self._suspects = self._suspects[:0]
        self.map.clear()

    def add(
        self,
        stamp_ns: int,
        rgb: NDArray[np.uint8],
        depth: NDArray[np.float32] | None = None,
        masks: NDArray[np.integer] | None = None,
    ) -> LiveFrame | None:
        """Take the next frame.

        Args:
            stamp_ns: when it was taken [ns]; one that is not later than the last one starts everything again.
            rgb: colour, shape [H, W, 3].
            depth: z-depth [m], NaN where unknown, shape [H, W]; None for a camera without depth.
            masks: number of the object that may move at every pixel, 0 for none, shape [H, W]; None where nobody says.

        Returns:
            None while the camera's place is not known.

        Raises:
            InvalidImage: sizes that are not the camera's; nothing has changed.
        """
        self._check(rgb, depth, masks)
        if stamp_ns <= self._last_stamp_ns:
            self.restart()
        self._last_stamp_ns = stamp_ns
        self._frame += 1
        with blas().limit(limits=1, user_api="blas"):
            return self._reconstruct(stamp_ns, rgb, depth, masks)

    def _reconstruct(
        self,
        stamp_ns: int,
        rgb: NDArray[np.uint8],
        depth: NDArray[np.float32] | None,
        masks: NDArray[np.integer] | None,
    ) -> LiveFrame | None:
        seconds: dict[str, float] = {}
        with _timed(seconds, "track"):
            tracked = self._tracker.advance(rgb)
        with _timed(seconds, "pose"):
            measured = _depth_of(tracked, depth)
            numbers = _numbers_of(tracked, masks)
            pose = self._find_pose(tracked, measured, numbers, has_depth=depth is not None)
        if pose is None:
            return None
        self.restarts += pose.restarted
        with _timed(seconds, "motion"):
            suspect = self._look(tracked, rgb, depth, pose)
        with _timed(seconds, "objects"):
            seen = self._seen(stamp_ns, tracked, measured, numbers, pose)
            followed = self._objects.update(seen, np.union1d(pose.moving, suspect))
            frame = FramePictures(rgb=rgb, depth=depth, masks=masks)
            shown = {one.number: pixels_of(one, seen, frame, self.camera) for one in followed}
            objects = describe_objects(
                followed,
                shown,
                seen,
                frame,
                self.camera,
                is_dynamic=self._objects.is_dynamic,
                most_points=self.options.object_points,
            )
        with _timed(seconds, "map"):
            self._extend_map(stamp_ns, rgb, depth, pose, list(shown.values()))
        return LiveFrame(stamp_ns=stamp_ns, pose=pose, tracked=tracked, objects=objects, shown=shown, seconds=seconds)

    def _check(self, rgb: NDArray[np.uint8], *images: NDArray[np.generic] | None) -> None:
        size = (self.camera.height, self.camera.width)
        if rgb.ndim != 3 or rgb.shape[2] != 3 or rgb.dtype != np.uint8:
            raise InvalidImage(f"a frame has shape {list(rgb.shape)} and type {rgb.dtype}, needed [H, W, 3] uint8")
        wrong = [list(image.shape) for image in (rgb[..., 0], *images) if image is not None and image.shape != size]
        if wrong:
            raise InvalidImage(f"a frame, its depth or its masks are {wrong[0]} pixels, the camera's are {list(size)}")

    def _find_pose(
        self, tracked: TrackedFrame, measured: FloatArray, numbers: NDArray[np.int64], *, has_depth: bool
    ) -> LivePose | None:
        """From the points that are not on objects nor were looked for where something moves."""
        still = (numbers == 0) & ~np.isin(tracked.ids, self._objects.ids) & ~np.isin(tracked.ids, self._suspects)
        pixels = without_distortion(tracked.positions[still], self.camera)
        return self._window.add(tracked.ids[still], pixels, measured[still] if has_depth else None)

    def _look(
        self, tracked: TrackedFrame, rgb: NDArray[np.uint8], depth: NDArray[np.float32] | None, pose: LivePose
    ) -> NDArray[np.int64]:
        """Ids of points in regions that move; now and then such regions are looked for, and more points there."""
        if depth is not None and self._frame % self.options.look_every == 0:
            self._regions = self._motion.look(rgb, depth, pose.T_world_camera)
            self._clear_suspects(tracked)
            for number in range(1, self._regions.count + 1):
                rows, columns = self._regions.box(number)
                inside = self._regions.marks()[rows, columns] & _smooth(depth[rows, columns])
                more = self._tracker.look_closer(
                    rows, columns, inside, apart=self._apart, most=self.options.region_points
                )
                self._suspects = np.concatenate([self._suspects, more])
        if self._regions is None:
            return np.zeros(0, np.int64)
        return tracked.ids[self._regions.at(tracked.positions) > 0]

    def _clear_suspects(self, tracked: TrackedFrame) -> None:
        """Points that were looked for in moving regions and are on no object, nor in such a region any more."""
        assert self._regions is not None
        moving = tracked.ids[self._regions.at(tracked.positions) > 0]
        free = np.setdiff1d(self._suspects, self._objects.ids)
        self._tracker.forget(np.setdiff1d(free, moving))
        self._suspects = np.intersect1d(self._suspects, np.union1d(self._objects.ids, moving))

    def _seen(
        self,
        stamp_ns: int,
        tracked: TrackedFrame,
        measured: FloatArray,
        numbers: NDArray[np.int64],
        pose: LivePose,
    ) -> SeenPoints:
        pixels = without_distortion(tracked.positions, self.camera)
        distance = measured.copy()
        missing = np.flatnonzero(np.isnan(distance))
        placed = apply(invert(pose.T_world_camera), self._window.places(pose.still))[:, 2]
        if len(missing) and len(placed):
            around = pixels[np.searchsorted(tracked.ids, pose.still)]
            apart = np.linalg.norm(pixels[missing][:, None] - around, axis=-1)
            nearest = np.argsort(apart, axis=1)[:, :AROUND]
            distance[missing] = np.median(placed[nearest], axis=1)
        return SeenPoints(
            stamp_ns=stamp_ns,
            T_world_camera=pose.T_world_camera,
            ids=tracked.ids,
            positions=tracked.positions,
            pixels=pixels,
            depth=measured,
            distance=distance,
            numbers=numbers,
        )

    def _extend_map(
        self,
        stamp_ns: int,
        rgb: NDArray[np.uint8],
        depth: NDArray[np.float32] | None,
        pose: LivePose,
        shown: list[ObjectPixels | None],
    ) -> None:
        """What is not on an object goes into the map; what the camera looks through leaves it."""
        if depth is None:
            if pose.key_frame:
                self._extend_by_points(stamp_ns, rgb, pose)
            return
        if (self._frame + self.options.map_every // 2) % self.options.map_every:
            return
        self.map.carve(depth, self.camera, pose.T_world_camera, margin=self.options.map_margin)
        hidden = np.zeros(depth.shape, bool) if self._regions is None else self._regions.marks()
        for pixels in shown:
            if pixels is not None:
                pixels.mark(hidden)
        thin = slice(None, None, max(1, round((depth.size / self.options.map_points) ** 0.5)))
        away = depth[thin, thin]
        with np.errstate(invalid="ignore"):
            used = (away > 0) & (away < self.options.max_depth) & ~hidden[thin, thin]
        places = self.camera.rays()[thin, thin][used] * away[used, None]
        T = pose.T_world_camera.astype(np.float32)
        weights = np.minimum(1.0, (SURE_TO / away[used]) ** 2)
        self.map.integrate(places @ T[:3, :3].T + T[:3, 3], rgb[thin, thin][used], stamp_ns=stamp_ns, weights=weights)

    def _extend_by_points(self, stamp_ns: int, rgb: NDArray[np.uint8], pose: LivePose) -> None:
        """Without depth, the still points of key frames are the map."""
        places = self._window.places(pose.still)
        pixels = np.rint(self.camera.project(apply(invert(pose.T_world_camera), places)))
        inside = np.asarray(((pixels >= 0) & (pixels < (self.camera.width, self.camera.height))).all(axis=1))
        x, y = pixels[inside].astype(np.int64).T
        self.map.integrate(places[inside], rgb[y, x], stamp_ns=stamp_ns)


def _depth_of(tracked: TrackedFrame, depth: NDArray[np.float32] | None) -> FloatArray:
    """At the points, NaN where unknown, shape [n]."""
    if depth is None:
        return np.full(len(tracked.ids), np.nan)
    return np.asarray(depth_at(depth[None], tracked.positions[None], np.ones((1, len(tracked.ids)), bool))[0])


def _numbers_of(tracked: TrackedFrame, masks: NDArray[np.integer] | None) -> NDArray[np.int64]:
    """Of the masks that points lie in, shape [n]."""
    if masks is None:
        return np.zeros(len(tracked.ids), np.int64)
    x, y = np.rint(tracked.positions).astype(np.int64).T
    return np.asarray(masks[y, x], np.int64)


def _smooth(depth: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Pixels that lie on one surface with those around, shape [H, W]."""
    around = np.ones((5, 5), np.uint8)
    nearest, farthest = cv2.erode(depth, around), cv2.dilate(depth, around)
    with np.errstate(invalid="ignore", over="ignore"):
        return np.asarray(farthest < STEP * nearest)


@contextmanager
def _timed(seconds: dict[str, float], stage: str) -> Iterator[None]:
    began = time.perf_counter()
    yield
    seconds[stage] = time.perf_counter() - began
