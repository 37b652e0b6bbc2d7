"""What the dynamics network is told of things, what it keeps of them from step to step, and what it answers."""

from typing import NamedTuple

from torch import Tensor


class Scene(NamedTuple):
    """What stays the same over the steps.

    Args:
        points: of every thing at the start, relative to its centroid, in the world's axes [m], shape [B, K, N, 3].
        weight: of every point, 0 (stands still) to 1 (takes part in the motion), shape [B, K, N].
        height: of every centroid over its support at the start [m], shape [B, K].
        origin: centroids at the start, in the world [m], shape [B, K, 3].
        present: 1 for a thing, 0 for padding, shape [B, K].
        held: 1 for a thing that was between the fingers at the start, shape [B, K].
        eye: where it was seen from, in the world [m], shape [B, 3].
    """

    points: Tensor
    weight: Tensor
    height: Tensor
    origin: Tensor
    present: Tensor
    held: Tensor
    eye: Tensor


class State(NamedTuple):
    """Of all things of a batch between two steps.

    Args:
        rotation: of every thing since the start, about `centre`, shape [B, K, 3, 3].
        centre: where its centroid is now, in the world [m], shape [B, K, 3].
        twist: motion in the last step: metres, radians in the world's axes, shape [B, K, 6].
        memory: shape [B, K, M].
        sigma: standard deviation of each coordinate of its points [m], shape [B, K].
    """

    rotation: Tensor
    centre: Tensor
    twist: Tensor
    memory: Tensor
    sigma: Tensor


class Look(NamedTuple):
    """What has to be known of other things at the begin of a step.

    Args:
        awake: whether anything may happen to a thing, shape [B, K].
        gap: way from every point to the nearest point of another thing, in the world [m], shape [B, K, N, 3].
        motion: of that thing in the last step [m], shape [B, K, N, 3].
    """

    awake: Tensor
    gap: Tensor
    motion: Tensor


class Awake(NamedTuple):
    """R things that something may happen to; see `Scene`, `State` and `Look` for what they are given by.

    Args:
        points: shape [R, N, 3].
        weight: shape [R, N].
        height: shape [R].
        origin: shape [R, 3].
        held: shape [R].
        eye: shape [R, 3].
        rotation: shape [R, 3, 3].
        centre: shape [R, 3].
        twist: shape [R, 6].
        memory: shape [R, M].
        gap: shape [R, N, 3].
        motion: shape [R, N, 3].
        frames: ``T_world_grasp`` at the begin, middle and end of the step, shape [R, 3, 4, 4].
        gaps: between the fingers then [m], shape [R, 3].
    """

    points: Tensor
    weight: Tensor
    height: Tensor
    origin: Tensor
    held: Tensor
    eye: Tensor
    rotation: Tensor
    centre: Tensor
    twist: Tensor
    memory: Tensor
    gap: Tensor
    motion: Tensor
    frames: Tensor
    gaps: Tensor


class Motion(NamedTuple):
    """Of all things of a batch after each of S steps.

    Args:
        rotation: since the start, about the centroid, shape [B, S, K, 3, 3].
        centre: where the centroid is [m], shape [B, S, K, 3].
        sigma: standard deviation of the places of the points [m], shape [B, S, K].
        origin: where the centroid was [m], shape [B, K, 3].
        members: logits of the points that take part, shape [B, K, N].
    """

    rotation: Tensor
    centre: Tensor
    sigma: Tensor
    origin: Tensor
    members: Tensor


def settle(points: Tensor, weight: Tensor, present: Tensor, held: Tensor, support: Tensor, eye: Tensor) -> Scene:
    """The scene of things whose points (in the world, [B, K, N, 3]) take part with a weight [B, K, N]."""
    total = weight.sum(dim=2, keepdim=True).clamp(min=1e-3)
    origin = (points * weight[..., None]).sum(dim=2) / total
    return Scene(
        points=points - origin[:, :, None],
        weight=weight,
        height=origin[..., 2] - support,
        origin=origin,
        present=present,
        held=held,
        eye=eye,
    )
