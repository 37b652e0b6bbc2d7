"""Where labels go beside crowded points, so that none covers a point or another label."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import cos, radians, sin

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

TOGETHER = 0.055
"""Points nearer than this cannot be told apart and share a label [inch]."""

FAR = 0.13
"""A label farther from its point than this is tied to it by a line [inch]."""

CHARACTER, LINE = 0.068, 0.13
"""Width of a digit and height of a line at 8 pt [inch]."""

DOT = 0.055
"""Radius that is kept free around each point [inch]."""

RADII = (0.1, 0.15, 0.2, 0.28, 0.38, 0.5, 0.65, 0.85, 1.1)
"""Distances of the edge of a label from its point that are tried [inch]."""

DIRECTIONS = (-45, 135, 45, 225, -22, 158, -68, 112, 22, 202, 68, 248, 0, 180, 90, 270)
"""In which a label may lie [degrees]: first where neither error bars nor the diagonal run."""


@dataclass(frozen=True, kw_only=True)
class Label:
    """A label of one or more points.

    Args:
        text: numbers of the points, runs of them shortened.
        point: that it belongs to, shape [2] [inch].
        place: of its middle, shape [2] [inch].
        half: width and height of its half, shape [2] [inch].
    """

    text: str
    point: FloatArray
    place: FloatArray
    half: FloatArray

    @property
    def edge(self) -> FloatArray:
        """What of its box is nearest to the point, shape [2] [inch]."""
        return np.clip(self.point, self.place - self.half, self.place + self.half)

    @property
    def is_far(self) -> bool:
        """Whether a line has to say which point it belongs to."""
        return float(np.hypot(*(self.edge - self.point))) > FAR


def place_labels(points: FloatArray, size: tuple[float, float], *, numbers: Sequence[int]) -> list[Label]:
    """Find a place for the number of every point.

    Args:
        points: shape [N, 2] [inch].
        size: width and height of the panel, which begins at (0, 0) [inch].
        numbers: of the points, ascending.

    Returns:
        Labels whose boxes lie apart from each other, from the points and within the panel; where there is no room
        left, a label lies on its point.
    """
    taken = [(point - DOT, point + DOT) for point in points]
    labels = []
    for members in _together(points):
        text = shortened([numbers[member] for member in members])
        middle = points[members].mean(axis=0)
        half = np.array([CHARACTER * len(text), LINE]) / 2
        free = (place for place in _candidates(middle, half) if _is_free(place - half, place + half, taken, size))
        place = next(free, middle)
        taken.append((place - half, place + half))
        labels.append(Label(text=text, point=middle, place=place, half=half))
    return labels


def shortened(numbers: Sequence[int]) -> str:
    """Ascending numbers as text; three and more in a row become a range."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    parts = [f"{run[0]}–{run[-1]}" if len(run) > 2 else ", ".join(map(str, run)) for run in runs]
    return ", ".join(parts)


def _together(points: FloatArray) -> list[list[int]]:
    """Indices of points that are too near to the first of their group to be told apart."""
    groups: list[list[int]] = []
    for number, point in enumerate(points):
        near = (group for group in groups if np.hypot(*(points[group[0]] - point)) < TOGETHER)
        group = next(near, None)
        if group is None:
            groups.append([number])
        else:
            group.append(number)
    return groups


def _candidates(point: FloatArray, half: FloatArray) -> Iterator[FloatArray]:
    for radius in RADII:
        for direction in DIRECTIONS:
            towards = np.array([cos(radians(direction)), sin(radians(direction))])
            yield point + towards * (radius + half)


def _is_free(
    low: FloatArray, high: FloatArray, taken: Sequence[tuple[FloatArray, FloatArray]], size: tuple[float, float]
) -> bool:
    if (low < 0).any() or (high > size).any():
        return False
    return not any((low < other_high).all() and (high > other_low).all() for other_low, other_high in taken)
