"""What kinds of articulated objects look like: sizes, proportions, joints, handles and colours drawn at random.

Lengths are about metres here; `articulated.fitted` scales the whole. The front faces +x, z is up.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from fourd_ros.data.articulation import SLIDES, TURNS
from fourd_ros.simulation.appearance import PALETTE, Appearance, sample_coloured, vary
from fourd_ros.simulation.articulated import Hinge, MovingPart
from fourd_ros.simulation.articulated_fittings import (
    DARK,
    STEEL,
    around,
    cell_frame,
    drawer_box,
    handle,
    leaf,
    plate,
    rod,
    shell,
)
from fourd_ros.simulation.parts import ALONG_X, Part, Vector

Rng = np.random.Generator
Drawn = tuple[list[Part], list[MovingPart]]

MOST_JOINTS = 9
"""So that one digit can tell a joint."""

UP: Vector = (0.0, 0.0, 1.0)
DOWN: Vector = (0.0, 0.0, -1.0)
OUT: Vector = (1.0, 0.0, 0.0)


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A kind of object.

    Args:
        name: of the kind.
        category: class of PartNet-Mobility.
        sample: draws its body and moving parts.
    """

    name: str
    category: str
    sample: Callable[[Rng], Drawn]


def _span(rng: Rng, low: float, high: float) -> float:
    return float(rng.uniform(low, high))


def _looks(rng: Rng) -> tuple[Appearance, Appearance]:
    """Of a body and of what moves on it; as often as not the same."""
    _, body = sample_coloured(rng, patterned=0.35)
    if rng.random() < 0.5:
        return body, body
    _, front = sample_coloured(rng, patterned=0.35)
    return body, front


def _metal(rng: Rng) -> Appearance:
    if rng.random() < 0.6:
        return Appearance(colour=vary(STEEL, rng))
    return Appearance(colour=vary(PALETTE[str(rng.choice(list(PALETTE)))], rng))


def _parts_of(length: float, count: int, rng: Rng) -> list[float]:
    """`length` in `count` pieces of different sizes, as the edges between them."""
    shares = rng.uniform(1.0, 1.0 + _span(rng, 0.0, 1.2), count)
    return [0.0, *np.cumsum(shares / shares.sum() * length).tolist()]


def _swing(rng: Rng, low: float = 70, high: float = 120) -> float:
    return _span(rng, low, high)


def _cabinet(rng: Rng) -> Drawn:
    width, depth, height = _span(rng, 0.45, 1.1), _span(rng, 0.4, 0.65), _span(rng, 0.45, 1.3)
    wall = _span(rng, 0.015, 0.03)
    body_look, front_look = _looks(rng)
    grip = _metal(rng)
    columns = int(rng.integers(1, 3 if width < 0.75 else 4))
    body = shell((depth, width, height), wall, body_look)
    front = depth / 2
    moving: list[MovingPart] = []
    style = int(rng.integers(3))
    edges = _parts_of(width - 2 * wall, columns, rng)
    for left, right in pairwise(edges):
        y0, y1 = left - width / 2 + wall, right - width / 2 + wall
        if right < edges[-1]:
            body.append(plate((0.0, y1, height / 2), (depth - wall, wall, height), body_look))
        rows = _parts_of(height - 2 * wall, int(rng.integers(1, 5)), rng)
        for low, high in pairwise(rows):
            z0, z1 = low + wall, high + wall
            if high < rows[-1]:
                middle = ((y0 + y1) / 2, z1)
                body.append(plate((0.0, *middle), (depth - wall, y1 - y0, wall), body_look))
            if len(moving) == MOST_JOINTS or (moving and rng.random() < 0.12):
                continue
            name = f"part_{len(moving)}"
            cell = (y0 + 0.004, y1 - 0.004, z0 + 0.004, z1 - 0.004)
            tall = (z1 - z0) > 0.9 * (y1 - y0)
            if rng.random() < (0.25 if tall else 0.8):
                moving.append(_drawer(rng, name, cell, front, depth, wall, front_look, grip, style))
            else:
                moving.append(_door(rng, name, cell, front, wall, front_look, grip, style))
    if rng.random() < 0.4:
        foot = _span(rng, 0.04, 0.18)
        inset = 0.04
        for x in (-depth / 2 + inset, depth / 2 - inset):
            for y in (-width / 2 + inset, width / 2 - inset):
                body.append(plate((x, y, -foot / 2), (0.04, 0.04, foot), body_look))
    if rng.random() < 0.5:
        over = _span(rng, 0.0, 0.04)
        top = _span(rng, 0.015, 0.04)
        _, look = sample_coloured(rng, patterned=0.4)
        body.append(plate((over / 2, 0.0, height + top / 2), (depth + over, width + over, top), look))
    return body, moving


