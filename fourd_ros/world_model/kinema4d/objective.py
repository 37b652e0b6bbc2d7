"""What training minimises: the squared error of the velocity at one time of the flow."""

from typing import NamedTuple

import torch
from torch import Tensor

from fourd_ros.world_model.kinema4d.conditions import mark_unsure
from fourd_ros.world_model.kinema4d.transformer import Kinema4DTransformer

TIMES = 1000
"""Times of the flow that training draws from; their shift is 1, unlike that of sampling."""

UNSURE_SHARE = 0.1
"""Of the robot's cells, which training makes uncertain."""


class FlowTime(NamedTuple):
    """Times of the flow, shape [B] each.

    Args:
        sigma: share of noise, float32.
        timestep: 1000 times that, as the network is told.
    """

    sigma: Tensor
    timestep: Tensor


def flow_time(index: Tensor) -> FlowTime:
    """Of indices 0 .. 999, from all noise to hardly any; float32."""
    sigma = ((TIMES - index).double() / TIMES).float()
    return FlowTime(sigma, sigma * TIMES)


class Draw(NamedTuple):
    """What is drawn for one sample, in this order.

    Args:
        order: permutation of the robot's cells.
        index: of the time of the flow, shape [1].
        noise: shape of the latents.
    """

    order: Tensor
    index: Tensor
    noise: Tensor


def draw(mask: Tensor, latents: Tensor, generator: torch.Generator | None = None) -> Draw:
    """Draw what a sample needs.

    Args:
        mask: of the robot in latents, shape [1, 1, F, h, w].
        latents: shape [1, 16, F, h, 2w].
        generator: of all of it.
    """
    order = torch.randperm(int((mask == 1).sum()), generator=generator)
    index = torch.randint(0, TIMES, (len(latents),), generator=generator)
    return Draw(order, index, torch.randn(latents.shape, generator=generator))


def unsure_mask(mask: Tensor, drawn: Draw) -> Tensor:
    """The robot's mask [1, 1, F, h, w] as training shows it."""
    return mark_unsure(mask, drawn.order, share=UNSURE_SHARE)


class Prediction(NamedTuple):
    """What a training step computes.

    Args:
        noisy: latents at the time of the flow, shape [B, 16, F, h, 2w].
        velocity: predicted, the same shape.
        loss: mean squared error of it, shape [B], float32.
    """

    noisy: Tensor
    velocity: Tensor
    loss: Tensor


def velocity_loss(
    network: Kinema4DTransformer,
    *,
    latents: Tensor,
    condition: Tensor,
    robot: Tensor,
    image: Tensor,
    noise: Tensor,
    index: Tensor,
) -> Prediction:
    """Loss of a batch; the robot is shown once.

    Args:
        network: with gradients.
        latents: colour | geometry of the clip, shape [B, 16, F, h, 2w].
        condition: of the first frame, shape [B, 20, F, h, 2w].
        robot: mask and latents, shape [B, 20, F, h, 2w or w].
        image: tokens of the first frame, shape [B, n, width].
        noise: shape of `latents`.
        index: of the time of the flow, shape [B].

    Source: Lipman et al. 2023, *Flow Matching for Generative Modeling*.
    """
    times = flow_time(index)
    share = times.sigma.view(-1, *(1,) * (latents.ndim - 1))
    noisy = (1 - share) * latents + share * noise
    robot, condition = robot.to(network.dtype), condition.to(network.dtype)
    shown = network.show_robot(condition, robot, times=1)
    velocity = network(noisy, shown, times.timestep, network.understand(robot, image))
    error = velocity.float() - (noise - latents).float()
    return Prediction(noisy, velocity, error.square().flatten(1).mean(dim=1))
