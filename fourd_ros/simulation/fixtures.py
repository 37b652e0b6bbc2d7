"""Articulated things that stand on the table: a cabinet with a drawer, a chest with a lid."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from fourd_ros.geometry.transforms import from_rpy
from fourd_ros.simulation.appearance import Appearance, sample_coloured, vary
from fourd_ros.simulation.parts import Part, Vector

FloatArray = NDArray[np.float64]
FixtureKind = Literal["drawer", "lid"]
HandleStyle = Literal["bar", "knob"]

FIXTURE_KINDS: tuple[FixtureKind, ...] = ("drawer", "lid")
HANDLE_STYLES: tuple[HandleStyle, ...] = ("bar", "knob")
FIXTURE_DENSITY = 300.0
_WALL = 0.008
_GAP = 0.003
_LID_LIMIT = 1.35


@dataclass(frozen=True, kw_only=True)
class FixtureSpec:
    """A body that stands still and one part that moves on one joint.

    The frame of the body lies on the table under the middle of the fixture, x towards its back;
    the frame of the moving part lies on the joint: for a drawer in the middle of the closed front,
    for a lid in the middle of the hinge at the back.

    Args:
        name: of the body; the moving part is called ``<name>_<kind>``.
        kind: drawer or lid.
        size: depth, width, height of the body [m].
        position: on the table in the world [m].
        yaw: heading of its x axis (front to back) [rad].
        travel: range of the joint, from closed (0) to fully open [m | rad].
        opening: position of the joint at the start [m | rad].
        handle: bar or knob.
        body: surface of the body.
        moving: surface of the moving part.
        grip: surface of the handle.
        damping: of the joint [N s/m | N m s/rad].
        friction_loss: force or torque that starts it moving [N | N m].
    """

    name: str
    kind: FixtureKind
    size: Vector
    position: Vector
    yaw: float
    travel: float
    opening: float
    handle: HandleStyle
    body: Appearance
    moving: Appearance
    grip: Appearance
    damping: float
    friction_loss: float

    @property
    def moving_name(self) -> str:
        """Name of the body that moves."""
        return f"{self.name}_{self.kind}"

    @property
    def joint_name(self) -> str:
        """Name of its joint."""
        return f"{self.name}_{self.kind}_joint"

    @property
    def label(self) -> str:
        """What a person would call it."""
        return "cabinet" if self.kind == "drawer" else "chest"

    @property
    def radius(self) -> float:
        """Of the circle around body, open part and handle [m]."""
        depth, width, _ = self.size
        return float(np.hypot(depth / 2 + (self.travel if self.kind == "drawer" else 0.0), width / 2)) + 0.06

    @property
    def moving_size(self) -> Vector:
        """Extents of the moving part without its handle [m]."""
        depth, width, height = self.size
        return (depth, width, height) if self.kind == "drawer" else (depth, width, _WALL)

    @property
    def joint_origin(self) -> Vector:
        """Of the moving part, in the frame of the body [m]."""
        depth, _, height = self.size
        return (-depth / 2, 0.0, height / 2) if self.kind == "drawer" else (depth / 2, 0.0, height)

    @property
    def joint_axis(self) -> Vector:
        """Sliding or turning axis, in the frame of the body; positive opens."""
        return (-1.0, 0.0, 0.0) if self.kind == "drawer" else (0.0, 1.0, 0.0)

    @property
    def grip_point(self) -> Vector:
        """Where the fingers close on the handle, in the frame of the moving part [m]."""
        if self.kind == "drawer":
            return (-0.055, 0.0, 0.0)
        return (-self.size[0] + 0.03, 0.0, 0.045)

    def moving_pose(self, opening: float) -> FloatArray:
        """``T_world_part`` [4, 4] of the moving part when the joint stands at `opening`."""
        x, y, z = self.joint_origin
        if self.kind == "drawer":
            return self.pose @ from_rpy((x - opening, y, z), (0.0, 0.0, 0.0))
        return self.pose @ from_rpy((x, y, z), (0.0, opening, 0.0))

    @property
    def pose(self) -> FloatArray:
        """``T_world_body`` [4, 4]."""
        return from_rpy(self.position, (0.0, 0.0, self.yaw))

    def body_parts(self) -> tuple[Part, ...]:
        """The walls, in the frame of the body."""
        depth, width, height = self.size
        floor = _plate((0.0, 0.0, _WALL / 2), (depth, width, _WALL), self.body)
        back = _plate((depth / 2 - _WALL / 2, 0.0, height / 2), (_WALL, width, height), self.body)
        sides = [
            _plate((0.0, side * (width / 2 - _WALL / 2), height / 2), (depth, _WALL, height), self.body)
            for side in (-1, 1)
        ]
        if self.kind == "drawer":
            last = _plate((0.0, 0.0, height - _WALL / 2), (depth, width, _WALL), self.body)
        else:
            last = _plate((-depth / 2 + _WALL / 2, 0.0, height / 2), (_WALL, width, height), self.body)
        return (floor, back, *sides, last)

    def moving_parts(self) -> tuple[Part, ...]:
        """The drawer or the lid with its handle, in the frame of the moving part."""
        return self._drawer_parts() if self.kind == "drawer" else self._lid_parts()

    def _drawer_parts(self) -> tuple[Part, ...]:
        depth, width, height = self.size
        inside = (depth - _WALL - 0.015, width - 2 * (_WALL + _GAP), height - 2 * (_WALL + _GAP))
        middle = inside[0] / 2
        low = -inside[2] / 2
        wall_height = inside[2] * 0.7
        box = [
            _plate((middle, 0.0, low + _WALL / 2), (inside[0], inside[1], _WALL), self.moving),
            _plate((inside[0] - _WALL / 2, 0.0, low + wall_height / 2), (_WALL, inside[1], wall_height), self.moving),
            *(
                _plate(
                    (middle, side * (inside[1] / 2 - _WALL / 2), low + wall_height / 2),
                    (inside[0], _WALL, wall_height),
                    self.moving,
                )
                for side in (-1, 1)
            ),
        ]
        front = _plate((-_WALL / 2, 0.0, 0.0), (_WALL, width, height - 2 * _GAP), self.moving)
        reach, _, _ = self.grip_point
        if self.handle == "knob":
            stem = _plate(((reach - _WALL) / 2, 0.0, 0.0), (-reach - _WALL, 0.012, 0.012), self.grip)
            grip = [stem, Part(shape="cylinder", size=(0.014, 0.02), position=(reach, 0.0, 0.0), appearance=self.grip)]
        else:
            rise = min(0.03, height / 2 - 0.015)
            posts = [
                _plate(((reach - _WALL) / 2, 0.0, z), (-reach - _WALL, 0.010, 0.010), self.grip) for z in (-rise, rise)
            ]
            grip = [*posts, _plate((reach, 0.0, 0.0), (0.012, 0.016, 2 * rise + 0.02), self.grip)]
        return (*box, front, *grip)

    def _lid_parts(self) -> tuple[Part, ...]:
        depth, width, _ = self.size
        plate = _plate((-depth / 2, 0.0, _WALL / 2 + 0.001), (depth, width, _WALL), self.moving)
        x, _, top = self.grip_point
        stem_size = (0.014, 0.012, top - _WALL)
        stem = _plate((x, 0.0, _WALL + stem_size[2] / 2), stem_size, self.grip)
        if self.handle == "knob":
            return (plate, stem, Part(shape="sphere", size=(0.016,), position=(x, 0.0, top), appearance=self.grip))
        return (plate, stem, _plate((x, 0.0, top), (0.024, 0.020, 0.024), self.grip))


def _plate(centre: Vector, extents: Vector, surface: Appearance) -> Part:
    half = tuple(value / 2 for value in extents)
    return Part(shape="box", size=half, position=centre, appearance=surface)


def sample_fixture(rng: np.random.Generator, *, kind: FixtureKind, opened: bool) -> FixtureSpec:
    """A fixture of random size, look and resistance in reach of the robot, its front towards the robot."""
    _, body = sample_coloured(rng, patterned=0.3)
    _, moving = sample_coloured(rng, patterned=0.2)
    colour = moving.colour
    shared = {
        "name": "cabinet" if kind == "drawer" else "chest",
        "kind": kind,
        "handle": HANDLE_STYLES[rng.integers(len(HANDLE_STYLES))],
        "body": body,
        "moving": moving,
        "grip": Appearance(colour=vary((1 - colour[0], 1 - colour[1], 1 - colour[2]), rng)),
    }
    side = float(rng.choice((-1.0, 1.0)))
    if kind == "drawer":
        depth, width, height = (float(value) for value in rng.uniform((0.16, 0.16, 0.10), (0.20, 0.26, 0.15)))
        travel = 0.75 * depth
        placed = (float(rng.uniform(0.66, 0.70)), side * float(rng.uniform(0.08, 0.2)), 0.0)
        yaw = float(np.arctan2(placed[1], placed[0]) * rng.uniform(0.2, 0.8))
        damping, loss = float(rng.uniform(2, 8)), float(rng.uniform(0.3, 1.5))
    else:
        depth, width, height = (float(value) for value in rng.uniform((0.13, 0.14, 0.06), (0.17, 0.22, 0.09)))
        travel = _LID_LIMIT
        placed = (float(rng.uniform(0.5, 0.56)), side * float(rng.uniform(0.10, 0.2)), 0.0)
        yaw = float(np.arctan2(placed[1], placed[0]) * rng.uniform(0.2, 0.8))
        damping, loss = float(rng.uniform(0.03, 0.08)), float(rng.uniform(0.15, 0.25))
    return FixtureSpec(
        size=(depth, width, height),
        position=placed,
        yaw=yaw,
        travel=travel,
        opening=travel * float(rng.uniform(0.8, 0.9)) if opened else 0.0,
        damping=damping,
        friction_loss=loss,
        **shared,  # type: ignore[arg-type]
    )
