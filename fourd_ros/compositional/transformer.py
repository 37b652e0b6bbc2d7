"""The transformer: noisy latents of objects and frames, and what images show of them -> where the latents flow.

Objects of a frame and frames of an object see each other in alternate blocks, so one network serves scenes and motion.

Source: COM4D (arXiv 2512.05272), whose blocks are those of TripoSG (arXiv 2502.06608).
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu
from torch.utils.checkpoint import checkpoint

from fourd_ros.compositional.attention import Attention, FeedForward, Groups, WideNorm
from fourd_ros.compositional.sizes import TransformerSizes
from fourd_ros.errors import InvalidInput, InvalidModel, TooLarge

SLOWEST = 10_000.0
"""Ratio of the quickest wave of the time to the slowest."""

TABLE_STD = 0.02
"""Of the numbers that learned tables begin with."""

Counts = int | Sequence[int] | Tensor
"""Items of each group in their order; a number stands for groups of this size."""


class ImageMemory:
    """Keys and values of images in every block; they do not depend on time.

    Args:
        layers: keys and values of each block, [B, h, K, d].
    """

    def __init__(self, layers: list[tuple[Tensor, Tensor]]) -> None:
        self.layers = layers

    def __len__(self) -> int:
        return len(self.layers[0][0])


@dataclass(frozen=True, kw_only=True)
class _Layer:
    """What a block may look at.

    Args:
        groups: of items; None where each is alone.
        images: which image of the memory the last items of the batch see, shape [n]; None where they are these images.
            The items before see none.
        track: the blocks that share skips with this one.
    """

    groups: Groups | None
    images: Tensor | None
    track: str = ""


class CompositionalTransformer(nn.Module):
    """COM4D's network; names of weights are those of its published files.

    Args:
        sizes: of the network.

    Attributes:
        checkpointing: whether training computes blocks again instead of keeping what is in them.
    """

    def __init__(self, sizes: TransformerSizes) -> None:
        super().__init__()
        self.sizes, self.checkpointing = sizes, False
        width, layers = sizes.width, sizes.num_layers
        self.time_proj = _TimeToken(width)
        for name, rows in table_names(sizes).items():
            table = nn.Embedding(rows, width)
            nn.init.normal_(table.weight, std=TABLE_STD)
            setattr(self, name, table)
        self.proj_in = nn.Linear(sizes.in_channels, width)
        self.blocks = nn.ModuleList(_Block(sizes, skips=number > layers // 2) for number in range(layers))
        self.norm_out = WideNorm(width)
        self.proj_out = nn.Linear(width, sizes.in_channels)

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """The network of a ``config.json``; see `TransformerSizes.from_config` for the errors."""
        return cls(TransformerSizes.from_config(config))

    @property
    def config(self) -> dict[str, Any]:
        """What `from_config` makes an equal network of."""
        return self.sizes.config

    def forward(
        self,
        latents: Tensor,
        timestep: Tensor,
        image_tokens: Tensor,
        *,
        num_parts: Counts,
        num_frames: Counts,
        official_compat: bool = False,
    ) -> Tensor:
        """Velocity of objects of scenes, or of frames of objects: what training and a scene alone need.

        Items are grouped by `num_frames` unless all of these are 1, else by `num_parts`; where all of both are 1 they
        are alone, as in TripoSG.

        Args:
            latents: noisy, shape [N, T, C].
            timestep: of each item, 0..1000, shape [N].
            image_tokens: what each item sees, shape [N, K, E].
            num_parts: objects of each scene.
            num_frames: frames of each object.
            official_compat: number the items of all groups on, where counts are whole numbers, as the original does by
                mistake: with guidance the second half of a batch then has other rows of the table than the first.

        Returns:
            From noise to data, shape [N, T, C].

        Raises:
            TooLarge: a group is larger than the table of objects or frames.
            InvalidInput: counts that do not add up to N.
        """
        items = len(latents)
        parts, frames = _sizes_of(num_parts, items), _sizes_of(num_frames, items)
        several_parts, several_frames = max(parts) > 1, max(frames) > 1
        sizes = frames if several_frames else parts
        row = torch.cat([torch.arange(size) for size in sizes])
        if official_compat and isinstance(num_frames if several_frames else num_parts, int):
            row = torch.arange(items)
        added = latents.new_zeros(items, self.sizes.width)
        if several_frames or several_parts:
            added = self._row("frame" if several_frames else "part", row, added)
            added = self._mark("static" if several_parts else "dynamic", added)
        grouped = (
            self.sizes.temporal_global_attn_block_ids if several_frames else self.sizes.spatial_global_attn_block_ids
        )
        together = _Layer(groups=Groups.of_sizes(sizes), images=None)
        alone = _Layer(groups=None, images=None)

        def layer(number: int) -> _Layer:
            return together if number in grouped else alone

        def memory(number: int) -> tuple[Tensor, Tensor]:
            shown = self.sizes.enable_global_cross_attn if number in grouped else self.sizes.enable_local_cross_attn
            remembered = self._remembered(number, image_tokens)
            return remembered if shown else (remembered[0][:0], remembered[1][:0])

        return self._run(latents, self.time_token(timestep), added, memory, layer)

    def mixed(
        self,
        latents: Tensor,
        timestep: Tensor,
        *,
        temporal_tokens: Tensor,
        spatial_tokens: Tensor,
        static: int,
        cutoff: bool,
    ) -> Tensor:
        """Velocity of objects (rows) in frames (columns), all at once, without guidance.

        Args:
            latents: noisy, those of things that stand first, shape [M, F, T, C].
            timestep: 0..1000; one, or one of each latent, shape [M, F].
            temporal_tokens: what items see in blocks over time, shape [M, F, K, E].
            spatial_tokens: what they see in blocks over objects, shape [M, F, K, E].
            static: how many of the rows stand.
            cutoff: no object sees others any more.

        Returns:
            From noise to data, shape [M, F, T, C].

        Raises:
            TooLarge: more rows or columns than the tables have.
        """
        items = latents.shape[0] * latents.shape[1]
        memory = self.remember(torch.cat([temporal_tokens.flatten(0, 1), spatial_tokens.flatten(0, 1)]))
        places = torch.arange(items, device=latents.device).view(latents.shape[:2])
        return self.mixed_velocities(
            latents,
            timestep,
            memory=memory,
            temporal=places,
            spatial=places + items,
            static=static,
            cutoff=cutoff,
            guided=False,
        )[0]

    def mixed_velocities(
        self,
        latents: Tensor,
        timestep: Tensor,
        *,
        memory: ImageMemory,
        temporal: Tensor,
        spatial: Tensor,
        static: int,
        cutoff: bool,
        guided: bool,
        absent: int = 0,
    ) -> Tensor:
        """The same with images that were remembered, and for guidance.

        Args:
            latents: as of `mixed`, without the rows that are absent.
            timestep: as of `mixed`.
            memory: of images.
            temporal: which of them an item sees in blocks over time, shape [M, F].
            spatial: which it sees in blocks over objects, shape [M, F].
            static: how many of the rows stand.
            cutoff: no object sees others any more.
            guided: also what is predicted without images.
            absent: how many of the first rows are left out because nobody sees them; only with `cutoff`.

        Returns:
            Shape [1, M, F, T, C], or [2, M, F, T, C] where the first is without images.
        """
        rows, columns = latents.shape[:2]
        if not (self.sizes.enable_local_cross_attn and self.sizes.enable_global_cross_attn):
            raise InvalidModel("scenes in motion need a network that sees the image in every block")
        times = timestep.to(latents.device).reshape(-1).expand(rows * columns) if timestep.numel() == 1 else timestep
        copies = 2 if guided else 1
        added = self._places(latents, static=static, absent=absent)
        groups = _MixedGroups(copies, rows, columns, static=static - absent, device=latents.device)
        over_time = _Layer(groups=groups.temporal, images=temporal.flatten(), track="temporal")
        over_objects = _Layer(groups=None if cutoff else groups.spatial, images=spatial.flatten(), track="spatial")

        def layer(number: int) -> _Layer:
            return over_objects if number in self.sizes.spatial_global_attn_block_ids else over_time

        velocities = self._run(
            latents.flatten(0, 1).repeat(copies, 1, 1),
            self.time_token(times.flatten()).repeat(copies, 1),
            added.repeat(copies, 1),
            memory.layers.__getitem__,
            layer,
        )
        return torch.unflatten(velocities, 0, (copies, rows, columns))

    def remember(self, image_tokens: Tensor) -> ImageMemory:
        """What every block will look at of images [B, K, E]."""
        return ImageMemory([self._remembered(number, image_tokens) for number in range(len(self.blocks))])

    def time_token(self, timestep: Tensor) -> Tensor:
        """The token of times [N], shape [N, width]."""
        token: Tensor = self.time_proj(timestep.to(self.proj_in.weight.device))
        return token

    def _run(
        self,
        latents: Tensor,
        time: Tensor,
        added: Tensor,
        memory: Callable[[int], tuple[Tensor, Tensor]],
        layer: Callable[[int], _Layer],
    ) -> Tensor:
        """All blocks; latents [N, T, C], tokens of time and what is added to every token [N, width]."""
        tokens = torch.cat([time[:, None], self.proj_in(latents)], dim=1) + added[:, None]
        skips: dict[str, list[Tensor]] = {}
        middle = len(self.blocks) // 2
        for number, block in enumerate(self.blocks):
            looks = layer(number)
            stack = skips.setdefault(looks.track, [])
            skip = stack.pop() if number > middle and stack else None
            tokens = self._block(block, tokens, skip, looks.groups, memory(number), looks.images)
            if number < middle:
                stack.append(tokens)
        out: Tensor = self.proj_out(self.norm_out(tokens)[:, 1:])
        return out

    def _remembered(self, number: int, image_tokens: Tensor) -> tuple[Tensor, Tensor]:
        block: Any = self.blocks[number]
        remembered: tuple[Tensor, Tensor] = block.attn2.remember(image_tokens)
        return remembered

    def _block(self, block: nn.Module, *given: Any) -> Tensor:
        if self.checkpointing and torch.is_grad_enabled():
            again: Tensor = checkpoint(block, *given, use_reentrant=False)
            return again
        out: Tensor = block(*given)
        return out

    def _places(self, latents: Tensor, *, static: int, absent: int) -> Tensor:
        """What is added to the tokens of objects in frames, shape [M * F, width]."""
        rows, columns = latents.shape[:2]
        added = latents.new_zeros(rows, columns, self.sizes.width)
        if columns > 1:
            added = self._row("frame", torch.arange(columns), added)
        if absent + rows > 1:
            added = self._row("part", torch.arange(absent, absent + rows)[:, None], added)
        stands = static - absent
        return torch.cat([self._mark("static", added[:stands]), self._mark("dynamic", added[stands:])]).flatten(0, 1)

    def _row(self, kind: str, row: Tensor, added: Tensor) -> Tensor:
        table: nn.Embedding | None = getattr(self, f"{kind}_embedding", None)
        if table is None:
            return added
        needed = int(row.max()) + 1
        if needed > table.num_embeddings:
            things = {"part": "objects", "frame": "frames"}[kind]
            raise TooLarge(f"{needed} {things} at once; the model can tell {table.num_embeddings} of them apart")
        return torch.add(added, table(row.to(added.device)))

    def _mark(self, kind: str, added: Tensor) -> Tensor:
        table: nn.Embedding | None = getattr(self, f"{kind}_embedding", None)
        return added if table is None else torch.add(added, table.weight[0])


class _MixedGroups:
    """Groups of items that lie by copy, row and column."""

    def __init__(self, copies: int, rows: int, columns: int, *, static: int, device: torch.device) -> None:
        items = torch.arange(copies * rows * columns, device=device).view(copies, rows, columns)
        self.spatial = Groups(((copies * columns, rows),), items.transpose(1, 2).flatten())
        self.temporal = Groups.of_sizes(([1] * static * columns + [columns] * (rows - static)) * copies)


class _TimeToken(nn.Module):
    """Waves of the time, and two layers."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.linear_1 = nn.Linear(width, 4 * width)
        self.linear_2 = nn.Linear(4 * width, width)

    def forward(self, timestep: Tensor) -> Tensor:
        waves = time_waves(timestep, self.linear_1.in_features).to(self.linear_1.weight.dtype)
        token: Tensor = self.linear_2(gelu(self.linear_1(waves)))
        return token


