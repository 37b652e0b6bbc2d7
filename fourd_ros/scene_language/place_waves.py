"""Places in an image as waves, so that a convolution knows where it is."""

from functools import lru_cache

import torch
from torch import Tensor

BASE = 100.0


@lru_cache(maxsize=32)
def place_waves(channels: int, rows: int, columns: int, *, aspect: float) -> Tensor:
    """Sines and cosines of the places of pixels, shape [channels, rows, columns], float32.

    The first half of the channels tells x, the second y: `waves` of `place_grid`.

    Args:
        channels: a multiple of 4.
        rows: of the map.
        columns: of the map.
        aspect: width over height of the image.
    """
    grid = place_grid(rows, columns, aspect=aspect)
    both = torch.cat([waves(grid[..., axis], channels // 2, base=BASE) for axis in (0, 1)], dim=-1)
    return both.float().permute(2, 0, 1).contiguous()


def place_grid(rows: int, columns: int, *, aspect: float) -> Tensor:
    """Middle of each pixel (x, y) where the half diagonal of the image is 1, shape [rows, columns, 2], float64."""
    diagonal = (aspect**2 + 1) ** 0.5
    x, y = (
        torch.linspace(-reach * (count - 1) / count, reach * (count - 1) / count, count, dtype=torch.float64)
        for reach, count in ((aspect / diagonal, columns), (1 / diagonal, rows))
    )
    down, along = torch.meshgrid(y, x, indexing="ij")
    return torch.stack([along, down], dim=-1)


def waves(places: Tensor, channels: int, *, base: float) -> Tensor:
    """Sines, then cosines, of places times ``base ** (-2 k / channels)``, shape [*, channels].

    Args:
        places: shape [*].
        channels: an even number.
        base: of the frequencies.
    """
    steps = torch.arange(channels // 2, dtype=places.dtype, device=places.device) / (channels // 2)
    angles = places[..., None] / base**steps
    return torch.cat([angles.sin(), angles.cos()], dim=-1)
