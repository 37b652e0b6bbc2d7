"""A small recurrent network that moves rigid things as a gripper pushes, grasps and lets go of them.

Everything is expressed in the grasp frame of the moment, so it does not matter where on the table something happens.
The motion of a thing in one step is what it would be if it were carried, gate by gate, plus what the network adds.
Things that nothing comes near to sleep: they stand still, and cost next to nothing.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple, Self

import torch
from torch import Tensor, nn
from torch.nn import functional

from fourd_ros.world_model.compact.dynamics import LEAST_SIGMA

NEAR, FAR = 0.012, 0.1
"""Lengths at which positions are told finely and coarsely [m]."""

MOVE, TURN = 0.01, 0.1
"""Units of the motion that is added in a step [m, rad]."""

EXAMINED = 3
"""Gripper places of a step: at its begin, in the middle, at its end."""

OTHERS = 12
"""The first points of every other thing, with which contact is looked for; a thing has at least as many."""

NEAR_GRIPPER, NEAR_MOVING = 0.16, 0.05
"""A thing wakes up this near to the grasp point, or to a thing that moves [m]."""

STIRRING = (5e-4, 5e-3)
"""A thing that moved or turned less in the last step stands still [m, rad]."""

_POINT_FEATURES = 3 * 2 * EXAMINED + 2 * EXAMINED + 3 + 2 + 6 + 1
_GLOBAL_FEATURES = 6 + EXAMINED + 3 + 3 + 6 + 3 + 1
_MEMBER_FEATURES = 3 * 2 + 2 + 3 + 3
_MEMBER_CONTEXT = 3 * 3 + 2


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


class PointDynamicsNetwork(nn.Module):
    """Motion of things, step after step.

    Args:
        width: features of a point.
        memory: features that a thing remembers.
    """

    def __init__(self, *, width: int = 96, memory: int = 96) -> None:
        super().__init__()
        self.width, self.memory = width, memory
        self.member_point = nn.Sequential(nn.Linear(_MEMBER_FEATURES, 64), nn.SiLU(), nn.Linear(64, 64), nn.SiLU())
        self.member_head = nn.Sequential(nn.Linear(128 + _MEMBER_CONTEXT, 64), nn.SiLU(), nn.Linear(64, 1))
        self.point = nn.Sequential(
            nn.Linear(_POINT_FEATURES, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width)
        )
        self.surroundings = nn.Linear(2 * width + _GLOBAL_FEATURES, memory)
        self.recurrence = nn.GRUCell(memory, memory)
        self.head = nn.Sequential(nn.Linear(2 * memory, width), nn.SiLU(), nn.Linear(width, 11))
        last = self.head[-1]
        assert isinstance(last, nn.Linear)
        with torch.no_grad():
            last.weight.mul_(0.1)
            last.bias.zero_()
            last.bias[6:10] = -3.0
        self.register_buffer("sigma_scale", torch.ones(()))

    sigma_scale: Tensor

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """The network of a ``config.json``."""
        return cls(width=int(config["width"]), memory=int(config["memory"]))

    @property
    def config(self) -> dict[str, Any]:
        """What `from_config` needs."""
        return {"width": self.width, "memory": self.memory}

    def begin(self, scene: Scene) -> State:
        """Everything stands still."""
        batch, things = scene.present.shape
        identity = torch.eye(3, dtype=scene.points.dtype, device=scene.points.device)
        return State(
            rotation=identity.expand(batch, things, 3, 3),
            centre=scene.origin,
            twist=scene.origin.new_zeros(batch, things, 6),
            memory=scene.origin.new_zeros(batch, things, self.memory),
            sigma=scene.origin.new_full((batch, things), LEAST_SIGMA),
        )

    def members(self, points: Tensor, height: Tensor, frame: Tensor, later: Tensor, gap: Tensor) -> Tensor:
        """Which points of things take part in a motion (a drawer's front, not the cabinet), as logits.

        Args:
            points: in the world [m], shape [B, K, N, 3].
            height: of every point over the support [m], shape [B, K, N].
            frame: the grasp frame where it is nearest to the thing, in the world, shape [B, K, 4, 4].
            later: where the grasp point is 0.4, 0.8 and 1.6 s after that, in the world [m], shape [B, K, 3, 3].
            gap: between the fingers at that place and 0.8 s later [m], shape [B, K, 2].

        Returns:
            Shape [B, K, N].
        """
        local = _into(frame, points)
        centre = local.mean(dim=2, keepdim=True)
        features = torch.cat(
            [*_scales(local), *_heights(height), (local - centre) / FAR, centre.expand_as(local) / FAR], dim=-1
        )
        each = self.member_point(features)
        pooled = each.amax(dim=2, keepdim=True)
        moved = _into(frame, later).flatten(2) / FAR
        context = torch.cat([moved, gap / FAR], dim=-1)[:, :, None]
        steps = points.shape[2]
        known = torch.cat([pooled.expand(-1, -1, steps, -1), context.expand(-1, -1, steps, -1)], dim=-1)
        logits: Tensor = self.member_head(torch.cat([each, known], dim=-1))[..., 0]
        return logits

    def advance(self, scene: Scene, state: State, frames: Tensor, gaps: Tensor) -> State:
        """One step.

        Args:
            scene: what stays the same.
            state: at its begin.
            frames: ``T_world_grasp`` at its begin, middle and end, shape [B, 3, 4, 4].
            gaps: between the fingers then [m], shape [B, 3].
        """
        look = self.look(scene, state, frames)
        rows = look.awake.flatten().nonzero()[:, 0]
        candidates = rows // scene.present.shape[1]
        of_things = {**scene._asdict(), **state._asdict(), **look._asdict()}
        of_candidates = {"eye": scene.eye, "frames": frames, "gaps": gaps}
        answer = self.respond(
            Awake(
                *(
                    of_candidates[name][candidates] if name in of_candidates else of_things[name].flatten(0, 1)[rows]
                    for name in Awake._fields
                )
            )
        )
        asleep = state._replace(twist=torch.zeros_like(state.twist))
        return State(
            *(
                old.flatten(0, 1).index_copy(0, rows, new).reshape(old.shape)
                for old, new in zip(asleep, answer, strict=True)
            )
        )

    def look(self, scene: Scene, state: State, frames: Tensor) -> Look:
        """Which things something may happen to, and what is next to them; for the arguments see `advance`."""
        world = scene.points @ state.rotation.transpose(-1, -2) + state.centre[:, :, None]
        gap, motion = _nearest_other(scene, state, world)
        least_move, least_turn = STIRRING
        grasp = frames[:, :, :3, 3].transpose(1, 2)
        squared = (
            (world * world).sum(-1, keepdim=True) + (grasp * grasp).sum(1)[:, None, None] - 2 * world @ grasp[:, None]
        )
        moving = (state.twist[..., :3].norm(dim=-1) > least_move) | (state.twist[..., 3:].norm(dim=-1) > least_turn)
        pushed = ((gap.norm(dim=-1) < NEAR_MOVING) & (motion.norm(dim=-1) > least_move)).any(dim=2)
        near = squared.amin(dim=(2, 3)) < NEAR_GRIPPER**2
        return Look(awake=(scene.present > 0) & (near | moving | pushed), gap=gap, motion=motion)

    def respond(self, awake: Awake) -> State:
        """What becomes of things in one step; the state of R things instead of [B, K]."""
        each = self.point(_point_features(awake))
        weight = awake.weight[..., None]
        mean = (each * weight).sum(dim=1) / weight.sum(dim=1).clamp(min=1e-3)
        highest = (each * weight).amax(dim=1)
        seen = functional.silu(self.surroundings(torch.cat([mean, highest, _thing_features(awake)], dim=-1)))
        memory = self.recurrence(seen, awake.memory)
        out = self.head(torch.cat([memory, seen], dim=-1))
        axes, gates = awake.frames[:, 0, :3, :3], torch.sigmoid(out[:, 6:10])
        carried_move, carried_turn = _carried(awake.frames, awake.centre)
        move = _rotate(axes, gates[:, :3] * carried_move + MOVE * out[:, :3])
        turn = _rotate(axes, gates[:, 3:] * carried_turn + TURN * out[:, 3:6])
        return State(
            rotation=_rotation(turn) @ awake.rotation,
            centre=awake.centre + move,
            twist=torch.cat([move, turn], dim=-1),
            memory=memory,
            sigma=LEAST_SIGMA + self.sigma_scale * MOVE * functional.softplus(out[:, 10] - 1.0),
        )

    def forward(
        self,
        points: Tensor,
        present: Tensor,
        held: Tensor,
        support: Tensor,
        eye: Tensor,
        approach: Tensor,
        later: Tensor,
        approach_gap: Tensor,
        frames: Tensor,
        gaps: Tensor,
    ) -> "Motion":
        """The whole motion, for training.

        Args:
            points: of the things, in the world [m]; those that are missing are repeated, shape [B, K, N, 3].
            present: 1 for a thing, 0 for padding, shape [B, K].
            held: see `Scene`, shape [B, K].
            support: height of the plane below, in the world [m], shape [B, K].
            eye: see `Scene`.
            approach: `frame` of `members`, shape [B, K, 4, 4].
            later: of `members`, shape [B, K, 3, 3].
            approach_gap: `gap` of `members`, shape [B, K, 2].
            frames: ``T_world_grasp`` at the observation and every half step after it, shape [B, 2 S + 1, 4, 4].
            gaps: between the fingers then [m], shape [B, 2 S + 1].
        """
        height = points[..., 2] - support[..., None]
        logits = self.members(points, height, approach, later, approach_gap)
        scene = settle(points, torch.sigmoid(logits).detach(), present, held, support, eye)
        state = self.begin(scene)
        rotations, centres, sigmas = [], [], []
        for begin in range(0, frames.shape[1] - 2, 2):
            state = self.advance(scene, state, frames[:, begin : begin + 3], gaps[:, begin : begin + 3])
            rotations.append(state.rotation)
            centres.append(state.centre)
            sigmas.append(state.sigma)
        return Motion(
            rotation=torch.stack(rotations, dim=1),
            centre=torch.stack(centres, dim=1),
            sigma=torch.stack(sigmas, dim=1),
            origin=scene.origin,
            members=logits,
        )


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


def _point_features(awake: Awake) -> Tensor:
    """Where every point is beside the fingers, the support and other things, shape [R, N, F]."""
    offsets = awake.points @ awake.rotation.transpose(-1, -2)
    world = offsets + awake.centre[:, None]
    local = _into_all(awake.frames, world)
    half = awake.gaps[:, None] / 2
    inside = [side * local[..., ::3] - half for side in (1.0, -1.0)]
    rise = (world[..., 2] - awake.origin[:, 2:] + awake.height[:, None])[..., None]
    axes = awake.frames[:, 0, :3, :3]
    near = torch.cat([local / 2, *inside, rise, awake.gap @ axes / 2], dim=-1) / NEAR
    far = torch.cat([local, rise], dim=-1) / FAR
    rest = [offsets @ axes / FAR, awake.motion @ axes / MOVE, awake.weight[..., None]]
    return torch.cat([torch.tanh(torch.cat([near, far], dim=-1)), *rest], dim=-1)


def _thing_features(awake: Awake) -> Tensor:
    """How the gripper moves, and every thing beside it, shape [R, G]."""
    first = awake.frames[:, 0]
    axes = first[:, :3, :3]
    step = _inverse(first) @ awake.frames[:, 2]
    sight = functional.normalize(awake.eye - awake.centre, dim=-1)
    place = awake.centre - first[:, :3, 3]
    seen = torch.stack([sight, awake.twist[:, :3] / MOVE, awake.twist[:, 3:] / TURN, place], dim=1) @ axes
    return torch.cat(
        [
            step[:, :3, 3] / MOVE,
            _rotation_vector(step[:, :3, :3]) / TURN,
            awake.gaps / FAR,
            axes[:, 2],
            seen[:, :3].flatten(1),
            torch.tanh(seen[:, 3] / (2 * FAR)),
            awake.held[:, None],
        ],
        dim=-1,
    )


def _scales(local: Tensor) -> tuple[Tensor, Tensor]:
    """Positions in the grasp frame, coarse and fine, each [*, 3]."""
    return torch.tanh(local / FAR), torch.tanh(local / (2 * NEAR))


def _heights(rise: Tensor) -> tuple[Tensor, Tensor]:
    return torch.tanh(rise / NEAR)[..., None], torch.tanh(rise / FAR)[..., None]


def _inverse(T: Tensor) -> Tensor:
    """Of rigid transforms [*, 4, 4]; their upper three rows, [*, 3, 4] padded to [*, 4, 4]."""
    rotation = T[..., :3, :3].transpose(-1, -2)
    translation = -(rotation @ T[..., :3, 3:])
    return torch.cat([torch.cat([rotation, translation], dim=-1), T[..., 3:, :]], dim=-2)


def _into(frame: Tensor, points: Tensor) -> Tensor:
    """World points [B, K, N, 3] in frames [B, K or 1, 4, 4]."""
    return (points - frame[..., None, :3, 3]) @ frame[..., :3, :3]


def _into_all(frames: Tensor, points: Tensor) -> Tensor:
    """World points [R, N, 3] in each of M frames [R, M, 4, 4], one after the other, shape [R, N, 3 * M]."""
    axes = frames[..., :3, :3].transpose(1, 2).flatten(2)
    origin = (frames[..., None, :3, 3] @ frames[..., :3, :3]).flatten(1)
    return points @ axes - origin[:, None]


def _rotate(axes: Tensor, vectors: Tensor) -> Tensor:
    """Vectors [R, 3] from axes [R, 3, 3] to the world."""
    return (axes @ vectors[..., None])[..., 0]


def _carried(frames: Tensor, centre: Tensor) -> tuple[Tensor, Tensor]:
    """Motion of centroids [R, 3] and turn that they had in the gripper's hand, in its axes, each [R, 3]."""
    step = _inverse(frames[:, 0]) @ frames[:, 2]
    local = ((centre - frames[:, 0, :3, 3])[:, None] @ frames[:, 0, :3, :3])[:, 0]
    move = (step[:, :3, :3] @ local[..., None])[..., 0] + step[:, :3, 3] - local
    return move, _rotation_vector(step[:, :3, :3])


def _rotation_vector(rotation: Tensor) -> Tensor:
    """Of small rotations [*, 3, 3] (the skew part; exact to the third order), shape [*, 3]."""
    skew = rotation - rotation.transpose(-1, -2)
    return torch.stack([skew[..., 2, 1], skew[..., 0, 2], skew[..., 1, 0]], dim=-1) / 2


def _rotation(vector: Tensor) -> Tensor:
    """Rotation about a vector [*, 3] by its length, shape [*, 3, 3]; source: Rodrigues' formula."""
    angle_squared = (vector * vector).sum(dim=-1, keepdim=True)[..., None] + 1e-12
    angle = angle_squared.sqrt()
    x, y, z = vector.unbind(-1)
    zero = torch.zeros_like(x)
    cross = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], dim=-1).reshape(*vector.shape[:-1], 3, 3)
    identity = torch.eye(3, dtype=vector.dtype, device=vector.device)
    return identity + torch.sin(angle) / angle * cross + (1 - torch.cos(angle)) / angle_squared * (cross @ cross)