Cell = tuple[float, float, float, float]


def _drawer(
    rng: Rng,
    name: str,
    cell: Cell,
    front: float,
    depth: float,
    wall: float,
    look: Appearance,
    grip: Appearance,
    style: int,
) -> MovingPart:
    y0, y1, z0, z1 = cell
    inner = Appearance(colour=vary(PALETTE["brown"], rng)) if rng.random() < 0.4 else look
    shapes = drawer_box(cell, front, depth - 2 * wall, wall, look, inner)
    across = (y1 - y0) > (z1 - z0) * 0.5
    shapes += handle(
        (front + wall, (y0 + y1) / 2, (z0 + z1) / 2), (y1 - y0, z1 - z0), grip, style, across=across, rng=rng
    )
    return MovingPart(
        name=name,
        hinge=Hinge(type=SLIDES, origin=(front, 0.0, 0.0), direction=OUT, upper=depth * _span(rng, 0.5, 0.85)),
        shapes=tuple(shapes),
    )


def _door(
    rng: Rng, name: str, cell: Cell, front: float, wall: float, look: Appearance, grip: Appearance, style: int
) -> MovingPart:
    y0, y1, z0, z1 = cell
    side = "drop" if rng.random() < 0.1 else str(rng.choice(["left", "right"]))
    shapes = leaf(cell, front, wall, look)
    shapes += cell_frame(cell, front + wall, look, rng)
    if side == "drop":
        shapes += handle((front + wall, (y0 + y1) / 2, z1 - 0.05), (y1 - y0, 0.08), grip, style, across=True, rng=rng)
        hinge = Hinge(type=TURNS, origin=(front, 0.0, z0), direction=(0.0, 1.0, 0.0), upper=_swing(rng, 60, 95))
        return MovingPart(name=name, hinge=hinge, shapes=tuple(shapes))
    # Opening turns the free edge outwards, so the axis points up where the hinge is at the larger y.
    hinged_at, direction, free = (y1, UP, y0 + 0.05) if side == "left" else (y0, DOWN, y1 - 0.05)
    z = (z0 + z1) / 2 + _span(rng, -0.2, 0.2) * (z1 - z0)
    shapes += handle((front + wall, free, z), (0.08, (z1 - z0) * 0.7), grip, style, across=False, rng=rng)
    hinge = Hinge(type=TURNS, origin=(front, hinged_at, 0.0), direction=direction, upper=_swing(rng))
    return MovingPart(name=name, hinge=hinge, shapes=tuple(shapes))


