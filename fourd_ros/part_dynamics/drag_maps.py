"""Drags as maps that the layers of the network read: where something is taken hold of, and where it goes.

A drag is two pixels of a grid of 512 x 512. Its features are put into one cell of a map and blurred. The first axis of
a map is x: it is transposed against the image, and trained weights know no other way.
"""

from functools import lru_cache

import torch
from torch import Tensor, nn

from fourd_ros.errors import InvalidModel

GRID = 512
"""Pixels a side of the grid that drags are told in."""

OCTAVES, BASE = 8, 100.0
FEATURES = 4 * OCTAVES
HIDDEN = (128, 256)
BLUR_RADIUS, BLUR_SIGMA = 2, 1.0


def fourier_features(places: Tensor) -> Tensor:
    """Sines and cosines of pixels (x, y), shape [*, 2] -> [*, 32], float32; frequencies are 100^(k/8)."""
    angles = places.float()[..., None, :] * frequencies(places.device)[:, None]
    return torch.stack([angles.sin(), angles.cos()], dim=-2).flatten(-3)


def frequencies(device: "torch.device | str" = "cpu") -> Tensor:
    """Of the features, shape [8]."""
    return BASE ** (torch.arange(OCTAVES, dtype=torch.float32, device=device) / OCTAVES)


class DragMaps(nn.Module):
    """Maps of all levels.

    Args:
        scales: rows and columns of the map of each level.
        channels: that enter each level; half of them tell of the start of drags, half of their end.

    Raises:
        InvalidModel: a scale that does not divide 512 or is too small to be blurred.
    """

    def __init__(self, scales: tuple[int, ...], channels: tuple[int, ...]) -> None:
        super().__init__()
        wrong = [scale for scale in scales if GRID % scale or scale <= BLUR_RADIUS]
        if wrong or len(scales) != len(channels):
            raise InvalidModel(
                f"levels of {scales} cells and {channels} channels; needed are as many of both, and numbers of cells "
                f"that divide {GRID} and are larger than {BLUR_RADIUS}"
            )
        self.scales = scales
        self.linears_drags = nn.ModuleList(
            nn.Sequential(
                nn.Linear(FEATURES, HIDDEN[0]),
                nn.SiLU(),
                nn.Linear(HIDDEN[0], HIDDEN[1]),
                nn.SiLU(),
                nn.Linear(HIDDEN[1], count // 2),
            )
            for count in channels
        )

    def forward(self, level: int, start: Tensor, end: Tensor) -> tuple[Tensor, Tensor]:
        """The two maps of a level.

        Args:
            level: of them.
            start: pixels (x, y) of 0..511, shape [V, N, 2].
            end: where these go, the same shape.

        Returns:
            Shape [V, channels / 2, scale, scale] each, axes x, y.
        """
        return self._map(level, start), self._map(level, end)

    def _map(self, level: int, places: Tensor) -> Tensor:
        """The blur is separable, so one product of matrices makes the sum of all blurred impulses."""
        scale = self.scales[level]
        embedded = self.linears_drags[level](fourier_features(places).to(self.linears_drags[level][0].weight.dtype))
        cells = places.long().clamp(0, GRID - 1) // (GRID // scale)
        spread = _spread(scale, places.device).to(embedded.dtype)
        x, y = spread[cells[..., 0]], spread[cells[..., 1]]
        columns = (embedded[..., :, None] * x[..., None, :]).flatten(2)
        return (columns.transpose(1, 2) @ y).unflatten(1, (-1, scale))


@lru_cache(maxsize=16)
def _spread(scale: int, device: torch.device) -> Tensor:
    """Row i: an impulse at cell i after the blur, whose edges reflect; shape [scale, scale]."""
    with torch.inference_mode(False):
        offsets = torch.arange(-BLUR_RADIUS, BLUR_RADIUS + 1)
        kernel = torch.exp(-offsets.float().square() / (2 * BLUR_SIGMA**2))
        kernel /= kernel.sum()
        spread = torch.zeros(scale, scale)
        for offset, weight in zip(offsets.tolist(), kernel, strict=True):
            read = (torch.arange(scale) + offset).abs()
            read = torch.where(read < scale, read, 2 * (scale - 1) - read)
            spread[read, torch.arange(scale)] += weight
        return spread.to(device)
