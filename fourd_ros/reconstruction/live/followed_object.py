"""One object that is followed: a still scene in its own frame, seen by a camera that goes the other way round."""

from collections import deque
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from fourd_ros.geometry.transforms import apply, from_parts, invert
from fourd_ros.reconstruction.live.seen_points import SeenPoints, appear
from fourd_ros.reconstruction.motion.rigid_pose import PoseOptions, rigid_pose

__all__ = ["FollowedObject", "Twist"]

FloatArray = NDArray[np.float64]
Ids = NDArray[np.int64]

STRIKES = 4
"""Frames in a row in which a point disagrees with its object before it is given up."""

LOOKS = 10
"""A point's place in its object is the mean of so many."""

EXPECTED = 0.6
"""Share of its points that agree with a pose near the expected one, or it is looked for more widely."""

MOST_POINTS = 300
TRAIL = 128
STEADY = 0.01
"""Motion below this share of the distance from the camera is none."""

TURNED = 0.12
"""Turns below this are none [rad]."""

CERTAIN = 4.0
"""Nor is what is below so many standard deviations."""


@dataclass(frozen=True, kw_only=True)
class Twist:
    """Velocity of an object's origin in the axes of the world [m/s], and how it turns [rad/s], shape [3] each."""

    linear: FloatArray
    angular: FloatArray


@dataclass
class _Point:
    place: FloatArray
    looks: int = 1
    strikes: int = 0


