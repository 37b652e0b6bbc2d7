"""What a push would do by the laws of friction alone, before anything is learned; torch functions of R things.

A thing that is met goes along with what meets it. How far it slides and how far it turns follows from the limit surface
of a sliding body, taken as an ellipsoid (Goyal, Ruina and Papadopoulos 1991; Lynch and Mason 1996): a force through the
middle moves it straight on, one beside the middle turns it as well.
"""

from typing import NamedTuple

import torch
from torch import Tensor

FINGER = (0.0155, 0.019, 0.054)
"""Of a finger of the Panda in the grasp frame: across the gap, along it, from its tip upwards [m]."""

HAND, HAND_RISE = (0.2, 0.04, 0.09), 0.05
"""Of its hand in the grasp frame, and how high that begins over the tips [m]."""

MARGIN = 0.002
"""A point this near to a finger is touched: points of one view lie some millimetres apart [m]."""

SPACING = 0.008
"""Things this near to each other touch, as far as a few points of each can tell [m]."""

SOLIDS = 3
"""Right finger, left finger, hand."""

_LARGEST_TURN = 1.0
_LEAST = 1e-6  # exporters to ONNX take what is much smaller for zero


class Push(NamedTuple):
    """A motion along the support, in the world's axes.

    Args:
        move: of the centre [m], shape [R, 3].
        turn: about it [rad], shape [R, 3].
    """

    move: Tensor
    turn: Tensor


def meetings(local: Tensor, gaps: Tensor) -> tuple[Tensor, Tensor]:
    """Where fingers and hand meet points that stand still.

    Args:
        local: points in the grasp frame at the begin and at the end of a step [m], shape [R, N, 2, 3].
        gaps: between the fingers then [m], shape [R, 2].

    Returns:
        Distance of every point from every solid at both times, negative inside [m], shape [R, N, 2, SOLIDS], and which
        share of the step is left when the solid meets the point, 0 where it does not or goes away from it, shape
        [R, N, SOLIDS].
    """
    placed = _beside_solids(local, gaps)
    half = local.new_tensor([FINGER, FINGER, HAND]) / 2
    beyond = placed.abs() - half
    outside = (beyond.clamp(min=0).square().sum(dim=-1) + 1e-12).sqrt()
    distance = outside + beyond.amax(dim=-1).clamp(max=0)
    comes = distance[:, :, 1] < distance[:, :, 0]
    return distance, _share_left(placed[:, :, 0], placed[:, :, 1], half + MARGIN) * comes


def pushed(
    offsets: Tensor, weight: Tensor, local: Tensor, shares: Tensor, step: Tensor, closing: Tensor, axes: Tensor
) -> tuple[Tensor, Tensor]:
    """Where the gripper pushes a thing, and how far that place goes along.

    Args:
        offsets: of its points from its centre, in the world's axes [m], shape [R, N, 3].
        weight: of every point, shape [R, N].
        local: the points in the grasp frame at the begin of the step [m], shape [R, N, 3].
        shares: of `meetings`, shape [R, N, SOLIDS].
        step: motion of the grasp frame in the step, in itself, shape [R, 4, 4].
        closing: of each finger in the step [m], shape [R].
        axes: of the grasp frame in the world, shape [R, 3, 3].

    Returns:
        The place as an offset from the centre and its way in the world's axes [m], each of shape [R, 3]; zeros where
        nothing is met.
    """
    force = shares.square() * weight[..., None]
    total = force.sum(dim=(1, 2)).clamp(min=1e-6)[:, None]
    gripper = local @ step[:, :3, :3].transpose(-1, -2) + step[:, None, :3, 3] - local
    strong = force * shares
    way = (strong.sum(dim=2, keepdim=True) * gripper).sum(dim=1)
    fingers = strong.sum(dim=1)
    way = way + torch.stack([(fingers[:, 1] - fingers[:, 0]) * closing, *2 * [torch.zeros_like(closing)]], dim=-1)
    place = (force.sum(dim=2, keepdim=True) * offsets).sum(dim=1) / total
    return place, (axes @ (way / total)[..., None])[..., 0]


