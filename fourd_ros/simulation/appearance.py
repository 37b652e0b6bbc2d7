"""Colours and surface patterns of things in the scene."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

Colour = tuple[float, float, float]
Pattern = Literal["plain", "checker", "gradient", "dots"]

PATTERNS: tuple[Pattern, ...] = ("plain", "checker", "gradient", "dots")

PALETTE: dict[str, Colour] = {
    "red": (0.80, 0.12, 0.12),
    "orange": (0.92, 0.48, 0.08),
    "yellow": (0.92, 0.80, 0.12),
    "green": (0.14, 0.58, 0.20),
    "cyan": (0.10, 0.68, 0.72),
    "blue": (0.12, 0.26, 0.78),
    "purple": (0.48, 0.18, 0.66),
    "pink": (0.92, 0.46, 0.62),
    "brown": (0.42, 0.26, 0.13),
    "white": (0.90, 0.90, 0.88),
    "grey": (0.46, 0.47, 0.49),
    "black": (0.08, 0.08, 0.09),
}


@dataclass(frozen=True, kw_only=True)
class Appearance:
    """How a surface looks.

    Args:
        colour: main colour, RGB in 0..1.
        accent: second colour of the pattern.
        pattern: what is drawn on it.
        scale: repetitions of the pattern per metre.
    """

    colour: Colour
    accent: Colour = (1.0, 1.0, 1.0)
    pattern: Pattern = "plain"
    scale: float = 20.0


def vary(colour: Colour, rng: np.random.Generator, *, spread: float = 0.06) -> Colour:
    """A neighbour of `colour`: each channel moves by a normal step of `spread`."""
    red, green, blue = np.clip(np.asarray(colour) + rng.normal(0.0, spread, 3), 0.02, 0.98)
    return float(red), float(green), float(blue)


def sample_surface(rng: np.random.Generator) -> Appearance:
    """Any colour with any pattern, for tables, floors and walls."""
    red, green, blue = rng.uniform(0.15, 0.85, 3)
    colour = (float(red), float(green), float(blue))
    return Appearance(
        colour=colour,
        accent=vary(colour, rng, spread=0.12),
        pattern=PATTERNS[rng.integers(len(PATTERNS))],
        scale=float(rng.uniform(1.5, 6.0)),
    )


def sample_coloured(rng: np.random.Generator, *, patterned: float = 0.4) -> tuple[str, Appearance]:
    """A palette colour by name and a surface of it; with probability `patterned` it bears a pattern."""
    name = str(rng.choice(list(PALETTE)))
    colour = vary(PALETTE[name], rng)
    pattern: Pattern = PATTERNS[rng.integers(1, len(PATTERNS))] if rng.random() < patterned else "plain"
    accent = tuple(0.65 * channel + 0.35 * (1.0 if sum(colour) < 1.5 else 0.0) for channel in colour)
    return name, Appearance(colour=colour, accent=accent, pattern=pattern, scale=float(rng.uniform(15, 40)))  # type: ignore[arg-type]