def _fridge(rng: Rng) -> Drawn:
    width, depth, height = _span(rng, 0.55, 0.95), _span(rng, 0.5, 0.7), _span(rng, 1.1, 1.8)
    wall = _span(rng, 0.03, 0.05)
    _, look = sample_coloured(rng, patterned=0.1)
    front_look = look if rng.random() < 0.7 else sample_coloured(rng, patterned=0.1)[1]
    grip = _metal(rng)
    body = shell((depth, width, height), wall, look)
    front, style = depth / 2, int(rng.integers(2))
    for z in np.linspace(0.2, 0.8, int(rng.integers(2, 5))):
        body.append(plate((-0.03, 0.0, float(z) * height), (depth - 0.12, width - 2 * wall, 0.012), look))
    if rng.random() < 0.35:
        middle = _span(rng, -0.1, 0.1) * width
        cells = [(-width / 2, middle - 0.004, 0.0, height), (middle + 0.004, width / 2, 0.0, height)]
        sides = ["right", "left"]
    else:
        middle = height * (_span(rng, 0.25, 0.4) if rng.random() < 0.4 else _span(rng, 0.6, 0.75))
        body.append(plate((0.0, 0.0, middle), (depth - wall, width - 2 * wall, wall), look))
        cells = [(-width / 2, width / 2, 0.0, middle - 0.004), (-width / 2, width / 2, middle + 0.004, height)]
        sides = [str(rng.choice(["left", "right"]))] * 2
    moving = []
    for index, (cell, side) in enumerate(zip(cells, sides, strict=True)):
        y0, y1, z0, z1 = cell
        at, direction, free = (y1, UP, y0 + 0.05) if side == "left" else (y0, DOWN, y1 - 0.05)
        shapes = leaf(cell, front, wall, front_look)
        shapes += handle(
            (front + wall, free, (z0 + z1) / 2), (0.08, (z1 - z0) * 0.8), grip, style, across=False, rng=rng
        )
        hinge = Hinge(type=TURNS, origin=(front, at, 0.0), direction=direction, upper=_swing(rng, 80, 120))
        moving.append(MovingPart(name=f"door_{index}", hinge=hinge, shapes=tuple(shapes)))
    return body, moving


def _oven(rng: Rng) -> Drawn:
    width, depth, height = _span(rng, 0.5, 0.8), _span(rng, 0.45, 0.65), _span(rng, 0.55, 0.95)
    wall = _span(rng, 0.02, 0.035)
    _, look = sample_coloured(rng, patterned=0.1)
    grip = _metal(rng)
    panel = _span(rng, 0.08, 0.14)
    body = shell((depth, width, height), wall, look)
    front = depth / 2
    top = height - panel
    body.append(plate((0.0, 0.0, height - panel / 2), (depth - wall / 2, width - 0.004, panel), look))
    knobs = int(rng.integers(2, 6))
    for y in np.linspace(-0.38, 0.38, knobs) * width:
        body.append(rod((front, float(y), height - panel / 2), panel * 0.22, 0.02, DARK, ALONG_X))
    if rng.random() < 0.6:
        for x, y in ((-0.2, -0.22), (-0.2, 0.22), (0.2, -0.22), (0.2, 0.22)):
            body.append(rod((x * depth, y * width, height), _span(rng, 0.06, 0.1), 0.006, DARK))
    low = 0.0
    moving = []
    style = int(rng.integers(2))
    if rng.random() < 0.55:
        low = _span(rng, 0.2, 0.3) * top
        body.append(plate((0.0, 0.0, low), (depth - wall, width - 2 * wall, wall), look))
        moving.append(
            _drawer(rng, "drawer", (-width / 2, width / 2, 0.005, low), front, depth, wall, look, grip, style)
        )
    body.append(plate((0.0, 0.0, (low + top) / 2), (depth - 4 * wall, width - 2 * wall, 0.008), DARK))
    cell = (-width / 2, width / 2, low + 0.006, top - 0.004)
    shapes = leaf(cell, front, wall, look)
    glass = Appearance(colour=vary((0.10, 0.11, 0.13), rng, spread=0.03))
    shapes.append(
        plate(
            (front + wall, 0.0, (low + top) / 2 - 0.02), (0.008, width * _span(rng, 0.5, 0.8), (top - low) * 0.5), glass
        )
    )
    shapes += handle((front + wall, 0.0, top - 0.05), (width, 0.08), grip, style, across=True, rng=rng)
    hinge = Hinge(type=TURNS, origin=(front, 0.0, low + 0.006), direction=(0.0, 1.0, 0.0), upper=_swing(rng, 60, 95))
    moving.append(MovingPart(name="door", hinge=hinge, shapes=tuple(shapes)))
    return body, moving


