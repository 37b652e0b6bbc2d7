"""Rotary positions that are the same in both modalities."""

import torch
from torch import Tensor

BASE = 10_000.0


def rotary_table(*, frames: int, rows: int, columns: int, head_dim: int) -> Tensor:
    """Unit phasors of all tokens in the order frame, row, column.

    Each half of the columns has the positions 0, 1, ..., so that the same place in colour and in geometry has the same
    phasor. A third of the channels goes to rows, a third to columns, the rest (the larger part) to frames.

    Args:
        frames: of tokens.
        rows: of tokens.
        columns: of tokens, of both modalities together.
        head_dim: channels of a head.

    Returns:
        Shape [frames * rows * columns, head_dim / 2], complex128.

    Source: Su et al. 2021, *RoFormer*; angles are position * 10000^(-2k/d).
    """
    across = 2 * (head_dim // 6)
    along = (
        _phasors(frames, head_dim - 2 * across),
        _phasors(rows, across),
        _phasors(columns // 2, across).repeat(2, 1),
    )
    shape = (frames, rows, columns)
    parts = []
    for axis, table in enumerate(along):
        view = [1, 1, 1, table.shape[1]]
        view[axis] = shape[axis]
        parts.append(table.view(view).expand(*shape, -1))
    return torch.cat(parts, dim=-1).flatten(0, 2)


def rotate(channels: Tensor, table: Tensor) -> Tensor:
    """Turn pairs of neighbouring channels.

    Args:
        channels: of queries or keys, shape [B, N, heads, head_dim].
        table: from `rotary_table`, complex64, shape [N, head_dim / 2].

    Returns:
        The same shape and type; computed in float32.
    """
    pairs = torch.view_as_complex(channels.float().unflatten(-1, (-1, 2)).contiguous())
    return torch.view_as_real(pairs * table[:, None]).flatten(-2).type_as(channels)


def _phasors(length: int, dim: int) -> Tensor:
    """Shape [length, dim / 2], complex128."""
    frequencies = BASE ** (-torch.arange(0, dim, 2, dtype=torch.float64) / dim)
    angles = torch.outer(torch.arange(length, dtype=torch.float64), frequencies)
    return torch.polar(torch.ones_like(angles), angles)