def nudged(offsets: Tensor, weight: Tensor, gap: Tensor, motion: Tensor) -> tuple[Tensor, Tensor]:
    """The same where other things push: they came from where they were a step ago, and may have gone too far.

    Args:
        offsets: see `pushed`.
        weight: see `pushed`.
        gap: way from every point to the nearest point of another thing, in the world [m], shape [R, N, 3].
        motion: of that thing in the last step [m], shape [R, N, 3].

    Returns:
        As `pushed`.
    """
    before = gap - motion
    far = before.norm(dim=-1).clamp(min=1e-4)
    towards = -before / far[..., None]
    way = ((motion * towards).sum(dim=-1) - (far - SPACING).clamp(min=0)).clamp(min=0)
    force = way * weight
    total = force.sum(dim=1).clamp(min=1e-6)[:, None]
    place = (force[..., None] * offsets).sum(dim=1) / total
    return place, ((force * way)[..., None] * towards).sum(dim=1) / total


def slide(offsets: Tensor, weight: Tensor, place: Tensor, way: Tensor, stiffness: Tensor) -> Push:
    """How a thing slides and turns on its support when one place of it goes a short way.

    Args:
        offsets: see `pushed`.
        weight: see `pushed`.
        place: where it is pushed, as an offset from its centre [m], shape [R, 3].
        way: of that place; what is vertical of it does not count [m], shape [R, 3].
        stiffness: squared ratio of the greatest frictional moment to the greatest frictional force, in units of the
            points' mean squared distance from the centre.
    """
    squared = (offsets[..., :2].square().sum(dim=-1) * weight).sum(dim=1) / weight.sum(dim=1).clamp(min=1e-3)
    ratio = (stiffness * squared + 1e-5)[:, None]
    arm, go = place[:, :2], way[:, :2]
    length = arm.square().sum(dim=-1, keepdim=True)
    along = (go * arm).sum(dim=-1, keepdim=True) / (length + _LEAST) * arm
    move = along + (go - along) / (1 + length / ratio)
    turn = (arm[:, :1] * move[:, 1:] - arm[:, 1:] * move[:, :1]) / ratio
    zero = torch.zeros_like(turn)
    return Push(
        move=torch.cat([move, zero], dim=-1),
        turn=torch.cat([zero, zero, turn.clamp(-_LARGEST_TURN, _LARGEST_TURN)], dim=-1),
    )


def _beside_solids(local: Tensor, gaps: Tensor) -> Tensor:
    """Points in frames at the middles of the solids, shape [R, N, 2, SOLIDS, 3]; the left finger's is mirrored."""
    x, y, z = local.unbind(dim=-1)
    out = gaps[:, None] / 2 + FINGER[0] / 2
    tip = z + FINGER[2] / 2
    solids = ((x - out, y, tip), (-x - out, y, tip), (x, y, z + HAND_RISE + HAND[2] / 2))
    return torch.stack([torch.stack(place, dim=-1) for place in solids], dim=3)


def _share_left(start: Tensor, end: Tensor, half: Tensor) -> Tensor:
    """Of a step in which points go straight from `start` to `end` [*, 3], when they enter a box; 0 if they do not.

    The entry is the last of the entries between the three pairs of faces.
    """
    way = end - start
    way = torch.where(way.abs() < 1e-6, torch.full_like(way, 1e-6), way)
    one, other = (-half - start) / way, (half - start) / way
    enter, leave = torch.minimum(one, other).amax(dim=-1), torch.maximum(one, other).amin(dim=-1)
    met = (enter < leave) & (leave > 0) & (enter < 1)
    return torch.where(met, 1 - enter.clamp(0, 1), torch.zeros_like(enter))
