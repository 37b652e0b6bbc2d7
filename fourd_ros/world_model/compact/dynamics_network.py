"""A small recurrent network that moves rigid things as a gripper pushes, grasps and lets go of them.

Everything is expressed in the grasp frame of the moment, so it does not matter where on the table something happens.
The motion of a thing in one step is what it would be if it were carried, if it were pushed by the gripper or by another
thing (`contact`), and if it went on as before, gate by gate, plus what the network adds.
Things that nothing comes near to sleep: they stand still, and cost next to nothing.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple, Self

import torch
from torch import Tensor, nn
from torch.nn import functional

from fourd_ros.world_model.compact.contact import SOLIDS, Push, meetings, nudged, pushed, slide
from fourd_ros.world_model.compact.dynamics import LEAST_SIGMA
from fourd_ros.world_model.compact.dynamics_state import Awake, Look, Motion, Scene, State, settle
from fourd_ros.world_model.compact.rigid import into, into_all, inverse, rotate, rotation_by, rotation_vector

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

MOTIONS = ("carried_x", "carried_y", "carried_z", "carried_turn", "pushed", "pushed_turn", "nudged", "nudged_turn")
MOTIONS += ("as_before", "turns_as_before")
"""Each has a gate of its own."""

_AT_FIRST, _SHUT = {"pushed": 2.0, "pushed_turn": 2.0, "nudged": 1.0, "nudged_turn": 1.0}, -3.0
"""Logits of the gates of an untrained network."""

_GATES = slice(6, 6 + len(MOTIONS))
_SIGMA = 6 + len(MOTIONS)
"""What the head gives: motion that is added, gates, deviation."""

_POINT_FEATURES = 3 * 2 + 2 + 3 + 2 * SOLIDS + 3 + 3 + 1 + SOLIDS
_GLOBAL_FEATURES = 6 + EXAMINED + 3 + 3 + 6 + 3 + 1
_CONTACT_FEATURES = 2 * SOLIDS + 4 * 3
_LARGEST_BASIS = 5.0
_MEMBER_FEATURES = 3 * 2 + 2 + 3 + 3
_MEMBER_CONTEXT = 3 * 3 + 2


class PointDynamicsNetwork(nn.Module):
    """Motion of things, step after step.

    Args:
        width: features of a point.
        memory: features that a thing remembers.
        hidden: features between what is felt and how a thing moves.
    """

    def __init__(self, *, width: int = 96, memory: int = 192, hidden: int = 256) -> None:
        super().__init__()
        self.width, self.memory, self.hidden = width, memory, hidden
        self.member_point = nn.Sequential(nn.Linear(_MEMBER_FEATURES, 64), nn.SiLU(), nn.Linear(64, 64), nn.SiLU())
        self.member_head = nn.Sequential(nn.Linear(128 + _MEMBER_CONTEXT, 64), nn.SiLU(), nn.Linear(64, 1))
        self.point = nn.Sequential(
            nn.Linear(_POINT_FEATURES, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width)
        )
        self.surroundings = nn.Sequential(
            nn.Linear(2 * width + _GLOBAL_FEATURES + _CONTACT_FEATURES, hidden), nn.SiLU(), nn.Linear(hidden, memory)
        )
        self.recurrence = nn.GRUCell(memory, memory)
        self.head = nn.Sequential(
            nn.Linear(2 * memory, hidden),
            nn.SiLU(),
            nn.Linear(hidden, hidden // 2),
            nn.SiLU(),
            nn.Linear(hidden // 2, _SIGMA + 1),
        )
        last = self.head[-1]
        assert isinstance(last, nn.Linear)
        with torch.no_grad():
            last.weight.mul_(0.1)
            last.bias.zero_()
            last.bias[_GATES] = torch.tensor([_AT_FIRST.get(name, _SHUT) for name in MOTIONS])
        self.log_stiffness = nn.Parameter(torch.tensor(-0.3))
        self.register_buffer("sigma_scale", torch.ones(()))

    sigma_scale: Tensor

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """The network of a ``config.json``."""
        return cls(width=int(config["width"]), memory=int(config["memory"]), hidden=int(config["hidden"]))

    @property
    def config(self) -> dict[str, Any]:
        """What `from_config` needs."""
        return {"width": self.width, "memory": self.memory, "hidden": self.hidden}

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
        local = into(frame, points)
        centre = local.mean(dim=2, keepdim=True)
        features = torch.cat(
            [*_scales(local), *_heights(height), (local - centre) / FAR, centre.expand_as(local) / FAR], dim=-1
        )
        each = self.member_point(features)
        pooled = each.amax(dim=2, keepdim=True)
        moved = into(frame, later).flatten(2) / FAR
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
        with torch.no_grad():
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
        felt = self._feel(awake)
        each = self.point(felt.features)
        weight = awake.weight[..., None]
        mean = (each * weight).sum(dim=1) / weight.sum(dim=1).clamp(min=1e-3)
        highest = (each * weight).amax(dim=1)
        known = torch.cat([mean, highest, _thing_features(awake), felt.contact], dim=-1)
        seen = functional.silu(self.surroundings(known))
        memory = self.recurrence(seen, awake.memory)
        out = self.head(torch.cat([memory, seen], dim=-1))
        gates = dict(zip(MOTIONS, torch.sigmoid(out[:, _GATES]).split(1, dim=-1), strict=True))
        axes = awake.frames[:, 0, :3, :3]
        carried_move, carried_turn = _carried(awake.frames, awake.centre)
        held = torch.cat([gates["carried_x"], gates["carried_y"], gates["carried_z"]], dim=-1)
        move = (
            rotate(axes, held * carried_move + MOVE * out[:, :3])
            + gates["pushed"] * felt.pushed.move
            + gates["nudged"] * felt.nudged.move
            + gates["as_before"] * awake.twist[:, :3]
        )
        turn = (
            rotate(axes, gates["carried_turn"] * carried_turn + TURN * out[:, 3:6])
            + gates["pushed_turn"] * felt.pushed.turn
            + gates["nudged_turn"] * felt.nudged.turn
            + gates["turns_as_before"] * awake.twist[:, 3:]
        )
        return State(
            rotation=rotation_by(turn) @ awake.rotation,
            centre=awake.centre + move,
            twist=torch.cat([move, turn], dim=-1),
            memory=memory,
            sigma=LEAST_SIGMA + self.sigma_scale * MOVE * functional.softplus(out[:, _SIGMA] - 1.0),
        )

    def _feel(self, awake: Awake) -> "_Felt":
        """Where the points of things are beside fingers, support and other things, and what pushes them."""
        offsets = awake.points @ awake.rotation.transpose(-1, -2)
        world = offsets + awake.centre[:, None]
        axes, step = awake.frames[:, 0, :3, :3], inverse(awake.frames[:, 0]) @ awake.frames[:, 2]
        with torch.no_grad():
            ends = into_all(awake.frames[:, ::2], world).unflatten(-1, (2, 3))
            distance, shares = meetings(ends, awake.gaps[:, ::2])
        local = into_all(awake.frames[:, :1], world)
        closing = (awake.gaps[:, 0] - awake.gaps[:, 2]) / 2
        stiffness = self.log_stiffness.exp()
        by_gripper = pushed(offsets, awake.weight, local, shares, step, closing, axes)
        by_others = nudged(offsets, awake.weight, awake.gap, awake.motion)
        push, nudge = (slide(offsets, awake.weight, *by, stiffness) for by in (by_gripper, by_others))
        weight = awake.weight[..., None]
        met = [(shares * weight).amax(dim=1), ((1 - torch.tanh(distance[:, :, 1] / NEAR)) * weight).amax(dim=1)]
        ways = [push.move / MOVE, push.turn / TURN, nudge.move / MOVE, nudge.turn / TURN]
        to_gripper = axes.transpose(-1, -2)
        bases = [rotate(to_gripper, way).clamp(-_LARGEST_BASIS, _LARGEST_BASIS) for way in ways]
        return _Felt(
            features=_point_features(awake, offsets, world, local, distance, shares),
            contact=torch.cat([*met, *bases], dim=-1),
            pushed=push,
            nudged=nudge,
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
        until: Tensor,
        twist: Tensor,
    ) -> Motion:
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
            until: number of steps after which a sample is no longer followed, shape [B].
            twist: how the things move at the begin, see `State`, shape [B, K, 6].
        """
        height = points[..., 2] - support[..., None]
        logits = self.members(points, height, approach, later, approach_gap)
        scene = settle(points, torch.sigmoid(logits).detach(), present, held, support, eye)
        state = self.begin(scene)._replace(twist=twist)
        rotations, centres, sigmas = [], [], []
        for step in range(int(until.max())):
            followed = scene._replace(present=scene.present * (step < until)[:, None])
            moments = slice(2 * step, 2 * step + 3)
            state = self.advance(followed, state, frames[:, moments], gaps[:, moments])
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


