"""NumPy on the CPU or torch on any device, behind the few names that both share."""

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = Any
"""An array of the chosen library, float64."""


class Arrays:
    """The array library that the solver computes with.

    Args:
        device: ``cpu`` for NumPy; everything else names a device of torch, such as ``cuda`` or
            ``torch:cpu`` for torch on the CPU.
    """

    def __init__(self, device: str = "cpu") -> None:
        self.xp: Any = np
        self._device = ""
        if device != "cpu":
            import torch

            self.xp, self._device = torch, device.removeprefix("torch:")

    def of(self, values: NDArray[np.generic]) -> Array:
        """`values` as a float64 array of this library, a copy."""
        if self.xp is np:
            return np.array(values, np.float64)
        return self.xp.as_tensor(np.array(values, np.float64), device=self._device)

    def zeros(self, *shape: int) -> Array:
        """Float64 zeros."""
        return self.of(np.zeros(shape))

    def indices(self, values: NDArray[np.int64]) -> Array:
        """`values` as something that this library's arrays are indexed with."""
        return values if self.xp is np else self.xp.as_tensor(values, device=self._device)

    def back(self, array: Array) -> NDArray[np.float64]:
        """`array` as a NumPy array."""
        return np.asarray(array if self.xp is np else array.cpu().numpy(), np.float64)


@cache
def blas() -> Any:
    """What sets the threads of the libraries below NumPy and SciPy; finding them takes a while.

    The products of a bundle are small: a second thread gains little on an idle machine, and on a busy one each waits
    for the other.
    """
    import scipy.linalg  # noqa: F401 - it brings a library of its own
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()
