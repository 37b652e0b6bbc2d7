"""The straight way from noise to latents: how much noise there is at every step, and the steps."""

from dataclasses import dataclass

import torch
from torch import Tensor

from fourd_ros.errors import InvalidModel, InvalidParameter

TRAIN_STEPS = 1000
"""Times run from 0 (clean) to this."""

CLEAN_TIMESTEP = 1.0
"""Time of frames that training showed as history: the least noise in the table."""


@dataclass(frozen=True, kw_only=True)
class FlowSchedule:
    """Rectified flow, whose velocity leads from noise to data.

    Args:
        steps: of the way.
        shift: more than 1 spends more of the steps where there is much noise.

    Raises:
        InvalidParameter: no step.
        InvalidModel: a shift that cannot be.

    Source: Liu et al. 2023, *Flow Straight and Fast*; the shift is that of Esser et al. 2024, *Scaling Rectified Flow
    Transformers*.
    """

    steps: int
    shift: float = 1.0

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise InvalidParameter(f"{self.steps} steps; at least one is needed")
        if not self.shift > 0:
            raise InvalidModel(f"the flow's shift is {self.shift}; needed is a number above 0")

    @property
    def sigmas(self) -> Tensor:
        """Share of noise before every step and at the end, falling from 1 to 0, float32, shape [steps + 1]."""
        even = 1 - torch.arange(self.steps, dtype=torch.float64) / self.steps
        return torch.cat([_shifted(even, self.shift), torch.zeros(1, dtype=torch.float64)]).float()

    @property
    def timesteps(self) -> Tensor:
        """Times that the network is told, falling from 1000, float32, shape [steps]."""
        return self.sigmas[:-1] * TRAIN_STEPS

    def step(self, latents: Tensor, velocity: Tensor, number: int) -> Tensor:
        """The latents after step `number` (from 0), in the type of the velocity."""
        sigmas = self.sigmas
        return (latents.float() + (sigmas[number] - sigmas[number + 1]).to(latents.device) * velocity).to(
            velocity.dtype
        )


def training_sigmas(shift: float = 1.0) -> Tensor:
    """Share of noise of the times that training draws from, most noise first, float32, shape [1000].

    The network is told `TRAIN_STEPS` times these numbers.
    """
    return _shifted(torch.arange(TRAIN_STEPS, 0, -1, dtype=torch.float32) / TRAIN_STEPS, shift)


def noised(clean: Tensor, noise: Tensor, sigmas: Tensor) -> Tensor:
    """Latents on the way; `sigmas` has the leading axes of `clean`, [N] for [N, T, C]."""
    share = sigmas.reshape(sigmas.shape + (1,) * (clean.ndim - sigmas.ndim))
    return (1 - share) * clean + share * noise


def _shifted(sigmas: Tensor, shift: float) -> Tensor:
    return shift * sigmas / (1 + (shift - 1) * sigmas)