class FollowedObject:
    """Its points, where it is and how it moves.

    Args:
        number: of the object.
        mask: number of its mask, 0 for none.
        smoothing: velocity is that of the last so many seconds.

    Attributes:
        number: of the object, 0 before it is confirmed.
        T_world_object: newest pose, shape [4, 4].
        covariance: of its move and turn in the axes of the world [m^2, rad^2], shape [6, 6].
        last_seen_ns: newest frame with a pose [ns].
        moved_ns: newest frame in which it moved [ns].
        frames: with a pose.
        agreeing: points of the newest frame that agree with its pose, in the rows of that frame.
        confidence: 0 to 1.
        size: extent along its axes [m], shape [3].
        colour: mean RGB of its pixels, 0..1, shape [3]; NaN where none was seen.
        share: of the image that it covered when last seen.
    """

    def __init__(self, *, mask: int, smoothing: float) -> None:
        self.number, self.mask, self._smoothing_ns = 0, mask, round(smoothing * 1e9)
        self._points: dict[int, _Point] = {}
        self.T_world_object: FloatArray = np.eye(4)
        self._trail: deque[tuple[int, FloatArray]] = deque(maxlen=TRAIL)
        self.covariance = np.zeros((6, 6))
        self.last_seen_ns = self.moved_ns = 0
        self.frames = 0
        self.agreeing = np.zeros(0, np.int64)
        self.confidence = 0.0
        self.size = np.zeros(3)
        self.colour = np.full(3, np.nan)
        self.share = 0.0

    @property
    def ids(self) -> Ids:
        """Of its points, shape [n]."""
        return np.fromiter(self._points, np.int64, len(self._points))

    def stand(self, ids: Ids, places: FloatArray, stamp_ns: int, *, moved: bool) -> None:
        """Be where these points are, with the origin in their middle.

        The first time it has the axes of the world; later, after it was lost, those that it had: how it turned
        meanwhile is not known.
        """
        self.T_world_object = from_parts(self.T_world_object[:3, :3], np.median(places, axis=0))
        self._points.clear()
        self._trail.clear()
        self._put(stamp_ns)
        if moved:
            self.moved_ns = stamp_ns
        self.absorb(ids, places)

    def absorb(self, ids: Ids, places: FloatArray) -> None:
        """Take points in the world [n, 3] for its own."""
        own = apply(invert(self.T_world_object), places)
        for number, place in zip(ids.tolist(), own, strict=True):
            if number not in self._points and len(self._points) < MOST_POINTS:
                self._points[number] = _Point(place)

    def own_places(self) -> FloatArray:
        """Its points in its own frame, shape [n, 3]."""
        return np.array([point.place for point in self._points.values()]).reshape(-1, 3)

    def keep(self, ids: Ids) -> None:
        """Forget the points that are not among these."""
        wanted = set(ids.tolist())
        self._points = {number: point for number, point in self._points.items() if number in wanted}

    def follow(self, seen: SeenPoints, K: FloatArray, options: PoseOptions) -> bool:
        """Find its pose in a frame; False where too few points agree."""
        self.agreeing = np.zeros(0, np.int64)
        rows = seen.rows(self.ids)
        if len(rows) < options.fewest:
            return False
        points = [self._points[int(number)] for number in seen.ids[rows]]
        own = np.array([point.place for point in points])
        near = invert(self._expected(seen.stamp_ns)) @ seen.T_world_camera
        pixels, depth = seen.pixels[rows], seen.depth[rows]
        found = rigid_pose(own, pixels, depth, K, near, options=replace(options, coarse=1.0))
        if found is None or found.agrees.mean() < EXPECTED:
            found = rigid_pose(own, pixels, depth, K, near, options=options)
        if found is None or found.agrees.sum() < len(rows) / 3:
            return False
        self.T_world_object = seen.T_world_camera @ invert(found.T_points_camera)
        self.covariance = _at_origin(found.covariance, invert(found.T_points_camera), seen.T_world_camera)
        self.agreeing = rows[found.agrees]
        self.frames += 1
        self._put(seen.stamp_ns)
        self._judge(seen, points, rows, found.agrees, K)
        self.confidence = float(found.agrees.mean() * min(1.0, found.agrees.sum() / (3 * options.fewest)))
        if self._moved(seen):
            self.moved_ns = seen.stamp_ns
        return True

    def explains(self, rows: NDArray[np.int64], then: SeenPoints, now: SeenPoints, K: FloatArray) -> FloatArray:
        """How far points of two frames are from where they would go with it and without it [px], shape [n, 2].

        NaN where a point was not seen then, or the object had no pose.
        """
        errors = np.full((len(rows), 2), np.nan)
        T_then = next((T for stamp_ns, T in self._trail if stamp_ns == then.stamp_ns), None)
        _, mine, theirs = np.intersect1d(now.ids[rows], then.ids, return_indices=True)
        if T_then is None or not len(mine):
            return errors
        places = then.places(theirs, K)
        pixels = now.pixels[rows[mine]]
        moved = np.asarray(apply(self.T_world_object @ invert(T_then), places), np.float64)
        for column, where in enumerate((moved, places)):
            errors[mine, column] = np.linalg.norm(appear(where, now.T_world_camera, K) - pixels, axis=1)
        return errors

    def reaches(self, places: FloatArray, margin: float) -> NDArray[np.bool_]:
        """Places in the world that are in the box of its points or not farther from it than half of it, shape [n]."""
        own = self.own_places()
        if not len(own):
            return np.zeros(len(places), bool)
        low, high = own.min(axis=0), own.max(axis=0)
        room = 0.5 * (high - low).max() + margin
        there = apply(invert(self.T_world_object), places)
        return np.asarray(((there > low - room) & (there < high + room)).all(axis=1))

    def twist(self) -> Twist:
        """Velocity, by a straight line through the last positions and the turn between the first and the last."""
        zero = Twist(linear=np.zeros(3), angular=np.zeros(3))
        recent = [(stamp, T) for stamp, T in self._trail if stamp >= self.last_seen_ns - self._smoothing_ns]
        if len(recent) < 3:
            return zero
        times = np.array([stamp - self.last_seen_ns for stamp, _ in recent]) * 1e-9
        places = np.array([T[:3, 3] for _, T in recent])
        centred = times - times.mean()
        linear = centred @ places / (centred @ centred)
        turn = recent[-1][1][:3, :3] @ recent[0][1][:3, :3].T
        return Twist(linear=linear, angular=cv2.Rodrigues(turn)[0][:, 0] / (times[-1] - times[0]))

    def _put(self, stamp_ns: int) -> None:
        self.last_seen_ns = stamp_ns
        self._trail.append((stamp_ns, self.T_world_object.copy()))
        while self._trail[0][0] < stamp_ns - max(2 * self._smoothing_ns, 1_000_000_000):
            self._trail.popleft()

    def _expected(self, stamp_ns: int) -> FloatArray:
        twist, seconds = self.twist(), (stamp_ns - self.last_seen_ns) * 1e-9
        T = self.T_world_object.copy()
        T[:3, 3] += twist.linear * seconds
        T[:3, :3] = cv2.Rodrigues(twist.angular * seconds)[0] @ T[:3, :3]
        return T

    def _judge(
        self,
        seen: SeenPoints,
        points: list[_Point],
        rows: NDArray[np.int64],
        agrees: NDArray[np.bool_],
        K: FloatArray,
    ) -> None:
        """Points that agree get their place better, others are given up in the end."""
        places = apply(invert(self.T_world_object), seen.places(rows, K))
        measured = np.isfinite(seen.depth[rows])
        for number, point, place, agree, known in zip(
            seen.ids[rows].tolist(), points, places, agrees, measured, strict=True
        ):
            point.strikes = 0 if agree else point.strikes + 1
            if point.strikes >= STRIKES:
                del self._points[number]
            elif agree and known and point.looks < LOOKS:
                point.looks += 1
                point.place = point.place + (place - point.place) / point.looks

    def _moved(self, seen: SeenPoints) -> bool:
        """Whether it went from where it was at the beginning of its trail."""
        T_before, T = self._trail[0][1], self.T_world_object
        away = float(np.linalg.norm(T[:3, 3] - seen.T_world_camera[:3, 3]))
        deviation = np.sqrt(np.trace(self.covariance[:3, :3])), np.sqrt(np.trace(self.covariance[3:, 3:]))
        move = np.linalg.norm(T[:3, 3] - T_before[:3, 3])
        turn = np.linalg.norm(cv2.Rodrigues(T[:3, :3] @ T_before[:3, :3].T)[0])
        return bool(move > max(STEADY * away, CERTAIN * deviation[0]) or turn > max(TURNED, CERTAIN * deviation[1]))


def _at_origin(covariance: FloatArray, T_camera_object: FloatArray, T_world_camera: FloatArray) -> FloatArray:
    """Of a move and turn about the camera's centre -> about the object's origin, in the axes of the world."""
    x, y, z = T_camera_object[:3, 3]
    at_origin = np.eye(6)
    at_origin[:3, 3:] = [[0, z, -y], [-z, 0, x], [y, -x, 0]]
    turned = np.kron(np.eye(2), T_world_camera[:3, :3]) @ at_origin
    return np.asarray(turned @ covariance @ turned.T)
