"""Rigid objects of one or several primitive parts, sampled at random."""

from dataclasses import dataclass, field, replace

import numpy as np

from fourd_ros.simulation.appearance import PALETTE, Appearance, sample_coloured, vary
from fourd_ros.simulation.blocks import BLOCK_KINDS
from fourd_ros.simulation.parts import ALONG_X, Body, Generator, Grasp, Part, Vector, grasp_height


@dataclass(frozen=True, kw_only=True)
class ObjectSpec:
    """A free rigid body; its frame lies in the centre of its bounding box.

    Args:
        name: unique in the scene; body name in MuJoCo and id on the wire.
        kind: key of `OBJECT_KINDS` or `BLOCK_KINDS`.
        label: what a person would call it.
        size: extents of the bounding box [m].
        parts: its primitives.
        density: of every part [kg/m^3].
        friction: sliding friction coefficient.
        rolling_friction: rolling friction coefficient [m].
        grasp: how to take it.
        flat_top: True when something can be put on it.
        position: of the frame at the start, in the world [m].
        yaw: about the vertical at the start [rad].
    """

    name: str
    kind: str
    label: str
    size: Vector
    parts: tuple[Part, ...]
    density: float
    friction: float
    rolling_friction: float = 0.0001
    grasp: Grasp = field(default_factory=Grasp)
    flat_top: bool = False
    position: Vector = (0.0, 0.0, 0.0)
    yaw: float = 0.0

    @property
    def radius(self) -> float:
        """Of the circle around its footprint [m]."""
        return float(np.hypot(self.size[0], self.size[1])) / 2

    def at(self, x: float, y: float, yaw: float) -> "ObjectSpec":
        """The same object resting on the table (z = 0) elsewhere."""
        return replace(self, position=(float(x), float(y), self.size[2] / 2 + 0.0005), yaw=float(yaw))


def _box(rng: np.random.Generator, surface: Appearance) -> Body:
    width, depth, height = rng.uniform((0.036, 0.036, 0.036), (0.064, 0.095, 0.09))
    half = (float(width) / 2, float(depth) / 2, float(height) / 2)
    return Body(
        size=(2 * half[0], 2 * half[1], 2 * half[2]),
        parts=(Part(shape="box", size=half, appearance=surface),),
        grasp=Grasp(position=(0.0, 0.0, grasp_height(height))),
        flat_top=True,
    )


def _cylinder(rng: np.random.Generator, surface: Appearance) -> Body:
    radius, height = float(rng.uniform(0.02, 0.033)), float(rng.uniform(0.04, 0.10))
    return Body(
        size=(2 * radius, 2 * radius, height),
        parts=(Part(shape="cylinder", size=(radius, height / 2), appearance=surface),),
        grasp=Grasp(position=(0.0, 0.0, grasp_height(height)), free_yaw=True),
        flat_top=True,
    )


def _ball(rng: np.random.Generator, surface: Appearance) -> Body:
    radius = float(rng.uniform(0.022, 0.033))
    return Body(
        size=(2 * radius,) * 3,
        parts=(Part(shape="sphere", size=(radius,), appearance=surface),),
        grasp=Grasp(free_yaw=True),
        rolling_friction=0.002,
    )


def _mug(rng: np.random.Generator, surface: Appearance) -> Body:
    radius, height = float(rng.uniform(0.027, 0.032)), float(rng.uniform(0.06, 0.095))
    wall, sides, reach = 0.003, 12, float(rng.uniform(0.018, 0.026))
    # The frame lies in the centre of the bounding box, which the handle (towards +x) shifts.
    shift = -(reach + 0.004) / 2
    plank = (radius - wall) * float(np.tan(np.pi / sides)) + wall / 2
    parts = [
        Part(
            shape="box",
            size=(wall / 2, plank, height / 2),
            position=(shift + (radius - wall / 2) * float(np.cos(a)), (radius - wall / 2) * float(np.sin(a)), 0.0),
            rotation=(0.0, 0.0, float(np.sin(a / 2)), float(np.cos(a / 2))),
            appearance=surface,
        )
        for a in np.arange(sides) * 2 * np.pi / sides
    ]
    base = Part(
        shape="cylinder", size=(radius - wall, 0.003), position=(shift, 0.0, 0.003 - height / 2), appearance=surface
    )
    rise, bar = 0.26 * height, 0.004
    outer = shift + radius + reach
    handle = [
        Part(
            shape="capsule",
            size=(bar, reach / 2),
            position=(outer - reach / 2, 0.0, z),
            rotation=ALONG_X,
            appearance=surface,
        )
        for z in (-rise, rise)
    ]
    grip = Part(shape="capsule", size=(bar, rise), position=(outer, 0.0, 0.0), appearance=surface)
    return Body(
        size=(2 * radius + reach + bar, 2 * radius, height),
        parts=(*parts, base, *handle, grip),
        grasp=Grasp(position=(shift, 0.0, grasp_height(height)), yaw=np.pi / 2),
    )


