"""Short motions in a scene, and what is random about them."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from fourd_ros.simulation.controller import Waypoint
from fourd_ros.simulation.objects import ObjectSpec
from fourd_ros.simulation.scene import SceneSpec
from fourd_ros.simulation.skills import LOWEST_TIP

FloatArray = NDArray[np.float64]
Range = tuple[float, float]

ATTEMPTS = 40
"""How often something is drawn again that does not fit."""

_REACH: tuple[Range, Range] = ((0.27, 0.70), (-0.42, 0.42))
_FARTHEST = 0.74


@dataclass(frozen=True, kw_only=True)
class Motion:
    """What the robot is commanded to do in one scene.

    Args:
        instruction: in words.
        start: where the gripper is before.
        waypoints: where it goes, in order; none for standing still.
    """

    instruction: str
    start: Waypoint
    waypoints: tuple[Waypoint, ...]

    @property
    def in_reach(self) -> bool:
        """Whether the gripper gets everywhere."""
        return all(reachable(point.position[:2]) for point in (self.start, *self.waypoints))


@dataclass(frozen=True, kw_only=True)
class Chance:
    """What a motion is drawn from.

    Args:
        scene: where things are now.
        rng: of everything that is random.
        aim_noise: standard deviation of where things are believed to be, in x and y each [m].
    """

    scene: SceneSpec
    rng: np.random.Generator
    aim_noise: float

    def uniform(self, bounds: Range) -> float:
        """A number between the bounds."""
        return float(self.rng.uniform(*bounds))

    def happens(self, probability: float) -> bool:
        """True with that probability."""
        return bool(self.rng.random() < probability)

    def target(self) -> ObjectSpec:
        """One of the objects, where it is believed to be."""
        return self.believed(self.scene.objects[self.rng.integers(len(self.scene.objects))])

    def believed(self, item: ObjectSpec) -> ObjectSpec:
        """`item` where the robot believes it to be."""
        x, y, z = item.position
        dx, dy = self.rng.normal(0.0, 1.0, 2) * self.aim_noise
        return replace(item, position=(x + float(dx), y + float(dy), z))

    def around(self, radius: float) -> FloatArray:
        """A point in a disc about zero [m], shape [2]."""
        angle, distance = self.rng.uniform(-np.pi, np.pi), radius * np.sqrt(self.rng.random())
        return np.asarray(np.array([np.cos(angle), np.sin(angle)]) * distance)

    def place(self, start: FloatArray, lengths: Range) -> FloatArray:
        """A place in reach at a distance from `start` [m], shape [2]."""
        for _ in range(ATTEMPTS):
            place = start + self.uniform(lengths) * direction(self.uniform((-np.pi, np.pi)))
            if reachable(place):
                return place
        return np.array([0.5, 0.0])

    def height_on(self, item: ObjectSpec) -> float:
        """A height at which a push meets `item`."""
        bottom = item.position[2] - item.size[2] / 2
        return max(LOWEST_TIP, bottom + item.size[2] * self.uniform((0.15, 0.8)))

    def tilt(self, probability: float) -> float:
        """Of the hand about the axis in which its fingers close; mostly none [rad]."""
        return self.uniform((-0.35, 0.35)) if self.happens(probability) else 0.0


def reachable(place: FloatArray) -> bool:
    """Whether the gripper gets to a place [x, y] on the table, fingers down."""
    inside = all(low <= value <= high for value, (low, high) in zip(place, _REACH, strict=True))
    return bool(inside and np.hypot(*place) < _FARTHEST)


def raised(point: FloatArray, height: float) -> FloatArray:
    """The point that much above `point` [m], shape [3]."""
    return np.array([point[0], point[1], point[2] + height])


def into_reach(place: FloatArray) -> FloatArray:
    """The nearest place [x, y] to which the gripper gets, or one a little nearer."""
    low, high = np.array(_REACH).T
    inside = np.clip(place, low, high)
    return np.asarray(inside * min(1.0, _FARTHEST / float(np.hypot(*inside))))


def direction(angle: float) -> FloatArray:
    """Unit vector [2]."""
    return np.array([np.cos(angle), np.sin(angle)])
