"""Transformer blocks, and what the queries of a block may look at."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from fourd_ros.scene_language.rotary import Rotation
from fourd_ros.scene_language.token_cache import LayerCache

Look = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Queries, keys and values [B, h, N, d] -> what the queries found, the same shape."""


def everything(queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """All tokens look at all."""
    return scaled_dot_product_attention(queries, keys, values)


@dataclass(frozen=True)
class EarlierFrames:
    """A token looks at its own frame and those before, frame by frame and so without a mask.

    Args:
        tokens: of a frame.
    """

    tokens: int

    def __call__(self, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        ends = range(self.tokens, queries.shape[2] + 1, self.tokens)
        seen = [
            everything(queries[:, :, end - self.tokens : end], keys[:, :, :end], values[:, :, :end]) for end in ends
        ]
        return torch.cat(seen, dim=2)


@dataclass(frozen=True)
class Remembered:
    """The tokens of one frame look at their own and at those in a cache, which then holds them too.

    Args:
        cache: of the block.
    """

    cache: LayerCache

    def __call__(self, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        return everything(queries, *self.cache.append(keys, values))


class Attention(nn.Module):
    """Attention with several heads.

    Args:
        channels: of a token.
        heads: that divide them.
        normed: whether queries and keys are normalised.
    """

    def __init__(self, channels: int, heads: int, *, normed: bool) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(channels, 3 * channels)
        self.proj = nn.Linear(channels, channels)
        self.q_norm, self.k_norm = (nn.LayerNorm(channels // heads) if normed else nn.Identity() for _ in range(2))

    def forward(self, tokens: Tensor, *, look: Look, rotation: Rotation | None) -> Tensor:
        queries, keys, values = self.qkv(tokens).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        queries, keys = self.q_norm(queries), self.k_norm(keys)
        if rotation is not None:
            queries, keys = rotation.turn(queries), rotation.turn(keys)
        found = look(queries.to(values.dtype), keys.to(values.dtype), values)
        out: Tensor = self.proj(found.transpose(1, 2).flatten(2))
        return out


class Mlp(nn.Module):
    """Two layers with an exact GELU between."""

    def __init__(self, channels: int, hidden: int, out: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(channels, hidden)
        self.act = nn.GELU()
        self.fc2 = nn.Linear(hidden, out)

    def forward(self, tokens: Tensor) -> Tensor:
        out: Tensor = self.fc2(self.act(self.fc1(tokens)))
        return out


class LayerScale(nn.Module):
    """A factor for every channel."""

    def __init__(self, channels: int, start: float) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.full((channels,), start))

    def forward(self, tokens: Tensor) -> Tensor:
        return tokens * self.gamma


class Block(nn.Module):
    """Attention, then a perceptron, each normalised before and scaled after.

    Args:
        channels: of a token.
        heads: of the attention.
        ratio: hidden channels of the perceptron over `channels`.
        normed: whether queries and keys are normalised.
        eps: of the norms before.
        scale: what the factors after start with.
    """

    def __init__(self, channels: int, heads: int, ratio: float, *, normed: bool, eps: float, scale: float) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(channels, eps=eps)
        self.attn = Attention(channels, heads, normed=normed)
        self.ls1 = LayerScale(channels, scale)
        self.norm2 = nn.LayerNorm(channels, eps=eps)
        self.mlp = Mlp(channels, int(channels * ratio), channels)
        self.ls2 = LayerScale(channels, scale)

    def forward(self, tokens: Tensor, *, look: Look = everything, rotation: Rotation | None = None) -> Tensor:
        """Tokens [B, N, C] after the block."""
        tokens = tokens + self.ls1(self.attn(self.norm1(tokens), look=look, rotation=rotation))
        out: Tensor = tokens + self.ls2(self.mlp(self.norm2(tokens)))
        return out