class _Felt(NamedTuple):
    """What R things feel in a step.

    Args:
        features: of their points, shape [R, N, F].
        contact: of the whole thing, shape [R, C].
        pushed: motion by the gripper's push.
        nudged: motion by another thing's.
    """

    features: Tensor
    contact: Tensor
    pushed: Push
    nudged: Push


def _point_features(
    awake: Awake, offsets: Tensor, world: Tensor, local: Tensor, distance: Tensor, shares: Tensor
) -> Tensor:
    """Where points are beside the solids, the support and other things, shape [R, N, F]."""
    axes = awake.frames[:, 0, :3, :3]
    rise = (world[..., 2] - awake.origin[:, 2:] + awake.height[:, None])[..., None]
    gap = awake.gap @ axes
    near = torch.cat([local / 2, rise, gap / 2, distance.flatten(2)], dim=-1) / NEAR
    far = torch.cat([local, rise], dim=-1) / FAR
    rest = [offsets @ axes / FAR, awake.motion @ axes / MOVE, awake.weight[..., None]]
    return torch.cat([torch.tanh(torch.cat([near, far], dim=-1)), *rest, shares], dim=-1)


def _thing_features(awake: Awake) -> Tensor:
    """How the gripper moves, and every thing beside it, shape [R, G]."""
    first = awake.frames[:, 0]
    axes = first[:, :3, :3]
    step = inverse(first) @ awake.frames[:, 2]
    sight = functional.normalize(awake.eye - awake.centre, dim=-1)
    place = awake.centre - first[:, :3, 3]
    seen = torch.stack([sight, awake.twist[:, :3] / MOVE, awake.twist[:, 3:] / TURN, place], dim=1) @ axes
    return torch.cat(
        [
            step[:, :3, 3] / MOVE,
            rotation_vector(step[:, :3, :3]) / TURN,
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


def _carried(frames: Tensor, centre: Tensor) -> tuple[Tensor, Tensor]:
    """Motion of centroids [R, 3] and turn that they had in the gripper's hand, in its axes, each [R, 3]."""
    step = inverse(frames[:, 0]) @ frames[:, 2]
    local = ((centre - frames[:, 0, :3, 3])[:, None] @ frames[:, 0, :3, :3])[:, 0]
    move = (step[:, :3, :3] @ local[..., None])[..., 0] + step[:, :3, 3] - local
    return move, rotation_vector(step[:, :3, :3])


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
    moved = (state.twist[:, :, None, :3] * scene.weight[:, :, :OTHERS, None]).reshape(batch, things * OTHERS, 3)
    motion = torch.gather(moved, 1, chosen).reshape(world.shape)
    near = (least < FAR**2)[..., None]
    return torch.where(near, target - world, torch.full_like(world, FAR)), motion * near
