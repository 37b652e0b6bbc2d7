"""Attention of both networks, with the order of heads that their published weights need, and who may look at whom.

A batch is a row of items, each of some tokens. In self-attention the tokens of an item see those of all items in its
group; in cross-attention they see what is given with the item.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, layer_norm, rms_norm, scaled_dot_product_attention

HEAD_EPS = 1e-6


@dataclass(frozen=True)
class Groups:
    """Items that see each other.

    Args:
        runs: consecutive groups of one size: how many groups, of how many items.
        order: items sorted by their group, shape [N]; None where they lie so.
    """

    runs: tuple[tuple[int, int], ...]
    order: Tensor | None = None

    @classmethod
    def of_sizes(cls, sizes: Sequence[int], order: Tensor | None = None) -> "Groups":
        """Groups of these sizes, one after the other."""
        return cls(tuple((len(list(same)), size) for size, same in groupby(sizes)), order)

    def attend(self, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        """What each item's tokens found in their group; all shapes [N, h, T, d]."""
        given = [queries, keys, values]
        if self.order is not None:
            given = [each.index_select(0, self.order) for each in given]
        counts = [count * size for count, size in self.runs]
        parts = zip(*(torch.split(each, counts) for each in given), self.runs, strict=True)
        found = torch.cat([_attend_joined(*three, size=size) for *three, (_, size) in parts])
        return found if self.order is None else torch.empty_like(found).index_copy(0, self.order, found)


def _attend_joined(queries: Tensor, keys: Tensor, values: Tensor, *, size: int) -> Tensor:
    if size == 1:
        return scaled_dot_product_attention(queries, keys, values)

    def join(heads: Tensor) -> Tensor:
        return torch.unflatten(heads, 0, (-1, size)).transpose(1, 2).flatten(2, 3)

    found = scaled_dot_product_attention(join(queries), join(keys), join(values))
    return torch.unflatten(found, 2, (size, -1)).transpose(1, 2).flatten(0, 1)


class WideNorm(nn.LayerNorm):
    """Layer normalisation in float32, whatever the type of tokens and weights."""

    def forward(self, tokens: Tensor) -> Tensor:
        weight, bias = self.weight.float(), self.bias.float()
        return layer_norm(tokens.float(), self.normalized_shape, weight, bias, self.eps).to(tokens.dtype)


class HeadNorm(nn.Module):
    """Division by the root of the mean square of a head's channels, in float32, and learned factors."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))

    def forward(self, heads: Tensor) -> Tensor:
        return rms_norm(heads.float(), self.weight.shape, eps=HEAD_EPS).to(self.weight.dtype) * self.weight


class Attention(nn.Module):
    """Attention with several heads; queries from some tokens, keys and values from the same or from others.

    The projections of keys and values (and of queries, where they are of the same tokens) are laid side by side before
    they are cut into heads, so a head's channels are not those of its number. The published weights were trained so.

    Args:
        channels: of the tokens that look.
        heads: that divide them.
        seen: channels of the tokens that are seen; None where these are the same tokens.
        normed: whether queries and keys of a head are normalised.
    """

    def __init__(self, channels: int, heads: int, *, seen: int | None = None, normed: bool) -> None:
        super().__init__()
        self.heads = heads
        self.to_q = nn.Linear(channels, channels, bias=False)
        self.to_k = nn.Linear(seen or channels, channels, bias=False)
        self.to_v = nn.Linear(seen or channels, channels, bias=False)
        self.to_out = nn.ModuleList([nn.Linear(channels, channels)])
        self.norm_q, self.norm_k = (HeadNorm(channels // heads) if normed else nn.Identity() for _ in range(2))

    def within(self, tokens: Tensor, groups: Groups | None) -> Tensor:
        """Tokens [N, T, C] look at those of their group (of their item without one); what they found."""
        joined = torch.cat([self.to_q(tokens), self.to_k(tokens), self.to_v(tokens)], dim=-1)
        queries, keys, values = self._heads(joined).chunk(3, dim=-1)
        attend = scaled_dot_product_attention if groups is None else groups.attend
        return self._out(attend(self.norm_q(queries), self.norm_k(keys), values))

    def remember(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values [B, h, K, d] of tokens [B, K, E] that will be looked at."""
        joined = torch.cat([self.to_k(tokens), self.to_v(tokens)], dim=-1)
        keys, values = self._heads(joined).chunk(2, dim=-1)
        return self.norm_k(keys), values

    def at(self, tokens: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        """Tokens [N, T, C] look at what was remembered, [N, h, K, d]; what they found."""
        return self._out(scaled_dot_product_attention(self.norm_q(self._heads(self.to_q(tokens))), keys, values))

    @property
    def of_nothing(self) -> Tensor:
        """What tokens find in tokens that are zero, shape [C]."""
        return self.to_out[0].bias  # type: ignore[return-value]

    def _heads(self, joined: Tensor) -> Tensor:
        return torch.unflatten(joined, -1, (self.heads, -1)).transpose(1, 2)

    def _out(self, found: Tensor) -> Tensor:
        out: Tensor = self.to_out[0](found.transpose(1, 2).flatten(2))
        return out


class FeedForward(nn.Module):
    """Two layers, four times as wide between, with an exact GELU; names as in diffusers."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.net = nn.Sequential(_Widening(channels), nn.Identity(), nn.Linear(4 * channels, channels))

    def forward(self, tokens: Tensor) -> Tensor:
        out: Tensor = self.net(tokens)
        return out


class _Widening(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.proj = nn.Linear(channels, 4 * channels)

    def forward(self, tokens: Tensor) -> Tensor:
        return gelu(self.proj(tokens))
