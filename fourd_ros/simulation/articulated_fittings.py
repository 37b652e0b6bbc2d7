"""What articulated objects are put together of: plates, rods, shells, drawers, doors, handles."""

from dataclasses import replace

import numpy as np

from fourd_ros.geometry.transforms import from_quaternion, from_rpy, to_quaternion
from fourd_ros.simulation.appearance import Appearance, Colour, vary
from fourd_ros.simulation.parts import ALONG_X, IDENTITY, Part, Quaternion, Vector

ALONG_Y: Quaternion = (float(np.sqrt(0.5)), 0.0, 0.0, float(np.sqrt(0.5)))
STEEL: Colour = (0.66, 0.67, 0.69)
DARK = Appearance(colour=(0.12, 0.12, 0.13))

Cell = tuple[float, float, float, float]
"""Opening in a front: its least and greatest y, least and greatest z."""


def plate(centre: Vector, extents: Vector, look: Appearance) -> Part:
    """A box."""
    return Part(shape="box", size=tuple(value / 2 for value in extents), position=centre, appearance=look)


def rod(centre: Vector, radius: float, length: float, look: Appearance, rotation: Quaternion = IDENTITY) -> Part:
    """A cylinder along z before it is turned."""
    return Part(shape="cylinder", size=(radius, length / 2), position=centre, rotation=rotation, appearance=look)


def around(part: Part, angle: float) -> Part:
    """A part turned about the vertical axis through the origin [rad]."""
    placed = from_rpy((0.0, 0.0, 0.0), (0.0, 0.0, angle)) @ from_quaternion(part.position, part.rotation)
    position, rotation = to_quaternion(placed)
    x, y, z = position.tolist()
    qx, qy, qz, qw = rotation.tolist()
    return replace(part, position=(x, y, z), rotation=(qx, qy, qz, qw))


def shell(size: Vector, wall: float, look: Appearance) -> list[Part]:
    """Bottom, top, back and sides of a case of depth, width and height that stands on z = 0, open towards +x."""
    depth, width, height = size
    return [
        plate((0.0, 0.0, wall / 2), (depth, width, wall), look),
        plate((0.0, 0.0, height - wall / 2), (depth, width, wall), look),
        plate((-(depth - wall) / 2, 0.0, height / 2), (wall, width, height), look),
        plate((0.0, -(width - wall) / 2, height / 2), (depth, wall, height), look),
        plate((0.0, (width - wall) / 2, height / 2), (depth, wall, height), look),
    ]


def leaf(cell: Cell, front: float, thick: float, look: Appearance) -> list[Part]:
    """A door or front that covers a cell, on the plane x = front."""
    y0, y1, z0, z1 = cell
    return [plate((front + thick / 2, (y0 + y1) / 2, (z0 + z1) / 2), (thick, y1 - y0, z1 - z0), look)]


def drawer_box(cell: Cell, front: float, depth: float, wall: float, look: Appearance, inner: Appearance) -> list[Part]:
    """A front with a box behind it that fills the cell."""
    y0, y1, z0, z1 = cell
    thin, gap = wall * 0.6, wall
    inner_low, inner_high = y0 + gap, y1 - gap
    middle, high = (y0 + y1) / 2, 0.7 * (z1 - z0)
    x, z = front - depth / 2, z0 + gap + high / 2
    return [
        *leaf(cell, front, wall, look),
        plate((x, middle, z0 + gap + thin / 2), (depth, inner_high - inner_low, thin), inner),
        plate((front - depth + thin / 2, middle, z), (thin, inner_high - inner_low, high), inner),
        plate((x, inner_low + thin / 2, z), (depth, thin, high), inner),
        plate((x, inner_high - thin / 2, z), (depth, thin, high), inner),
    ]


def cell_frame(cell: Cell, surface: float, look: Appearance, rng: np.random.Generator) -> list[Part]:
    """What may decorate a door: nothing, a panel of another shade, or a pane of glass in a frame."""
    y0, y1, z0, z1 = cell
    kind = rng.random()
    if kind < 0.4:
        return []
    colour = vary(look.colour, rng, spread=0.1) if kind < 0.8 else vary((0.55, 0.68, 0.75), rng)
    rim = float(rng.uniform(0.6, 0.85))
    size = (0.006, (y1 - y0) * rim, (z1 - z0) * rim)
    return [plate((surface, (y0 + y1) / 2, (z0 + z1) / 2), size, Appearance(colour=colour))]


def handle(
    centre: Vector,
    room: tuple[float, float],
    look: Appearance,
    style: int,
    *,
    across: bool,
    rng: np.random.Generator,
) -> list[Part]:
    """A bar (style 0), a knob (1) or a strip (2) on a front that faces +x.

    Args:
        centre: on the surface.
        room: width (y) and height (z) that there is.
        look: of it.
        style: see above.
        across: bars and strips lie along y instead of z.
        rng: for their sizes.
    """
    x, y, z = centre
    most = room[0] if across else room[1]
    length = min(float(rng.uniform(0.3, 0.75)) * most, 0.5)
    reach, thick = float(rng.uniform(0.025, 0.05)), float(rng.uniform(0.006, 0.013))
    if style == 1:
        radius = min(float(rng.uniform(0.014, 0.026)), 0.4 * min(room))
        stem = rod((x + reach / 2, y, z), radius * 0.5, reach, look, ALONG_X)
        return [stem, Part(shape="sphere", size=(radius,), position=(x + reach, y, z), appearance=look)]
    extents: Vector = (thick, length, thick * 2) if across else (thick, thick * 2, length)
    if style == 2:
        return [plate((x + thick / 2, y, z), extents, look)]
    bar = rod((x + reach, y, z), thick, length, look, ALONG_Y if across else IDENTITY)
    ends = [(0.42 * side * length, 0.0) if across else (0.0, 0.42 * side * length) for side in (-1.0, 1.0)]
    return [bar, *(rod((x + reach / 2, y + dy, z + dz), thick * 0.8, reach, look, ALONG_X) for dy, dz in ends)]
