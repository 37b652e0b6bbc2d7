"""What objects are made of: primitives, and where a gripper takes them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from fourd_ros.simulation.appearance import Appearance

Shape = Literal["box", "cylinder", "sphere", "capsule"]
Vector = tuple[float, float, float]
Quaternion = tuple[float, float, float, float]

IDENTITY: Quaternion = (0.0, 0.0, 0.0, 1.0)
ALONG_X: Quaternion = (0.0, float(np.sqrt(0.5)), 0.0, float(np.sqrt(0.5)))


@dataclass(frozen=True, kw_only=True)
class Part:
    """One primitive, in the frame of its body.

    Args:
        shape: box, cylinder, sphere or capsule (the last two along z before rotation).
        size: box: half extents; cylinder and capsule: radius, half length; sphere: radius [m].
        position: centre [m].
        rotation: quaternion x y z w.
        appearance: its surface.
    """

    shape: Shape
    size: tuple[float, ...]
    appearance: Appearance
    position: Vector = (0.0, 0.0, 0.0)
    rotation: Quaternion = IDENTITY


@dataclass(frozen=True, kw_only=True)
class Grasp:
    """Where the gripper closes, in the frame of the object, coming from above.

    Args:
        position: point between the finger tips [m].
        yaw: direction in which the fingers close, angle from the object's x axis about z [rad].
        free_yaw: True where any direction will do (round objects).
    """

    position: Vector = (0.0, 0.0, 0.0)
    yaw: float = 0.0
    free_yaw: bool = False


@dataclass(frozen=True, kw_only=True)
class Body:
    """What a generator decides; `sample_object` adds name, friction and density. See `ObjectSpec`."""

    size: Vector
    parts: tuple[Part, ...]
    grasp: Grasp = Grasp()
    flat_top: bool = False
    rolling_friction: float = 0.0001


Generator = Callable[[np.random.Generator, Appearance], Body]


def grasp_height(height: float) -> float:
    """Height of the finger tips over the centre: low for a firm hold, clear of the palm for tall things."""
    return max(0.0, float(height) / 2 - 0.035)