class _Block(nn.Module):
    """Self-attention, cross-attention to images, and two layers, each normalised before."""

    def __init__(self, sizes: TransformerSizes, *, skips: bool) -> None:
        super().__init__()
        width, heads = sizes.width, sizes.num_attention_heads
        self.norm1, self.norm2, self.norm3 = (WideNorm(width) for _ in range(3))
        self.attn1 = Attention(width, heads, normed=True)
        self.attn2 = Attention(width, heads, seen=sizes.cross_attention_dim, normed=True)
        self.ff = FeedForward(width)
        if skips:
            self.skip_linear = nn.Linear(2 * width, width)
            self.skip_norm = WideNorm(width)

    def forward(
        self,
        tokens: Tensor,
        skip: Tensor | None,
        groups: Groups | None,
        memory: tuple[Tensor, Tensor],
        images: Tensor | None,
    ) -> Tensor:
        if skip is not None:
            tokens = self.skip_norm(self.skip_linear(torch.cat([skip, tokens], dim=-1)))
        tokens = tokens + self.attn1.within(self.norm1(tokens), groups)
        keys, values = memory if images is None else (each.index_select(0, images) for each in memory)
        unseeing = len(tokens) - len(keys)
        seen = self.attn2.at(self.norm2(tokens[unseeing:]), keys, values)
        tokens = tokens + torch.cat([self.attn2.of_nothing.expand(unseeing, *tokens.shape[1:]), seen])
        out: Tensor = tokens + self.ff(self.norm3(tokens))
        return out


