"""Along the flow from noise to video: UniPC over shifted times, and the guidance that the original's sampler has."""

from collections.abc import Callable
from typing import Any

import numpy as np
from diffusers import UniPCMultistepScheduler
from torch import Tensor

from fourd_ros.errors import InvalidParameter

Velocity = Callable[[Tensor, Tensor], Tensor]
"""Noisy latents and time [B] -> velocity."""


class Flow:
    """One way from noise to video.

    Args:
        scheduler: whose configuration is taken; it is not changed.
        steps: of the way.

    Raises:
        InvalidParameter: no step.

    Source: Zhao et al. 2023, *UniPC*; times are shifted as in Esser et al. 2024, *Scaling Rectified Flow Transformers*.
    """

    def __init__(self, scheduler: UniPCMultistepScheduler, *, steps: int) -> None:
        if steps < 1:
            raise InvalidParameter(f"{steps} steps; at least one is needed")
        self._scheduler: Any = UniPCMultistepScheduler.from_config(scheduler.config)
        # The table of set_timesteps(steps) itself is another one since diffusers 0.35.
        times = self._scheduler.config.num_train_timesteps
        unshifted = (1 - np.linspace(1, 1 / times, steps + 1))[::-1][:-1].copy()
        self._scheduler.set_timesteps(sigmas=unshifted)

    @property
    def timesteps(self) -> Tensor:
        """0..1000, falling, int64, shape [steps]."""
        times: Tensor = self._scheduler.timesteps
        return times

    @property
    def sigmas(self) -> Tensor:
        """Share of noise at every step and at the end, float32, shape [steps + 1]."""
        sigmas: Tensor = self._scheduler.sigmas
        return sigmas

    def step(self, velocity: Tensor, timestep: Tensor, latents: Tensor) -> Tensor:
        """The latents after one step, float32; steps have to come in their order."""
        moved: Tensor = self._scheduler.step(velocity, timestep, latents, return_dict=False)[0]
        return moved

    def end(self, velocity: Tensor, number: int, latents: Tensor) -> Tensor:
        """Where the flow would end from step `number` on if it went straight on."""
        return latents - self.sigmas[number].to(latents.device) * velocity.float()


def guided(once: Tensor, twice: Tensor, guidance: float) -> Tensor:
    """The velocity of a guided step.

    The original computes it from the passes that saw the robot once and twice, so it pushes away from an exaggerated
    robot.

    Args:
        once: velocity with the robot's features added once.
        twice: velocity with them added twice.
        guidance: 1 gives `once`.
    """
    return twice + guidance * (once - twice)
