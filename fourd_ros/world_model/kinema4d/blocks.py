"""The blocks of the transformer: what Wan's blocks do, with the robot in the place of the text.

Names of weights are those of Wan in diffusers. In half precision, every cast is where the original has it: norms of
tokens, gates and residuals of the self-attention and of the perceptron in float32, the rest in the type of the weights.
"""

from typing import NamedTuple

import torch
from diffusers.models.attention import FeedForward
from diffusers.models.normalization import FP32LayerNorm
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from fourd_ros.world_model.kinema4d.rotary import rotate

MODULATIONS = 6
"""Shift, scale and gate of the self-attention and of the perceptron."""


class KeysValues(NamedTuple):
    """What tokens look up, shape [B, heads, N, head_dim] each."""

    keys: Tensor
    values: Tensor

    def to(self, device: "torch.device | str") -> "KeysValues":
        """The same elsewhere."""
        return KeysValues(self.keys.to(device, non_blocking=True), self.values.to(device, non_blocking=True))


class CrossLookup(NamedTuple):
    """What the tokens of one block look up outside of the video; the same at every step and pass of a clip."""

    robot: KeysValues
    image: KeysValues

    def to(self, device: "torch.device | str") -> "CrossLookup":
        """The same elsewhere."""
        return CrossLookup(self.robot.to(device), self.image.to(device))


class RootMeanSquareNorm(nn.Module):
    """Over all channels, scaled; the mean square is taken in float32.

    Args:
        channels: number of them.
        eps: is added to the mean square.

    Source: Zhang and Sennrich 2019, *Root Mean Square Layer Normalization*.
    """

    def __init__(self, channels: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.eps = eps

    def forward(self, tokens: Tensor) -> Tensor:
        """Shape [*, channels], any type."""
        if tokens.dtype == torch.float32:
            return nn.functional.rms_norm(tokens, self.weight.shape, self.weight, self.eps)
        wide = tokens.float()
        normal = wide * torch.rsqrt(wide.square().mean(-1, keepdim=True) + self.eps)
        return normal.to(self.weight.dtype) * self.weight


class Attention(nn.Module):
    """Queries, keys, values and the way out, as both attentions of a block have them.

    Args:
        dim: channels of a token.
        heads: of the attention.
        eps: of the norms of queries and keys.
    """

    def __init__(self, dim: int, heads: int, eps: float) -> None:
        super().__init__()
        self.heads = heads
        self.to_q, self.to_k, self.to_v = (nn.Linear(dim, dim) for _ in range(3))
        self.to_out = nn.ModuleList([nn.Linear(dim, dim)])
        self.norm_q, self.norm_k = RootMeanSquareNorm(dim, eps), RootMeanSquareNorm(dim, eps)

    def split(self, tokens: Tensor) -> Tensor:
        """[B, N, D] -> [B, N, heads, head_dim]."""
        return tokens.unflatten(-1, (self.heads, -1))

    def attend(self, queries: Tensor, found: KeysValues) -> Tensor:
        """Shape of `queries` [B, heads, N, head_dim]; returns [B, N, D]."""
        looked_up = scaled_dot_product_attention(queries, found.keys, found.values)
        return looked_up.transpose(1, 2).flatten(2)


class SelfAttention(Attention):
    """Every token looks at all tokens of both modalities."""

    def forward(self, tokens: Tensor, rotary: Tensor) -> Tensor:
        """Tokens [B, N, D], phasors [N, head_dim / 2] -> [B, N, D]."""
        queries = rotate(self.split(self.norm_q(self.to_q(tokens))), rotary).transpose(1, 2)
        keys = rotate(self.split(self.norm_k(self.to_k(tokens))), rotary).transpose(1, 2)
        values = self.split(self.to_v(tokens)).transpose(1, 2)
        out: Tensor = self.to_out[0](self.attend(queries, KeysValues(keys, values)))
        return out


class CrossAttention(Attention):
    """Every token looks at the robot and, apart from that, at the first frame; both answers are added."""

    def __init__(self, dim: int, heads: int, eps: float) -> None:
        super().__init__(dim, heads, eps)
        self.add_k_proj, self.add_v_proj = nn.Linear(dim, dim), nn.Linear(dim, dim)
        self.norm_added_k = RootMeanSquareNorm(dim, eps)

    def lookup(self, robot: Tensor, image: Tensor) -> CrossLookup:
        """Keys and values of the tokens of robot and image, shape [B, N, D] each."""
        return CrossLookup(
            robot=self._keys_values(self.norm_k(self.to_k(robot)), self.to_v(robot)),
            image=self._keys_values(self.norm_added_k(self.add_k_proj(image)), self.add_v_proj(image)),
        )

    def forward(self, tokens: Tensor, found: CrossLookup) -> Tensor:
        """Tokens [B, N, D] -> [B, N, D]."""
        queries = self.split(self.norm_q(self.to_q(tokens))).transpose(1, 2)
        out: Tensor = self.to_out[0](self.attend(queries, found.robot) + self.attend(queries, found.image))
        return out

    def _keys_values(self, keys: Tensor, values: Tensor) -> KeysValues:
        return KeysValues(self.split(keys).transpose(1, 2), self.split(values).transpose(1, 2))


class Block(nn.Module):
    """Self-attention, cross-attention, perceptron.

    Args:
        dim: channels of a token.
        heads: of the attentions.
        ffn_dim: channels of the perceptron.
        eps: of the norms.
    """

    def __init__(self, *, dim: int, heads: int, ffn_dim: int, eps: float) -> None:
        super().__init__()
        self.norm1 = FP32LayerNorm(dim, eps, elementwise_affine=False)
        self.attn1 = SelfAttention(dim, heads, eps)
        self.norm2 = FP32LayerNorm(dim, eps, elementwise_affine=True)
        self.attn2 = CrossAttention(dim, heads, eps)
        self.norm3 = FP32LayerNorm(dim, eps, elementwise_affine=False)
        self.ffn = FeedForward(dim, inner_dim=ffn_dim, activation_fn="gelu-approximate")
        self.scale_shift_table = nn.Parameter(torch.randn(1, MODULATIONS, dim) / dim**0.5)

    def forward(self, tokens: Tensor, time: Tensor, rotary: Tensor, found: CrossLookup) -> Tensor:
        """One layer.

        Args:
            tokens: shape [B, N, D].
            time: modulation by the time of the flow, shape [B, 6, D].
            rotary: phasors, shape [N, head_dim / 2].
            found: what the cross-attention looks up.

        Returns:
            Shape [B, N, D].
        """
        shift, scale, gate, late_shift, late_scale, late_gate = modulations(self.scale_shift_table, time)
        attended = self.attn1(modulated(self.norm1, tokens, shift, scale), rotary)
        tokens = torch.addcmul(tokens.float(), attended.float(), gate).type_as(tokens)
        tokens = tokens + self.attn2(self.norm2(tokens), found)
        thought = self.ffn(modulated(self.norm3, tokens, late_shift, late_scale))
        return torch.addcmul(tokens.float(), thought.float(), late_gate).type_as(tokens)


def modulations(table: Tensor, time: Tensor) -> tuple[Tensor, ...]:
    """Rows of a table [1, n, D], moved by the time [B, n, D] or [B, 1, D]: n tensors of shape [B, 1, D], float32."""
    return (table.float() + time.float()).chunk(table.shape[1], dim=1)


def modulated(norm: FP32LayerNorm, tokens: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    """Normalised in float32, scaled and shifted, in the type of the tokens."""
    return torch.addcmul(shift, norm(tokens.float()), 1 + scale).type_as(tokens)
