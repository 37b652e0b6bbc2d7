"""Weights averaged over the steps: what is validated and exported."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import torch


class AveragedWeights:
    """Exponential moving average of the tensors of a network.

    After step n (counted from 1), with the d of `decay_after`: ``average = d * average + (1 - d) * value``.
    Whole numbers (counters) are copied.

    Args:
        values: gives those of the network itself, by name. It is asked each time, since a network may put a new tensor
            in the place of a buffer.
        decay: of a long run.
        power: see `decay_after`.
    """

    def __init__(
        self, values: Callable[[], Mapping[str, torch.Tensor]], *, decay: float, power: float | None = None
    ) -> None:
        self._decay, self._power = decay, power
        self._values = values
        self._averages = {name: _averageable(value).clone() for name, value in values().items()}

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take in the values after `step` steps."""
        decay = decay_after(step, limit=self._decay, power=self._power)
        current = self._values()
        averages, values = [], []
        for name, average in self._averages.items():
            if average.is_floating_point():
                averages.append(average)
                values.append(_averageable(current[name]))
            else:
                average.copy_(current[name])
        torch._foreach_lerp_(averages, values, 1 - decay)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Within the block the network has the averaged values."""
        own = {name: value.detach().clone() for name, value in self._values().items()}
        _copy(self._averages, self._values())
        try:
            yield
        finally:
            _copy(own, self._values())

    @property
    def tensors(self) -> dict[str, torch.Tensor]:
        """The averages by name; writing to them changes them."""
        return self._averages


def decay_after(step: int, *, limit: float, power: float | None = None) -> float:
    """How much of an average stays at step n, counted from 1: little at first, so that a short run does not keep what
    it started from.

    Args:
        step: n.
        limit: of a long run.
        power: ``1 - n^-power``, the rule of diffusers; ``(1 + n) / (10 + n)`` without.
    """
    begun = (1 + step) / (10 + step) if power is None else 1 - float(step) ** -power
    return min(limit, begun)


def _averageable(value: torch.Tensor) -> torch.Tensor:
    """Averages of half-precision values would stand still in half precision."""
    value = value.detach()
    return value.float() if value.is_floating_point() and value.dtype != torch.float64 else value


@torch.no_grad()
def _copy(source: Mapping[str, torch.Tensor], target: Mapping[str, torch.Tensor]) -> None:
    for name, value in source.items():
        target[name].copy_(value)