def _hammer(rng: np.random.Generator, surface: Appearance) -> Body:
    length, thick = float(rng.uniform(0.13, 0.18)), float(rng.uniform(0.009, 0.012))
    head = (float(rng.uniform(0.010, 0.014)), float(rng.uniform(0.028, 0.040)), thick * 1.25)
    steel = Appearance(colour=vary(PALETTE["grey"], rng))
    total = length + 2 * head[0]
    start = -total / 2
    return Body(
        size=(total, 2 * head[1], 2 * head[2]),
        parts=(
            Part(
                shape="cylinder",
                size=(thick, length / 2),
                position=(start + length / 2, 0.0, thick - head[2]),
                rotation=ALONG_X,
                appearance=surface,
            ),
            Part(shape="box", size=head, position=(total / 2 - head[0], 0.0, 0.0), appearance=steel),
        ),
        grasp=Grasp(position=(0.02, 0.0, thick - head[2]), yaw=np.pi / 2),
    )


def _screwdriver(rng: np.random.Generator, surface: Appearance) -> Body:
    handle, shaft = float(rng.uniform(0.08, 0.10)), float(rng.uniform(0.06, 0.09))
    thick = float(rng.uniform(0.012, 0.016))
    steel = Appearance(colour=vary(PALETTE["grey"], rng))
    total = handle + shaft
    return Body(
        size=(total, 2 * thick, 2 * thick),
        parts=(
            # A box: a round handle on a table rolls away from every gripper.
            Part(
                shape="box",
                size=(handle / 2, thick, thick),
                position=((handle - total) / 2, 0.0, 0.0),
                appearance=surface,
            ),
            Part(
                shape="cylinder",
                size=(0.004, shaft / 2),
                position=((total - shaft) / 2, 0.0, 0.0),
                rotation=ALONG_X,
                appearance=steel,
            ),
        ),
        grasp=Grasp(position=((handle - total) / 2 + 0.015, 0.0, 0.0), yaw=np.pi / 2),
    )


def _wrench(rng: np.random.Generator, surface: Appearance) -> Body:
    length, thick, width = (float(value) for value in rng.uniform((0.09, 0.008, 0.008), (0.12, 0.010, 0.012)))
    jaw = float(rng.uniform(0.014, 0.018))
    finger = (0.013, 0.005, thick)
    total = length + 2 * 0.008 + 2 * finger[0]
    start, tip = -total / 2, total / 2
    return Body(
        size=(total, 2 * (jaw + finger[1]), 2 * thick),
        parts=(
            Part(
                shape="box",
                size=(length / 2, width, thick),
                position=(start + length / 2, 0.0, 0.0),
                appearance=surface,
            ),
            Part(
                shape="box",
                size=(0.008, jaw + finger[1], thick),
                position=(start + length + 0.008, 0.0, 0.0),
                appearance=surface,
            ),
            *(
                Part(shape="box", size=finger, position=(tip - finger[0], side * jaw, 0.0), appearance=surface)
                for side in (-1, 1)
            ),
        ),
        grasp=Grasp(position=(start + length / 2 + 0.01, 0.0, 0.0), yaw=np.pi / 2),
    )


OBJECT_KINDS: dict[str, Generator] = {
    "box": _box,
    "cylinder": _cylinder,
    "ball": _ball,
    "mug": _mug,
    "hammer": _hammer,
    "screwdriver": _screwdriver,
    "wrench": _wrench,
}
"""Those of the tasks."""

_GENERATORS = OBJECT_KINDS | BLOCK_KINDS
FLAT_KINDS = ("box", "cylinder")


DENSITY, FRICTION = (200.0, 800.0), (0.4, 1.0)
"""What no camera shows: ranges of densities [kg/m^3] and sliding friction coefficients."""


def sample_object(rng: np.random.Generator, *, name: str, kind: str) -> ObjectSpec:
    """An object of random size, mass, friction and look, standing at the origin."""
    colour, surface = sample_coloured(rng)
    body = _GENERATORS[kind](rng, surface)
    return ObjectSpec(
        name=name,
        kind=kind,
        label=f"{colour} {kind}",
        size=body.size,
        parts=body.parts,
        density=float(rng.uniform(*DENSITY)),
        friction=float(rng.uniform(*FRICTION)),
        rolling_friction=body.rolling_friction,
        grasp=body.grasp,
        flat_top=body.flat_top,
    )
