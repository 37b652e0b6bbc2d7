"""How wrong objects of held-out scenes are, made from noise and pictures."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fourd_ros.compositional.field_extraction import extract_surface
from fourd_ros.compositional.flow import FlowSchedule
from fourd_ros.compositional.guidance import guided
from fourd_ros.compositional.surface_mesh import sampled
from fourd_ros.compositional.transformer import CompositionalTransformer
from fourd_ros.data.compositional_shards import CompositionalShards, occupancy_grid
from fourd_ros.errors import InvalidDataset, InvalidField
from fourd_ros.evaluation.point_metrics import cloud_distances
from fourd_ros.evaluation.shape_metrics import THRESHOLD
from fourd_ros.training.compositional_samples import on_white

if TYPE_CHECKING:
    from fourd_ros.training.compositional import ObjectNetwork

STEPS, GUIDANCE, RESOLUTION, SAMPLES = 12, 2.0, 32, 1000
_EVERY = 2
"""Of the points of `occupancy_grid` along an axis, one in so many is asked about."""


@dataclass(frozen=True, kw_only=True)
class ItemErrors:
    """Of an object at a frame.

    Args:
        iou: of what it fills and what the true one fills.
        chamfer: sum of both mean distances of surfaces; NaN where it has none.
        f_score: at 0.1, 0 where it has no surface.
    """

    iou: float
    chamfer: float
    f_score: float

    @staticmethod
    def mean(errors: Sequence["ItemErrors"]) -> dict[str, float]:
        """Over items, by name; of those that have a surface where a number needs one."""
        rows = [asdict(one) for one in errors]
        columns = {name: np.array([row[name] for row in rows]) for name in rows[0]}
        return {
            name: float(np.nanmean(values)) if np.isfinite(values).any() else float("nan")
            for name, values in columns.items()
        }


@dataclass(frozen=True, kw_only=True)
class HeldOutGroup:
    """Items that are made together: N, of which some are measured.

    Args:
        kind: of the group.
        pictures: that each sees, shape [N, S, S, 3], uint8.
        measured: which items.
        points: on the true surfaces of these, by item, each [P, 3].
        filled: every second point of the grid that these fill, by item, each [32, 32, 32].
    """

    kind: str
    pictures: NDArray[np.uint8]
    measured: tuple[int, ...]
    points: tuple[NDArray[np.float32], ...]
    filled: tuple[NDArray[np.bool_], ...]


@dataclass(frozen=True, kw_only=True)
class Measured:
    """Of a group: errors of its measured items, and a picture of the first one beside what was made, [S, 3 S, 3]."""

    errors: tuple[ItemErrors, ...]
    picture: NDArray[np.uint8]


def held_out_groups(shards: CompositionalShards, *, scenes: int) -> list[HeldOutGroup]:
    """Groups of scenes evenly over a folder: objects by themselves, of one scene, or one that moves.

    Raises:
        InvalidDataset: it was made without grids of what is filled.
    """
    chosen = np.linspace(0, len(shards) - 1, min(scenes, len(shards))).astype(int)
    return [_held_out(shards, int(index)) for index in np.unique(chosen)]


def denoise_group(
    transformer: CompositionalTransformer, noise: Tensor, tokens: Tensor, *, kind: str, shift: float = 1.0
) -> Tensor:
    """Latents of the items of one group.

    Args:
        transformer: the network.
        noise: shape [N, T, C].
        tokens: of the pictures that items see, shape [N, K, E].
        kind: ``scene``, ``moving`` or ``single``.
        shift: of the flow.
    """
    count = len(noise)
    schedule = FlowSchedule(steps=STEPS, shift=shift)
    both = torch.cat([torch.zeros_like(tokens), tokens])
    groups, alone = [count, count], [1] * (2 * count)
    latents = noise
    for number in range(STEPS):
        velocity = transformer(
            torch.cat([latents, latents]),
            schedule.timesteps[number].expand(2 * count).to(noise.device),
            both,
            num_parts=groups if kind == "scene" else alone,
            num_frames=groups if kind == "moving" else alone,
        )
        latents = schedule.step(latents, guided(velocity.float().unflatten(0, (2, count)), GUIDANCE), number)
    return latents


def measure_group(network: "ObjectNetwork", group: HeldOutGroup, *, tokens: int) -> Measured:
    """Make the items of a group and compare those that are measured.

    Args:
        network: all networks.
        group: of a held-out scene.
        tokens: latent tokens of an item.
    """
    device = next(network.parameters()).device
    count = len(group.pictures)
    noise = torch.randn(
        (1 if group.kind == "moving" else count, tokens, network.vae.sizes.latent_channels), device=device
    ).expand(count, -1, -1)
    seen = network.tokens_of(torch.from_numpy(group.pictures).to(device))
    latents = denoise_group(network.transformer, noise, seen, kind=group.kind, shift=network.shift)
    places = torch.from_numpy(occupancy_grid()[::_EVERY, ::_EVERY, ::_EVERY].reshape(-1, 3)).to(device)
    errors, made = [], []
    for item, points, filled in zip(group.measured, group.points, group.filled, strict=True):
        field = network.vae.decode(latents[item])
        inside = (field(places) > 0).reshape(filled.shape).cpu().numpy()
        made.append(inside)
        either = int((inside | filled).sum())
        iou = float((inside & filled).sum() / either) if either else 1.0
        try:
            mesh = extract_surface(field, resolution=RESOLUTION)
            surface = sampled(mesh, SAMPLES, rng=np.random.default_rng(item))[0] if not mesh.is_empty else None
        except InvalidField:
            surface = None
        if surface is None:
            errors.append(ItemErrors(iou=iou, chamfer=float("nan"), f_score=0.0))
            continue
        distances = cloud_distances(surface, points.astype(np.float64))
        errors.append(
            ItemErrors(iou=iou, chamfer=distances.chamfer(combine="sum"), f_score=distances.f_score(THRESHOLD))
        )
    return Measured(errors=tuple(errors), picture=_picture(group, made[0]))


def _held_out(shards: CompositionalShards, index: int) -> HeldOutGroup:
    facts, arrays = shards.facts(index), shards.arrays(index)
    if not len(arrays.grid):
        raise InvalidDataset(f"'{shards.folder}' has no grids of what is filled; make it with --occupancy")
    rng = np.random.default_rng(index)
    measured: tuple[int, ...]
    if facts.layout in ("moving", "clip"):
        frames = range(len(arrays.rgb))
        items = [(frame, 0) for frame in frames]
        measured = (0, len(items) - 1)
        kind = "moving"
    else:
        items = [(0, solid) for solid in range(len(facts.solids))]
        measured = tuple(range(len(items)))
        kind = "single" if len(items) == 1 else "scene"
    thinned = (slice(None, None, _EVERY),) * 3
    return HeldOutGroup(
        kind=kind,
        pictures=np.stack([on_white(arrays, frame, [solid + 1]) for frame, solid in items]),
        measured=measured,
        points=tuple(
            arrays.points(*items[item])[rng.permutation(arrays.surface.shape[1])[:SAMPLES], :3] for item in measured
        ),
        filled=tuple(arrays.occupancy(items[item][0] > 0, items[item][1])[thinned] for item in measured),
    )


def _picture(group: HeldOutGroup, inside: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """What is seen of the first measured item, and how thick what is made and what is true are along z."""
    picture = group.pictures[group.measured[0]]
    size = len(picture)
    views = []
    for filled in (inside, group.filled[0]):
        outline = filled.mean(axis=2).T[::-1]
        rows = np.arange(size) * len(outline) // size
        grey = (255 * (1 - outline / max(outline.max(), 1e-6))).astype(np.uint8)[rows][:, rows]
        views.append(np.repeat(grey[..., None], 3, axis=2))
    return np.concatenate([picture, *views], axis=1)
