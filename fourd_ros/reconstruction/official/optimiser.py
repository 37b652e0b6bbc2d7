"""First-order descent as DynamicVerse does it: Adam, a rate that halves on plateaus, and an early end."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["EarlyStop", "Rate", "descend"]

RATE_FACTOR, RATE_THRESHOLD, LEAST_RATE = 0.5, 1e-4, 1e-4
LEAST_GAIN = 1e-4


class EarlyStop:
    """Says when a loss has stopped to fall.

    Args:
        patience: number of losses without a gain against the best one after which to stop.
        least_gain: below the best loss that counts.
    """

    def __init__(self, *, patience: int, least_gain: float = LEAST_GAIN) -> None:
        self._patience, self._least_gain = patience, least_gain
        self._best, self._without = float("inf"), 0

    def __call__(self, loss: float) -> bool:
        """Whether to stop after `loss`."""
        if self._best - loss >= self._least_gain:
            self._best, self._without = loss, 0
            return False
        self._without += 1
        return self._without >= self._patience


@dataclass(frozen=True, kw_only=True)
class Rate:
    """A variable and how far Adam moves it in a step.

    Args:
        variable: leaf that requires a gradient.
        rate: in its unit per step.
    """

    variable: Tensor
    rate: float


def descend(
    loss: Callable[[], Tensor],
    rates: Sequence[Rate],
    *,
    epochs: int,
    patience: int,
    rate_patience: int,
    before_step: Callable[[], None] = lambda: None,
) -> list[float]:
    """Minimise `loss` in place with Adam (amsgrad), default moments, no weight decay.

    Rates halve, down to 1e-4, when the loss has not fallen for more than `rate_patience` steps. The test for the early
    end comes before the step.

    Args:
        loss: reads the variables, returns a scalar.
        rates: what to move.
        epochs: most steps.
        patience: steps without a gain of ``LEAST_GAIN`` before it ends.
        rate_patience: of the rates.
        before_step: called when gradients are known; may take those of what must not move.

    Returns:
        The loss before every step, that of the early end included.
    """
    groups = [{"params": [one.variable], "lr": one.rate} for one in rates]
    optimiser = torch.optim.Adam(groups, amsgrad=True)
    plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(
        optimiser, factor=RATE_FACTOR, patience=rate_patience, threshold=RATE_THRESHOLD, min_lr=LEAST_RATE
    )
    stop, losses = EarlyStop(patience=patience), []
    for _ in range(epochs):
        optimiser.zero_grad()
        value = loss()
        losses.append(float(value.detach()))
        if stop(losses[-1]):
            break
        value.backward()  # type: ignore[no-untyped-call]
        before_step()
        optimiser.step()
        plateau.step(losses[-1])
    return losses