def _microwave(rng: Rng) -> Drawn:
    width, depth, height = _span(rng, 0.45, 0.65), _span(rng, 0.32, 0.5), _span(rng, 0.26, 0.38)
    wall = _span(rng, 0.015, 0.025)
    _, look = sample_coloured(rng, patterned=0.1)
    panel = _span(rng, 0.18, 0.3) * width
    side = float(rng.choice([-1.0, 1.0]))
    front = depth / 2
    body = shell((depth, width, height), wall, look)
    at = side * (width / 2 - panel / 2)
    body.append(plate((0.0, at, height / 2), (depth + wall, panel, height), look))
    body.append(plate((front + wall / 2, at, height * 0.82), (0.006, panel * 0.7, height * 0.12), DARK))
    if rng.random() < 0.5:
        for z in np.linspace(0.2, 0.6, int(rng.integers(1, 3))) * height:
            body.append(rod((front + wall / 2, at, float(z)), panel * 0.22, 0.014, _metal(rng), ALONG_X))
    else:
        key = Appearance(colour=vary(PALETTE["grey"], rng))
        for z in np.linspace(0.15, 0.65, 4) * height:
            for y in (-0.22, 0.0, 0.22):
                body.append(
                    plate((front + wall / 2, at + y * panel, float(z)), (0.008, panel * 0.16, height * 0.07), key)
                )
    body.append(rod((0.0, -side * panel / 2, wall + 0.01), min(depth, width - panel) * 0.36, 0.005, _metal(rng)))
    y0, y1 = sorted((-side * width / 2, at - side * panel / 2))
    cell = (y0 + 0.002, y1 - 0.002, 0.0, height)
    shapes = leaf(cell, front, wall, look)
    glass = Appearance(colour=vary((0.10, 0.11, 0.13), rng, spread=0.03))
    shapes.append(plate((front + wall, (y0 + y1) / 2, height / 2), (0.006, (y1 - y0) * 0.68, height * 0.6), glass))
    hinged_at, direction, free = (y1, UP, y0 + 0.03) if side < 0 else (y0, DOWN, y1 - 0.03)
    shapes += handle((front + wall, free, height / 2), (0.05, height * 0.8), _metal(rng), 0, across=False, rng=rng)
    hinge = Hinge(type=TURNS, origin=(front, hinged_at, 0.0), direction=direction, upper=_swing(rng, 80, 120))
    return body, [MovingPart(name="door", hinge=hinge, shapes=tuple(shapes))]


def _laptop(rng: Rng) -> Drawn:
    width, depth, thick = _span(rng, 0.3, 0.4), _span(rng, 0.2, 0.28), _span(rng, 0.012, 0.03)
    _, look = sample_coloured(rng, patterned=0.15)
    keys = Appearance(colour=vary(PALETTE[str(rng.choice(["black", "grey", "white"]))], rng), accent=(0.5, 0.5, 0.5))
    body = [plate((0.0, 0.0, thick / 2), (depth, width, thick), look)]
    for x in np.linspace(-0.32, 0.02, 4) * depth:
        for y in np.linspace(-0.41, 0.41, 11) * width:
            body.append(plate((float(x), float(y), thick), (depth * 0.09, width * 0.06, 0.004), keys))
    body.append(plate((depth * 0.3, 0.0, thick), (depth * 0.28, width * 0.3, 0.002), keys))
    lid, gap = _span(rng, 0.006, 0.014), 0.003
    back = -depth / 2
    z = thick + gap
    shapes = [plate((0.0, 0.0, z + lid / 2), (depth, width, lid), look)]
    screen = Appearance(
        colour=vary(PALETTE[str(rng.choice(["blue", "cyan", "black", "purple", "green"]))], rng),
        accent=vary((0.8, 0.85, 0.9), rng),
        pattern="gradient" if rng.random() < 0.6 else "plain",
        scale=2 / width,
    )
    shapes.append(plate((0.0, 0.0, z), (depth * 0.86, width * 0.9, 0.002), screen))
    if rng.random() < 0.7:
        mark = Appearance(colour=vary(PALETTE["white"], rng))
        shapes.append(rod((0.0, 0.0, z + lid), width * 0.06, 0.002, mark))
    hinge = Hinge(type=TURNS, origin=(back, 0.0, z), direction=(0.0, -1.0, 0.0), upper=_swing(rng, 95, 150))
    return body, [MovingPart(name="lid", hinge=hinge, shapes=tuple(shapes))]


