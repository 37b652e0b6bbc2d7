"""Building blocks, boards and cans: simple shapes that tools and crockery do not have."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from fourd_ros.simulation.appearance import Appearance
from fourd_ros.simulation.parts import ALONG_X, Body, Generator, Grasp, Part, Vector, grasp_height


def _can(rng: np.random.Generator, surface: Appearance) -> Body:
    """A cylinder that lies and rolls."""
    radius, length = float(rng.uniform(0.018, 0.031)), float(rng.uniform(0.07, 0.12))
    return Body(
        size=(length, 2 * radius, 2 * radius),
        parts=(Part(shape="cylinder", size=(radius, length / 2), rotation=ALONG_X, appearance=surface),),
        grasp=Grasp(yaw=np.pi / 2),
        rolling_friction=0.002,
    )


def _slab(rng: np.random.Generator, surface: Appearance) -> Body:
    """A tall thin board that stands on its edge, easy to topple."""
    depth, width, height = (float(value) for value in rng.uniform((0.022, 0.05, 0.09), (0.036, 0.09, 0.14)))
    return Body(
        size=(depth, width, height),
        parts=(Part(shape="box", size=(depth / 2, width / 2, height / 2), appearance=surface),),
        grasp=Grasp(position=(0.0, 0.0, grasp_height(height))),
    )


def _tee(rng: np.random.Generator, surface: Appearance) -> Body:
    stem, bar = _bars(rng, length=(0.07, 0.11))
    total = stem[0] + bar[0]
    return _flat_body(surface, total, bar[1], stem[2], [(stem, (-bar[0] / 2, 0.0)), (bar, (stem[0] / 2, 0.0))])


def _ell(rng: np.random.Generator, surface: Appearance) -> Body:
    stem, bar = _bars(rng, length=(0.08, 0.12))
    total, side = stem[0] + bar[0], (bar[1] - stem[1]) / 2
    return _flat_body(surface, total, bar[1], stem[2], [(stem, (-bar[0] / 2, -side)), (bar, (stem[0] / 2, 0.0))])


def _cross(rng: np.random.Generator, surface: Appearance) -> Body:
    stem, bar = _bars(rng, length=(0.08, 0.13))
    wings = ((bar[1] - stem[1]) / 2 + bar[0] / 2) / 2
    wing = (bar[0], wings, stem[2])
    sides = [(wing, (0.02, side * (stem[1] + wings) / 2)) for side in (-1, 1)]
    body = _flat_body(surface, stem[0], stem[1] + 2 * wings, stem[2], [(stem, (0.0, 0.0)), *sides])
    return replace(body, grasp=Grasp(position=(-stem[0] / 4, 0.0, 0.0), yaw=np.pi / 2))


def _arch(rng: np.random.Generator, surface: Appearance) -> Body:
    """A bridge: two legs and a beam."""
    length, width, height = (float(value) for value in rng.uniform((0.09, 0.032, 0.06), (0.13, 0.055, 0.09)))
    leg, beam = float(rng.uniform(0.018, 0.026)), float(rng.uniform(0.018, 0.026))
    legs = [
        Part(
            shape="box",
            size=(leg / 2, width / 2, (height - beam) / 2),
            position=(side * (length - leg) / 2, 0.0, -beam / 2),
            appearance=surface,
        )
        for side in (-1, 1)
    ]
    top = Part(
        shape="box",
        size=(length / 2, width / 2, beam / 2),
        position=(0.0, 0.0, (height - beam) / 2),
        appearance=surface,
    )
    return Body(
        size=(length, width, height),
        parts=(*legs, top),
        grasp=Grasp(position=(0.0, 0.0, (height - beam) / 2), yaw=np.pi / 2),
        flat_top=True,
    )


def _bars(rng: np.random.Generator, *, length: tuple[float, float]) -> tuple[Vector, Vector]:
    """Extents of a bar along x and of one across it, of one height."""
    along, across = float(rng.uniform(*length)), float(rng.uniform(0.07, 0.11))
    thick, broad, height = (float(value) for value in rng.uniform((0.022, 0.022, 0.03), (0.036, 0.036, 0.05)))
    return (along, thick, height), (broad, across, height)


def _flat_body(
    surface: Appearance,
    length: float,
    width: float,
    height: float,
    bars: Sequence[tuple[Vector, tuple[float, float]]],
) -> Body:
    """Bars of one height lying side by side, to be taken by the first, which runs along x."""
    x, y = bars[0][1]
    return Body(
        size=(length, width, height),
        parts=tuple(
            Part(shape="box", size=(a / 2, b / 2, c / 2), position=(*centre, 0.0), appearance=surface)
            for (a, b, c), centre in bars
        ),
        grasp=Grasp(position=(x, y, grasp_height(height)), yaw=np.pi / 2),
        flat_top=True,
    )


BLOCK_KINDS: dict[str, Generator] = {
    "can": _can,
    "slab": _slab,
    "tee": _tee,
    "ell": _ell,
    "cross": _cross,
    "arch": _arch,
}
"""Further ones, which appear where they are asked for by name."""