def _nearest_other(scene: Scene, state: State, world: Tensor) -> tuple[Tensor, Tensor]:
    """For every point: the way to the nearest point of another thing, and how that thing moved in the last step.

    Far away and nothing where there is no other thing; each of shape [B, K, N, 3].
    """
    batch, things, count, _ = world.shape
    few = world[:, :, :OTHERS].reshape(batch, 1, things * OTHERS, 3)
    squared = (
        (world * world).sum(-1, keepdim=True) + (few * few).sum(-1)[:, :, None] - 2 * world @ few.transpose(-1, -2)
    ).reshape(batch, things, count, things, OTHERS)
    own = torch.eye(things, dtype=world.dtype, device=world.device)[None, :, None, :, None]
    absent = (1 - scene.present)[:, None, None, :, None]
    least, place = (squared + own + absent).flatten(3).min(dim=-1)
    chosen = place.reshape(batch, things * count, 1).expand(batch, things * count, 3)
    target = torch.gather(few[:, 0], 1, chosen).reshape(world.shape)
    moved = state.twist[:, :, None, :3].expand(batch, things, OTHERS, 3).reshape(batch, things * OTHERS, 3)
    motion = torch.gather(moved, 1, chosen).reshape(world.shape)
    near = (least < FAR**2)[..., None]
    return torch.where(near, target - world, torch.full_like(world, FAR)), motion * near
