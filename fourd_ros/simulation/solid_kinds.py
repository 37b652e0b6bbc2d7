"""Which solids there are: what stands on tables, and articulated things. Every one has its longest side 1."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from fourd_ros.geometry.transforms import from_rpy, to_quaternion
from fourd_ros.simulation.appearance import Appearance, sample_coloured
from fourd_ros.simulation.articulated import MovingPart
from fourd_ros.simulation.articulated_fittings import around, plate, rod
from fourd_ros.simulation.articulated_kinds import KINDS
from fourd_ros.simulation.blocks import BLOCK_KINDS
from fourd_ros.simulation.objects import OBJECT_KINDS, sample_object
from fourd_ros.simulation.parts import Part, Vector
from fourd_ros.simulation.solids import Solid, bounds

Rng = np.random.Generator
FloatArray = NDArray[np.float64]

_SIDES = 14
_CASES = ("cabinet", "fridge", "oven", "microwave")
"""Kinds whose first five primitives are the plates of a case; what is in it no picture tells, so it is filled."""

_CASE_PLATES = 5


def _ring(radius: float, low: float, high: float, wall: float, look: Appearance, *, lean: float = 0.0) -> list[Part]:
    """A wall of planks around the vertical, which lean outwards by an angle [rad]; `radius` is that of their middle."""
    length = (high - low) / float(np.cos(lean))
    plank = (radius + length / 2 * float(np.sin(lean)) + wall / 2) * float(np.tan(np.pi / _SIDES))
    placed = from_rpy((radius, 0.0, (low + high) / 2), (0.0, lean, 0.0))
    position, rotation = to_quaternion(placed)
    x, y, z = position.tolist()
    qx, qy, qz, qw = rotation.tolist()
    board = replace(
        plate((x, y, z), (wall, 2 * plank, length), look),
        rotation=(qx, qy, qz, qw),
    )
    return [around(board, float(angle)) for angle in np.arange(_SIDES) * 2 * np.pi / _SIDES]


def _cup(rng: Rng, look: Appearance) -> list[Part]:
    """A mug with walls that few points show, and a handle as often as not."""
    radius, height, wall = float(rng.uniform(0.3, 0.42)), float(rng.uniform(0.7, 1.0)), float(rng.uniform(0.07, 0.1))
    parts = _ring(radius - wall / 2, 0.0, height, wall, look)
    parts.append(rod((0.0, 0.0, wall / 2), radius - wall / 2, wall, look))
    if rng.random() < 0.7:
        bar, reach = float(rng.uniform(0.04, 0.06)), float(rng.uniform(0.2, 0.3))
        rise, middle = 0.28 * height, height / 2
        for z in (middle - rise, middle + rise):
            parts.append(plate((radius + reach / 2, 0.0, z), (reach, 2 * bar, 2 * bar), look))
        parts.append(plate((radius + reach, 0.0, middle), (2 * bar, 2 * bar, 2 * rise + 2 * bar), look))
    return parts


def _bowl(rng: Rng, look: Appearance) -> list[Part]:
    radius, height, wall = float(rng.uniform(0.35, 0.45)), float(rng.uniform(0.25, 0.5)), float(rng.uniform(0.07, 0.1))
    lean = float(rng.uniform(0.25, 0.6))
    parts = _ring(radius, wall / 2, height, wall, look, lean=lean)
    floor = radius - height / 2 * float(np.tan(lean)) + wall / 2
    parts.append(rod((0.0, 0.0, wall / 2), max(floor, 0.1), wall, look))
    return parts


def _bottle(rng: Rng, look: Appearance) -> list[Part]:
    radius, body, neck = float(rng.uniform(0.14, 0.24)), float(rng.uniform(0.5, 0.65)), float(rng.uniform(0.06, 0.09))
    shoulder = float(rng.uniform(0.08, 0.16))
    steps = 4
    parts = [rod((0.0, 0.0, body / 2), radius, body, look)]
    for step in range(steps):
        share = (step + 1) / (steps + 1)
        parts.append(
            rod(
                (0.0, 0.0, body + shoulder * (step + 0.5) / steps),
                radius + (neck - radius) * share,
                shoulder / steps * 1.02,
                look,
            )
        )
    _, cap = sample_coloured(rng, patterned=0.0)
    top = body + shoulder
    parts.append(rod((0.0, 0.0, (top + 1.0) / 2), neck, 1.0 - top, look))
    parts.append(rod((0.0, 0.0, 1.0), neck * 1.2, 0.08, cap))
    return parts


def _stool(rng: Rng, look: Appearance) -> list[Part]:
    """A seat on four legs, with a back as often as not."""
    side, height, thick = float(rng.uniform(0.5, 0.9)), float(rng.uniform(0.45, 0.8)), float(rng.uniform(0.07, 0.1))
    _, wood = sample_coloured(rng, patterned=0.2)
    reach = (side - thick) / 2
    legs = [
        plate((x * reach, y * reach, height / 2), (thick, thick, height), wood)
        for x in (-1.0, 1.0)
        for y in (-1.0, 1.0)
    ]
    parts = [plate((0.0, 0.0, height), (side, side, thick), look), *legs]
    if rng.random() < 0.5:
        back = float(rng.uniform(0.3, 0.6))
        parts.append(plate((-reach, 0.0, height + back / 2), (thick, side, back), look))
    return parts


def _lamp(rng: Rng, look: Appearance) -> list[Part]:
    foot, height, shade = float(rng.uniform(0.2, 0.3)), float(rng.uniform(0.6, 0.8)), float(rng.uniform(0.2, 0.34))
    _, metal = sample_coloured(rng, patterned=0.0)
    return [
        rod((0.0, 0.0, 0.03), foot, 0.06, metal),
        rod((0.0, 0.0, height / 2), float(rng.uniform(0.03, 0.05)), height, metal),
        rod((0.0, 0.0, height + 0.12), shade, float(rng.uniform(0.24, 0.36)), look),
    ]


_PROCEDURAL: dict[str, Callable[[Rng, Appearance], list[Part]]] = {
    "cup": _cup,
    "bowl": _bowl,
    "bottle": _bottle,
    "stool": _stool,
    "lamp": _lamp,
}
_TABLETOP = (*(kind for kind in OBJECT_KINDS if kind != "mug"), *BLOCK_KINDS)

_ARTICULATED = {"chest" if name == "box" else name: kind for name, kind in KINDS.items()}

SIMPLE_KINDS = (*_TABLETOP, *_PROCEDURAL)
ARTICULATED_KINDS = tuple(_ARTICULATED)
HELD_OUT_KINDS = ("bottle", "tee", "lamp", "bin")
"""Of which nothing is in training."""


def sample_solid(kind: str, rng: Rng) -> Solid:
    """A thing of a kind, its longest side 1 while it is closed, the middle of its box at the origin."""
    if kind in _ARTICULATED:
        body, moving = _ARTICULATED[kind].sample(rng)
        parts = _filled(body) if kind in _CASES else tuple(body)
        return _normalised(kind, parts, tuple(moving))
    if kind in _PROCEDURAL:
        _, look = sample_coloured(rng)
        return _normalised(kind, tuple(_PROCEDURAL[kind](rng, look)), ())
    return _normalised(kind, sample_object(rng, name=kind, kind=kind).parts, ())


def _filled(body: list[Part]) -> tuple[Part, ...]:
    case = Solid(kind="", pieces=(tuple(body[:_CASE_PLATES]),))
    low, high = bounds(case, np.eye(4)[None])
    x, y, z = ((low + high) / 2).tolist()
    width, depth, height = (high - low).tolist()
    return (plate((x, y, z), (width, depth, height), body[0].appearance), *body[_CASE_PLATES:])


def _normalised(kind: str, body: tuple[Part, ...], moving: tuple[MovingPart, ...]) -> Solid:
    solid = Solid(kind=kind, pieces=(body, *(one.shapes for one in moving)), hinges=tuple(one.hinge for one in moving))
    low, high = bounds(solid, solid.motions([0.0] * len(moving)))
    return _shifted(solid, -(low + high) / 2).scaled(1 / float((high - low).max()))


def _shifted(solid: Solid, shift: FloatArray) -> Solid:
    def moved(place: Vector) -> Vector:
        x, y, z = (float(value) for value in np.asarray(place) + shift)
        return x, y, z

    pieces = tuple(tuple(replace(part, position=moved(part.position)) for part in piece) for piece in solid.pieces)
    return replace(solid, pieces=pieces, hinges=tuple(replace(one, origin=moved(one.origin)) for one in solid.hinges))