def _faucet(rng: Rng) -> Drawn:
    look = _metal(rng)
    levers = look if rng.random() < 0.6 else _metal(rng)
    rise, reach, pipe = _span(rng, 0.16, 0.34), _span(rng, 0.16, 0.28), _span(rng, 0.014, 0.026)
    wide = _span(rng, 0.14, 0.26)
    body = [rod((0.0, 0.0, 0.008), pipe * 2.0, 0.016, look), rod((0.0, 0.0, rise / 2), pipe * 1.25, rise, look)]
    turn = _span(rng, 60, 150)
    start = float(np.deg2rad(-turn / 2 + _span(rng, -15, 15)))
    drop = _span(rng, 0.03, 0.10)
    spout = [
        rod((0.0, 0.0, rise + pipe), pipe * 1.25, 2 * pipe, look),
        rod((reach / 2, 0.0, rise + pipe), pipe, reach, look, ALONG_X),
        rod((reach, 0.0, rise + pipe - drop / 2), pipe * 0.95, drop, look),
        Part(shape="sphere", size=(pipe,), position=(reach, 0.0, rise + pipe), appearance=look),
    ]
    spout = [around(part, start) for part in spout]
    moving = [
        MovingPart(
            name="spout",
            hinge=Hinge(type=TURNS, origin=(0.0, 0.0, 0.0), direction=UP, upper=turn),
            shapes=tuple(spout),
        )
    ]
    if rng.random() < 0.55:
        for index, side in enumerate((-1.0, 1.0)):
            y = side * wide
            post, length = _span(rng, 0.05, 0.10), _span(rng, 0.10, 0.17)
            body.append(rod((0.0, y, post / 2), pipe, post, look))
            body.append(plate((0.0, y / 2, 0.008), (pipe * 2.4, wide, 0.014), look))
            shapes = [
                rod((0.0, y, post + 0.008), pipe * 1.2, 0.02, levers),
                plate((length / 2, y, post + 0.012), (length, pipe * 1.2, pipe * 0.7), levers),
            ]
            hinge = Hinge(
                type=TURNS, origin=(0.0, y, 0.0), direction=UP if side > 0 else DOWN, upper=_span(rng, 60, 110)
            )
            moving.append(MovingPart(name=f"lever_{index}", hinge=hinge, shapes=tuple(shapes)))
    else:
        length, z = _span(rng, 0.12, 0.20), rise + 3.2 * pipe
        shapes = [
            rod((0.0, 0.0, z), pipe * 1.3, 2 * pipe, levers),
            plate((-length / 2, 0.0, z + pipe), (length, pipe * 1.1, pipe * 0.7), levers),
        ]
        if rng.random() < 0.5:
            hinge = Hinge(type=TURNS, origin=(0.0, 0.0, 0.0), direction=UP, upper=_span(rng, 60, 120))
        else:
            hinge = Hinge(type=TURNS, origin=(0.0, 0.0, z), direction=(0.0, 1.0, 0.0), upper=_span(rng, 25, 50))
        moving.append(MovingPart(name="lever", hinge=hinge, shapes=tuple(shapes)))
    return body, moving


