"""What moves tracks: they look at themselves over time, and at each other through a few learned tracks between."""

from typing import cast

import torch
from torch import Tensor, nn

from fourd_ros.scene_language.attention import Mlp
from fourd_ros.scene_language.learned_tokens import learned_tokens
from fourd_ros.scene_language.sizes import GeometrySizes

RATIO = 4


class SelfBlock(nn.Module):
    """Tokens look at each other; the shortcut begins after the norm, as weights were trained with it."""

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(channels), nn.LayerNorm(channels)
        self.attn = nn.MultiheadAttention(channels, heads, batch_first=True)
        self.mlp = Mlp(channels, RATIO * channels, channels)

    def forward(self, tokens: Tensor) -> Tensor:
        tokens = self.norm1(tokens)
        tokens = tokens + self.attn(tokens, tokens, tokens, need_weights=False)[0]
        out: Tensor = tokens + self.mlp(self.norm2(tokens))
        return out


class CrossBlock(nn.Module):
    """Tokens look at others; the shortcut as in `SelfBlock`."""

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.norm1, self.norm_context, self.norm2 = (nn.LayerNorm(channels) for _ in range(3))
        self.cross_attn = nn.MultiheadAttention(channels, heads, batch_first=True)
        self.mlp = Mlp(channels, RATIO * channels, channels)

    def forward(self, tokens: Tensor, others: Tensor) -> Tensor:
        tokens, others = self.norm1(tokens), self.norm_context(others)
        tokens = tokens + self.cross_attn(tokens, others, others, need_weights=False)[0]
        out: Tensor = tokens + self.mlp(self.norm2(tokens))
        return out


class TrackTransformer(nn.Module):
    """Changes of tracks; names of weights are those of the published files, a misspelt one among them.

    Args:
        sizes: of the network.
        channels: of a token.
        outputs: of a change.
    """

    def __init__(self, sizes: GeometrySizes, *, channels: int, outputs: int) -> None:
        super().__init__()
        hidden, heads, depth = sizes.track_hidden, sizes.track_heads, sizes.track_depth
        self.input_norm = nn.LayerNorm(channels)
        self.input_transform = nn.Linear(channels, hidden)
        self.output_norm = nn.LayerNorm(hidden)
        self.flow_head = nn.Linear(hidden, outputs)
        self.virual_tracks = learned_tokens(1, sizes.track_virtual, 1, hidden, spread=1.0)
        self.time_blocks, self.space_virtual_blocks = (
            nn.ModuleList(SelfBlock(hidden, heads) for _ in range(depth)) for _ in range(2)
        )
        self.space_point2virtual_blocks, self.space_virtual2point_blocks = (
            nn.ModuleList(CrossBlock(hidden, heads) for _ in range(depth)) for _ in range(2)
        )

    def forward(self, tokens: Tensor) -> Tensor:
        """Changes [B, N, S, outputs] of N tracks over S frames, from tokens [B, N, S, channels]."""
        batch, points, frames = tokens.shape[:3]
        begun = self.input_transform(self.input_norm(tokens))
        inner = torch.cat([begun, self.virual_tracks.expand(batch, -1, frames, -1)], dim=1)
        for blocks in zip(
            self.time_blocks,
            self.space_virtual2point_blocks,
            self.space_virtual_blocks,
            self.space_point2virtual_blocks,
            strict=True,
        ):
            over_time, gather, exchange, spread = blocks
            inner = over_time(inner.flatten(0, 1)).unflatten(0, (batch, -1))
            at_once = inner.transpose(1, 2).flatten(0, 1)
            own, between = at_once[:, :points], at_once[:, points:]
            between = exchange(gather(between, own))
            own = spread(own, between)
            inner = torch.unflatten(torch.cat([own, between], dim=1), 0, (batch, frames)).transpose(1, 2)
        return cast(Tensor, self.flow_head(self.output_norm(inner[:, :points] + begun)))
