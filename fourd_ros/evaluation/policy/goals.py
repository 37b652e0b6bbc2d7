"""Whether a task was done, told from points alone: where things were seen, and how they moved."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import ncx2, norm

from fourd_ros.errors import UnknownTask
from fourd_ros.geometry.transforms import apply
from fourd_ros.simulation.scene import SceneSpec
from fourd_ros.simulation.tasks import (
    OPEN_FRACTION,
    PLACE_TOLERANCE,
    PUSH_TOLERANCE,
    RELEASE_DISTANCE,
    STACK_TOLERANCE,
    Open,
    PickPlace,
    Push,
    Stack,
    Task,
    find_fixture,
    find_object,
)

FloatArray = NDArray[np.float64]

FARTHEST = 0.08
"""A place that is pointed at belongs to a thing that was seen this near to it [m]."""

LIES = 0.03
"""What was put down is at most this much higher than it stood [m]."""

FALLEN = -0.05
"""What is lower than this beneath where it stood has fallen off the table [m]."""

LEAST_SIGMA = 1e-3
"""No place is known better than this [m]."""


@dataclass(frozen=True, kw_only=True)
class Track:
    """A thing that was seen at the start, and where it is at the end.

    Args:
        points: that were seen of it, in the world [m], shape [N, 3].
        motion: from there to where they are at the end, shape [4, 4].
        sigma: standard deviation of each coordinate of their places [m].
    """

    points: FloatArray
    motion: FloatArray
    sigma: float

    @property
    def start(self) -> FloatArray:
        """Middle of what was seen of it [m], shape [3]."""
        return np.asarray((self.points.min(axis=0) + self.points.max(axis=0)) / 2)

    @property
    def end(self) -> FloatArray:
        """Where that middle is at the end [m], shape [3]."""
        return np.asarray(apply(self.motion, self.start))

    @property
    def error(self) -> float:
        """`sigma`, but no smaller than anything can be known [m]."""
        return max(self.sigma, LEAST_SIGMA)


@dataclass(frozen=True, kw_only=True)
class Ending:
    """How an episode ended, as far as points tell.

    Args:
        tracks: of all things that were seen at the start.
        grasp: where the point between the finger tips is [m], shape [3].
    """

    tracks: Sequence[Track]
    grasp: FloatArray

    def track_at(self, place: Sequence[float]) -> Track | None:
        """The thing that was seen nearest to a place [m] at the start; None where there was none."""
        found = [(float(np.linalg.norm(track.points - place, axis=1).min()), track) for track in self.tracks]
        distance, nearest = min(found, key=lambda pair: pair[0], default=(np.inf, None))
        return nearest if distance < FARTHEST else None


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """Whether a task was done.

    Args:
        success: most probably; None where that cannot be told.
        probability: that it was; NaN where unknown.
        reason: why it cannot be told, or what makes a judge say so.
    """

    success: bool | None
    probability: float
    reason: str = ""


UNSEEN = Verdict(success=None, probability=float("nan"), reason="what the task is about was not seen")


class Goal(ABC):
    """What shall be at the end."""

    @abstractmethod
    def judge(self, ending: Ending) -> Verdict:
        """Whether it is."""


@dataclass(frozen=True, kw_only=True)
class ObjectAt(Goal):
    """A thing lies at a place of the table.

    Args:
        where: it was at the start: any point on or in it [m].
        place: where its middle shall be, x and y [m].
        tolerance: greatest distance from there [m].
        released: the gripper shall have left it, and it shall lie as low as it stood.
    """

    where: tuple[float, float, float]
    place: tuple[float, float]
    tolerance: float
    released: bool

    def judge(self, ending: Ending) -> Verdict:
        track = ending.track_at(self.where)
        if track is None:
            return UNSEEN
        off, rise = track.end[:2] - self.place, float(track.end[2] - track.start[2])
        lies = rise > FALLEN and (not self.released or (rise < LIES and _left(ending, track)))
        distance = float(np.linalg.norm(off))
        near = ncx2.cdf((self.tolerance / track.error) ** 2, df=2, nc=(distance / track.error) ** 2)
        return Verdict(success=lies and distance < self.tolerance, probability=float(near) * lies)


@dataclass(frozen=True, kw_only=True)
class Lifted(Goal):
    """A thing is above where it stood.

    Args:
        where: it was at the start [m].
        height: by at least this much [m].
    """

    where: tuple[float, float, float]
    height: float

    def judge(self, ending: Ending) -> Verdict:
        track = ending.track_at(self.where)
        return UNSEEN if track is None else _exceeds(track.end[2] - track.start[2], self.height, track.error)


@dataclass(frozen=True, kw_only=True)
class Inside(Goal):
    """The middle of a thing is inside a box whose sides are along the world's axes.

    Args:
        where: it was at the start [m].
        low: lower corner of the box [m].
        high: upper corner of the box [m].
    """

    where: tuple[float, float, float]
    low: tuple[float, float, float]
    high: tuple[float, float, float]

    def judge(self, ending: Ending) -> Verdict:
        track = ending.track_at(self.where)
        if track is None:
            return UNSEEN
        low, high = np.array(self.low), np.array(self.high)
        inside = bool(((track.end >= low) & (track.end <= high)).all())
        each = norm.cdf((high - track.end) / track.error) - norm.cdf((low - track.end) / track.error)
        return Verdict(success=inside, probability=float(each.prod()))


@dataclass(frozen=True, kw_only=True)
class Stacked(Goal):
    """A thing rests on another.

    Args:
        where: it was at the start [m].
        base: where the other one was at the start [m].
        rise: how much higher than it stood its lowest point is then [m].
        reach: greatest distance of their middles, seen from above [m].
        tolerance: of the height [m].
    """

    where: tuple[float, float, float]
    base: tuple[float, float, float]
    rise: float
    reach: float
    tolerance: float = STACK_TOLERANCE

    def judge(self, ending: Ending) -> Verdict:
        track, base = ending.track_at(self.where), ending.track_at(self.base)
        if track is None or base is None:
            return UNSEEN
        distance = float(np.linalg.norm(track.end[:2] - base.end[:2]))
        height = float(track.end[2] - track.start[2]) - self.rise
        left = _left(ending, track)
        error = float(np.hypot(track.error, base.error))
        near = ncx2.cdf((self.reach / error) ** 2, df=2, nc=(distance / error) ** 2)
        level = norm.cdf((self.tolerance - height) / error) - norm.cdf((-self.tolerance - height) / error)
        return Verdict(
            success=left and distance < self.reach and abs(height) < self.tolerance,
            probability=float(near * level) * left,
        )


@dataclass(frozen=True, kw_only=True)
class PulledOut(Goal):
    """A drawer is open.

    Args:
        where: its handle was at the start [m].
        distance: by at least this much [m].
    """

    where: tuple[float, float, float]
    distance: float

    def judge(self, ending: Ending) -> Verdict:
        track = ending.track_at(self.where)
        if track is None:
            return UNSEEN
        return _exceeds(float(np.linalg.norm(track.end - track.start)), self.distance, track.error)


def goal_of(task: Task, scene: SceneSpec) -> Goal:
    """What a simulated task asks for, in terms of what can be seen.

    Args:
        task: the task.
        scene: where everything is at the start.

    Raises:
        UnknownTask: there is no detector for it.
    """
    match task:
        case Push():
            where = find_object(scene, task.target).position
            return ObjectAt(where=where, place=task.goal, tolerance=PUSH_TOLERANCE, released=False)
        case PickPlace():
            where = find_object(scene, task.target).position
            return ObjectAt(where=where, place=task.goal, tolerance=PLACE_TOLERANCE, released=True)
        case Stack():
            target, base = find_object(scene, task.target), find_object(scene, task.base)
            reach = min(base.size[:2]) / 2 + 0.01
            return Stacked(where=target.position, base=base.position, rise=base.size[2], reach=reach)
        case Open():
            fixture = find_fixture(scene, task.target)
            if fixture.kind != "drawer":
                raise UnknownTask(f"no detector tells whether a {fixture.kind} is open")
            handle = apply(fixture.moving_pose(fixture.opening), np.array(fixture.grip_point))
            x, y, z = (float(value) for value in handle)
            return PulledOut(where=(x, y, z), distance=OPEN_FRACTION * fixture.travel - fixture.opening)
    raise UnknownTask(f"no detector tells whether '{task.instruction}' was done")


def _left(ending: Ending, track: Track) -> bool:
    """Whether the gripper is away from a thing."""
    return bool(np.linalg.norm(ending.grasp - track.end) > RELEASE_DISTANCE)


def _exceeds(value: float, least: float, error: float) -> Verdict:
    return Verdict(success=bool(value > least), probability=float(norm.cdf((value - least) / error)))
