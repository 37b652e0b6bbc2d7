"""Numbers of objects that stay the same from one reconstruction to the next.

What masks name keeps the number of its mask. Objects at rest come from the model in any order and have no mask; here
they are known again by where they stand.
"""

from collections.abc import Collection, Sequence

import numpy as np
from numpy.typing import NDArray

from fourd_ros.compositional.surface_mesh import SurfaceMesh

__all__ = ["ObjectIds"]

NEAR = 0.5
"""An object is known again where its middle moved by less than this part of its size."""


class ObjectIds:
    """Remembers where objects were.

    Args:
        taken: numbers that masks use, which nothing else gets.
    """

    def __init__(self, taken: Collection[int] = ()) -> None:
        self._next = max(taken, default=0) + 1
        self._boxes: dict[int, NDArray[np.float64]] = {}

    def assign(self, meshes: Sequence[SurfaceMesh]) -> list[int | None]:
        """Numbers of objects that stand still in one frame of reference, from call to call.

        Those of earlier calls are given to what stands where they were, each once; something new gets a new number,
        and what is gone keeps its own until it is back.

        Args:
            meshes: of all objects at rest.

        Returns:
            A number for each; None for one without faces.
        """
        from scipy.optimize import linear_sum_assignment

        present = [place for place, mesh in enumerate(meshes) if not mesh.is_empty]
        known = list(self._boxes)
        cost = np.array(
            [[_distance(self._boxes[number], meshes[place].bounds) for number in known] for place in present]
        )
        numbers: list[int | None] = [None] * len(meshes)
        if known and present:
            for row, column in zip(*linear_sum_assignment(np.minimum(cost, NEAR)), strict=True):
                if cost[row, column] < NEAR:
                    numbers[present[row]] = known[column]
        for place in present:
            number = numbers[place]
            if number is None:
                number, self._next = self._next, self._next + 1
                numbers[place] = number
            self._boxes[number] = meshes[place].bounds
        return numbers


def _distance(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    """Of the middles of two boxes [2, 3], in the mean of their sizes."""
    size = float(np.linalg.norm(np.ptp(one, axis=0)) + np.linalg.norm(np.ptp(other, axis=0))) / 2
    return float(np.linalg.norm(one.mean(axis=0) - other.mean(axis=0))) / max(size, 1e-9)
