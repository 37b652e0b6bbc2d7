"""Weights averaged over the steps: what is validated and exported."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch


class AveragedWeights:
    """Exponential moving average of the tensors of a network.

    After step n (counted from 1), with d = min(decay, (1 + n) / (10 + n)):
    ``average = d * average + (1 - d) * value``, so that a short run does not keep what it started from.
    Whole numbers (counters) are copied.

    Args:
        tensors: by name; those of the network itself, which are read at each update.
        decay: of a long run.
    """

    def __init__(self, tensors: Mapping[str, torch.Tensor], *, decay: float) -> None:
        self._decay = decay
        self._values = dict(tensors)
        self._averages = {name: _averageable(value).clone() for name, value in self._values.items()}

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take in the values after `step` steps."""
        decay = min(self._decay, (1 + step) / (10 + step))
        averages, values = [], []
        for name, average in self._averages.items():
            if average.is_floating_point():
                averages.append(average)
                values.append(_averageable(self._values[name]))
            else:
                average.copy_(self._values[name])
        torch._foreach_lerp_(averages, values, 1 - decay)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Within the block the network has the averaged values."""
        own = {name: value.detach().clone() for name, value in self._values.items()}
        self.put_in_place()
        try:
            yield
        finally:
            _copy(own, self._values)

    def put_in_place(self) -> None:
        """Give the network the averaged values for good."""
        _copy(self._averages, self._values)

    @property
    def tensors(self) -> dict[str, torch.Tensor]:
        """The averages by name; writing to them changes them."""
        return self._averages


def _averageable(value: torch.Tensor) -> torch.Tensor:
    """Averages of half-precision values would stand still in half precision."""
    value = value.detach()
    return value.float() if value.is_floating_point() and value.dtype != torch.float64 else value


@torch.no_grad()
def _copy(source: Mapping[str, torch.Tensor], target: Mapping[str, torch.Tensor]) -> None:
    for name, value in source.items():
        target[name].copy_(value)
