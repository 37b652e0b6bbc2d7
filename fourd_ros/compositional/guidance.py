"""What the stages of sampling have in common: guidance, and what is told about each step."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class FlowStep:
    """One pass of the network.

    Args:
        timestep: of what is noisy, 0..1000.
        latents: that the network was given, shape [M, F, T, C], without rows that nobody sees any more.
        velocities: what it answered, shape [2, M, F, T, C], the first without images; [1, ...] without guidance.
    """

    timestep: float
    latents: Tensor
    velocities: Tensor


OnStep = Callable[[FlowStep], None]
"""Is told after every pass; raises to stop."""


def is_guided(guidance: float) -> bool:
    """Whether a pass without images is needed."""
    return guidance > 1


def guided(velocities: Tensor, guidance: float) -> Tensor:
    """The velocity to follow: away from what is predicted without images.

    Args:
        velocities: as of `FlowStep`.
        guidance: 1 or less follows the one with images alone.

    Source: Ho and Salimans 2022, *Classifier-Free Diffusion Guidance*.
    """
    unseen, seen = velocities[0], velocities[-1]
    return unseen + guidance * (seen - unseen) if len(velocities) == 2 else seen


def ignore(_: FlowStep) -> None:
    """Of nobody who wants to know."""
