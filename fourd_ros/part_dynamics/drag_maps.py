"""Drags as maps that the layers of the network read: where something is taken hold of, and where it goes.

A drag is two pixels of a grid of 512 x 512. Its features are put into one cell of a map and blurred. In the original
the first axis of a map is x, so it is transposed against the image, and a pixel is a radian of the slowest feature;
weights that were trained so know no other way. Networks of our own may have maps that lie as the image does, and
features that are slower.
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


def fourier_features(places: Tensor, *, unit: float = 1.0) -> Tensor:
    """Sines and cosines of pixels (x, y), shape [*, 2] -> [*, 32], float32; 100^(k/8) radians in `unit` pixels."""
    angles = places.float()[..., None, :] * (frequencies(places.device)[:, None] / unit)
    return torch.stack([angles.sin(), angles.cos()], dim=-2).flatten(-3)


def frequencies(device: "torch.device | str" = "cpu") -> Tensor:
    """Of the features, shape [8]."""
    return BASE ** (torch.arange(OCTAVES, dtype=torch.float32, device=device) / OCTAVES)


class DragMaps(nn.Module):
    """Maps of all levels.

    Args:
        scales: rows and columns of the map of each level.
        channels: that enter each level; half of them tell of the start of drags, half of their end.
        transposed: the first axis of a map is x, as in the original; false: it is y, as in the image.
        unit: pixels that are a radian of the slowest feature.

    Raises:
        InvalidModel: a scale that does not divide 512 or is too small to be blurred.
    """

    def __init__(
        self, scales: tuple[int, ...], channels: tuple[int, ...], *, transposed: bool = True, unit: float = 1.0
    ) -> None:
        super().__init__()
        wrong = [scale for scale in scales if GRID % scale or scale <= BLUR_RADIUS]
        if wrong or len(scales) != len(channels):
            raise InvalidModel(
                f"levels of {scales} cells and {channels} channels; needed are as many of both, and numbers of cells "
                f"that divide {GRID} and are larger than {BLUR_RADIUS}"
            )
        if not unit > 0:
            raise InvalidModel(f"features of drags in units of {unit} pixels; needed is a positive number")
        self.scales, self._transposed, self._unit = scales, transposed, unit
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
            Shape [V, channels / 2, scale, scale] each.
        """
        return self._map(level, start), self._map(level, end)

    def _map(self, level: int, places: Tensor) -> Tensor:
        """The blur is separable, so one product of matrices makes the sum of all blurred impulses."""
        scale = self.scales[level]
        features = fourier_features(places, unit=self._unit)
        embed = self.linears_drags[level]
        embedded = embed(features.to(next(embed.parameters()).dtype))
        cells = places.long().clamp(0, GRID - 1) // (GRID // scale)
        spread = _spread(scale, places.device).to(embedded.dtype)
        x, y = spread[cells[..., 0]], spread[cells[..., 1]]
        first, second = (x, y) if self._transposed else (y, x)
        columns = (embedded[..., :, None] * first[..., None, :]).flatten(2)
        return torch.unflatten(columns.transpose(1, 2) @ second, 1, (-1, scale))


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