def time_waves(timestep: Tensor, width: int) -> Tensor:
    """Sines, then cosines of times [N], float32, shape [N, width].

    Source: Vaswani et al. 2017, *Attention Is All You Need*.
    """
    half = width // 2
    rates = torch.exp(-math.log(SLOWEST) * torch.arange(half, dtype=torch.float32, device=timestep.device) / half)
    angles = timestep.float()[:, None] * rates
    return torch.cat([angles.sin(), angles.cos()], dim=-1)


def table_names(sizes: TransformerSizes) -> dict[str, int]:
    """Learned tables that there are, and their rows."""
    tables = {
        "part_embedding": (sizes.enable_part_embedding, sizes.max_num_parts),
        "frame_embedding": (sizes.enable_frame_embedding, sizes.max_num_frames),
        "static_embedding": (sizes.enable_static_embedding, 1),
        "dynamic_embedding": (sizes.enable_dynamic_embedding, 1),
    }
    return {name: rows for name, (enabled, rows) in tables.items() if enabled}


def _sizes_of(counts: Counts, items: int) -> list[int]:
    """Sizes of groups; counts of one a group may be given a group or an item."""
    given = [counts] * (items // max(counts, 1)) if isinstance(counts, int) else [int(count) for count in counts]
    if given and set(given) == {1}:
        return [1] * items
    if sum(given) != items or min(given, default=0) < 1:
        raise InvalidInput(f"groups of {counts} items; needed are whole numbers from 1 that add up to {items}")
    return given
