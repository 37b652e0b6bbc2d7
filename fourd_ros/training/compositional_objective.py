"""What compositional objects are trained for: a straight flow, whose noise may differ from item to item.

An item is an object at a frame. Items come in groups: the objects of a scene, the frames of an object, or one alone.
Rules: COM4D (arXiv 2512.05272), sections 6, 9 and 15 of the specification this was written from.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from fourd_ros.compositional.flow import TRAIN_STEPS, noised, training_sigmas
from fourd_ros.compositional.transformer import CompositionalTransformer

HISTORY = 0.5
"""How often an item is history, where any may be."""


@dataclass(frozen=True, kw_only=True)
class NoiseLevels:
    """Of N items.

    Args:
        sigmas: share of noise, shape [N].
        timesteps: what the network is told, shape [N].
    """

    sigmas: Tensor
    timesteps: Tensor


def noise_levels(share: Tensor, *, history: Tensor, shift: float = 1.0) -> NoiseLevels:
    """Noise of items; history has the least of the table.

    Args:
        share: of the table that lies before each item's place, 0 (most noise) to below 1, shape [N].
        history: shape [N], bool.
        shift: of the flow.
    """
    table = training_sigmas(shift).to(share.device)
    place = (share * TRAIN_STEPS).long().clamp(max=TRAIN_STEPS - 1)
    sigmas = table[torch.where(history, TRAIN_STEPS - 1, place)]
    return NoiseLevels(sigmas=sigmas, timesteps=sigmas * TRAIN_STEPS)


def draw_shares(sizes: Sequence[int], *, forcing: bool) -> Tensor:
    """The sigmoid of normal draws, one for each item with diffusion forcing, else one for each group, shape [N]."""
    if forcing:
        return torch.sigmoid(torch.randn(sum(sizes)))
    return torch.sigmoid(torch.randn(len(sizes))).repeat_interleave(torch.tensor(sizes))


def draw_history(sizes: Sequence[int], *, forcing: bool) -> Tensor:
    """Which items are history, shape [N], bool; of each group at least one is not, the last one if need be."""
    history = (torch.rand(sum(sizes)) < HISTORY) & forcing
    first = 0
    for size in sizes:
        if history[first : first + size].all():
            history[first + size - 1] = False
        first += size
    return history


def forget(tokens: Tensor, *, whole: float, elements: float) -> Tensor:
    """Image tokens of which some are zero, so that the network learns to do without.

    Args:
        tokens: of items, shape [N, K, E].
        whole: how often an item loses all.
        elements: how often a single number is lost; the others stay as they are.
    """
    device = tokens.device
    kept = torch.rand(len(tokens), 1, 1, device=device) >= whole
    if elements > 0:
        kept = kept & (torch.rand(tokens.shape, device=device) >= elements)
    return tokens * kept


def nearest_noise(clean: Tensor, noise: Tensor) -> Tensor:
    """Noise with its tokens in the order in which they lie nearest to the clean ones in all.

    Tokens of a shape have no order, so this is as good a draw as any; the ways from noise to data are shorter, and the
    network need not learn which noise becomes which token.

    Args:
        clean: latents of items, shape [N, T, C].
        noise: normal draws, the same shape.

    Source: Klein, Kraemer, Noe 2023, *Equivariant flow matching*.
    """
    likeness = (noise @ clean.mT).float().cpu().numpy()
    ordered = torch.empty_like(noise)
    for item, table in enumerate(likeness):
        drawn, place = linear_sum_assignment(table, maximize=True)
        ordered[item, place] = noise[item, drawn]
    return ordered


def filled_columns(points: Tensor, shown: Tensor, *, pictures: int, side: int) -> Tensor:
    """Which cells of the cube hold surface, column by column behind the patches of pictures.

    Pictures look along z and about fill the cube, so a patch shows roughly one column; the perspective is left out.

    Args:
        points: of items in the cube, shape [N, P, 3].
        shown: which picture shows each item, shape [N].
        pictures: their number M.
        side: patches along a side of a picture, and cells along one of the cube.

    Returns:
        1 or 0 by picture, patch (row by row from the top left) and cell along z, shape [M, side * side, side].
    """
    cells = ((points + 1) / 2 * side).long().clamp(0, side - 1)
    filled = points.new_zeros(pictures, side, side, side)
    filled[shown[:, None], side - 1 - cells[..., 1], cells[..., 0], cells[..., 2]] = 1
    return filled.flatten(1, 2)


def flow_errors(velocity: Tensor, clean: Tensor, noise: Tensor) -> Tensor:
    """Mean squared error of each item against the way from noise to data, shape [N] of [N, T, C]."""
    return (velocity.float() - (clean - noise).float()).square().flatten(1).mean(dim=1)


def mean_of_targets(errors: Tensor, history: Tensor) -> Tensor:
    """Mean error of the items [N] that are no history, a number."""
    return errors[~history].mean()


@dataclass(frozen=True, kw_only=True)
class FlowStep:
    """One look at noisy items.

    Args:
        noisy: latents that the network saw, shape [N, T, C].
        velocity: what it said, shape [N, T, C].
        errors: of items, shape [N].
        loss: of those that are no history, a number.
    """

    noisy: Tensor
    velocity: Tensor
    errors: Tensor
    loss: Tensor


def flow_step(
    transformer: CompositionalTransformer,
    clean: Tensor,
    noise: Tensor,
    tokens: Tensor,
    levels: NoiseLevels,
    history: Tensor,
    *,
    kind: str,
    sizes: Sequence[int],
) -> FlowStep:
    """The loss of a batch.

    Args:
        transformer: that is trained.
        clean: latents of items, shape [N, T, C].
        noise: normal draws, the same shape.
        tokens: of images, shape [N, K, E].
        levels: of noise.
        history: which items are not learned from, shape [N].
        kind: ``scene`` (groups are objects), ``moving`` (groups are frames) or ``single`` (every item alone).
        sizes: of the groups, which add up to N.
    """
    alone = [1] * len(clean)
    noisy = noised(clean, noise, levels.sigmas)
    velocity = transformer(
        noisy,
        levels.timesteps,
        tokens,
        num_parts=sizes if kind == "scene" else alone,
        num_frames=sizes if kind == "moving" else alone,
    )
    errors = flow_errors(velocity, clean, noise)
    return FlowStep(noisy=noisy, velocity=velocity, errors=errors, loss=mean_of_targets(errors, history))
