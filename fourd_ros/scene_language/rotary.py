"""Rotary positions in the plane: a token's place turns its queries and keys."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, kw_only=True, eq=False)
class Rotation:
    """How the tokens of a frame are turned.

    Args:
        cosine: shape [P, d], float32.
        sine: shape [P, d].
    """

    cosine: Tensor
    sine: Tensor

    @classmethod
    def of(cls, positions: Tensor, *, channels: int, frequency: float) -> "Rotation":
        """Of tokens at (y, x): the first half of the channels turns with y, the second with x.

        Frequencies of a half of f channels are ``frequency ** (-2 k / f)``; channel k goes with channel k + f / 2 (Su
        et al., RoFormer, in the variant of two halves). Position 0 turns nothing.

        Args:
            positions: shape [P, 2].
            channels: of a head, d, a multiple of 4.
            frequency: base.
        """
        half = channels // 2
        steps = torch.arange(0, half, 2, device=positions.device, dtype=torch.float32) / half
        angles = positions.to(torch.float32)[..., None] / frequency**steps
        angles = angles.repeat(1, 1, 2).flatten(1)
        return cls(cosine=angles.cos(), sine=angles.sin())

    def repeated(self, frames: int) -> "Rotation":
        """For several frames, one after the other."""
        return Rotation(cosine=self.cosine.repeat(frames, 1), sine=self.sine.repeat(frames, 1))

    def turn(self, heads: Tensor) -> Tensor:
        """Queries or keys, turned.

        Args:
            heads: shape [B, h, P, d].
        """
        first, second = torch.unflatten(heads, -1, (2, 2, -1)).unbind(-2)
        crossed = torch.stack([-second, first], dim=-2).flatten(-3)
        return heads * self.cosine + crossed * self.sine


def patch_positions(rows: int, columns: int, *, special: int, device: torch.device) -> Tensor:
    """Place (y, x) of the tokens of a frame, shape [special + rows * columns, 2]; special tokens are at 0, patches
    begin at 1."""
    y, x = torch.meshgrid(
        torch.arange(1, rows + 1, device=device), torch.arange(1, columns + 1, device=device), indexing="ij"
    )
    places = torch.stack([y, x], dim=-1).flatten(0, 1)
    return torch.cat([places.new_zeros(special, 2), places])