def _box(rng: Rng) -> Drawn:
    width, depth, height = _span(rng, 0.25, 0.6), _span(rng, 0.25, 0.45), _span(rng, 0.15, 0.4)
    wall = _span(rng, 0.01, 0.025)
    look, lid_look = _looks(rng)
    inner = Appearance(colour=vary(PALETTE["brown"], rng)) if rng.random() < 0.4 else look
    body = [
        plate((0.0, 0.0, wall / 2), (depth, width, wall), inner),
        *(plate((s * (depth - wall) / 2, 0.0, height / 2), (wall, width, height), look) for s in (-1.0, 1.0)),
        *(plate((0.0, s * (width - wall) / 2, height / 2), (depth, wall, height), look) for s in (-1.0, 1.0)),
    ]
    style = rng.random()
    z = height + wall / 2
    if style < 0.5:
        lid = [plate((0.0, 0.0, z), (depth, width, wall), lid_look)]
        if rng.random() < 0.7:
            lid += handle((depth / 2, 0.0, z), (width, 0.05), _metal(rng), int(rng.integers(2)), across=True, rng=rng)
        hinge = Hinge(
            type=TURNS, origin=(-depth / 2, 0.0, height), direction=(0.0, -1.0, 0.0), upper=_swing(rng, 70, 130)
        )
        return body, [MovingPart(name="lid", hinge=hinge, shapes=tuple(lid))]
    if style < 0.75:
        moving = []
        share = _span(rng, 0.35, 0.65)
        for index, (y0, y1) in enumerate(((-width / 2, (share - 0.5) * width), ((share - 0.5) * width, width / 2))):
            flap = plate((0.0, (y0 + y1) / 2, z), (depth, y1 - y0 - 0.004, wall), lid_look)
            at, direction = (y0, (1.0, 0.0, 0.0)) if index == 0 else (y1, (-1.0, 0.0, 0.0))
            hinge = Hinge(type=TURNS, origin=(0.0, at, height), direction=direction, upper=_swing(rng, 80, 170))
            moving.append(MovingPart(name=f"flap_{index}", hinge=hinge, shapes=(flap,)))
        return body, moving
    lid = [
        plate((0.0, 0.0, z), (depth, width, wall), lid_look),
        rod((0.0, 0.0, z + wall), wall * 1.5, 2 * wall, _metal(rng)),
    ]
    direction = (1.0, 0.0, 0.0) if rng.random() < 0.5 else (0.0, float(rng.choice([-1.0, 1.0])), 0.0)
    length = (depth if direction[0] else width) * _span(rng, 0.5, 0.85)
    hinge = Hinge(type=SLIDES, origin=(0.0, 0.0, height), direction=direction, upper=length)
    return body, [MovingPart(name="lid", hinge=hinge, shapes=tuple(lid))]


def _bin(rng: Rng) -> Drawn:
    radius, height, wall = _span(rng, 0.14, 0.22), _span(rng, 0.35, 0.6), 0.01
    look, lid_look = _looks(rng)
    sides = 20
    plank = (radius - wall / 2) * float(np.tan(np.pi / sides)) + wall / 4
    body: list[Part] = [
        around(plate((radius - wall / 2, 0.0, height / 2), (wall, 2 * plank, height), look), float(angle))
        for angle in np.arange(sides) * 2 * np.pi / sides
    ]
    body.append(rod((0.0, 0.0, wall / 2), radius - wall, wall, look))
    lid = [rod((0.0, 0.0, height + 0.012), radius * 1.04, 0.02, lid_look)]
    if rng.random() < 0.6:
        lid.append(
            Part(shape="sphere", size=(radius * 0.12,), position=(0.0, 0.0, height + 0.03), appearance=_metal(rng))
        )
    hinge = Hinge(type=TURNS, origin=(-radius, 0.0, height), direction=(0.0, -1.0, 0.0), upper=_swing(rng, 60, 100))
    moving = [MovingPart(name="lid", hinge=hinge, shapes=tuple(lid))]
    if rng.random() < 0.6:
        pedal = plate((radius + 0.03, 0.0, 0.03), (0.08, 0.07, 0.012), DARK)
        pressed = Hinge(type=TURNS, origin=(radius, 0.0, 0.03), direction=(0.0, 1.0, 0.0), upper=_span(rng, 12, 20))
        moving.append(MovingPart(name="pedal", hinge=pressed, shapes=(pedal,)))
    return body, moving


KINDS = {
    kind.name: kind
    for kind in (
        Kind(name="cabinet", category="StorageFurniture", sample=_cabinet),
        Kind(name="fridge", category="Refrigerator", sample=_fridge),
        Kind(name="oven", category="Oven", sample=_oven),
        Kind(name="microwave", category="Microwave", sample=_microwave),
        Kind(name="laptop", category="Laptop", sample=_laptop),
        Kind(name="faucet", category="Faucet", sample=_faucet),
        Kind(name="box", category="Box", sample=_box),
        Kind(name="bin", category="TrashCan", sample=_bin),
    )
}
