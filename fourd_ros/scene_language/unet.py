"""Encoders and decoders of the language head: four levels, each half the size of the one before."""

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

LEVELS = 4


class Encoder(nn.Module):
    """Maps [B, C, H, W] -> four levels, the finest first, of hidden, 2 hidden, 4 hidden and 8 hidden channels.

    Args:
        channels: C.
        hidden: of the finest level.
    """

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        for level in range(1, LEVELS + 1):
            width = hidden << (level - 1)
            self.add_module(f"down{level}", _convolutions(channels if level == 1 else width // 2, width))
            if level < LEVELS:
                self.add_module(f"pool{level}", nn.Conv2d(width, width, 2, stride=2))

    def forward(self, maps: Tensor) -> list[Tensor]:
        levels: list[Tensor] = []
        for level in range(1, LEVELS + 1):
            if levels:
                maps = self.get_submodule(f"pool{level - 1}")(levels[-1])
            levels.append(self.get_submodule(f"down{level}")(maps))
        return levels


class Decoder(nn.Module):
    """Levels of an `Encoder` -> maps [B, outputs, H, W].

    Args:
        hidden: channels of the finest level.
        outputs: channels of the maps.
    """

    def __init__(self, hidden: int, outputs: int) -> None:
        super().__init__()
        for step in range(1, LEVELS):
            width = hidden << (LEVELS - 1 - step)
            self.add_module(f"up{step}", nn.ConvTranspose2d(2 * width, width, 2, stride=2))
            self.add_module(f"conv{step}", _convolutions(2 * width, width))
        self.final_conv = nn.Conv2d(hidden, outputs, 3, padding=1)

    def forward(self, levels: list[Tensor]) -> Tensor:
        maps = levels[-1]
        for step in range(1, LEVELS):
            finer = levels[-1 - step]
            larger = self.get_submodule(f"up{step}")(maps)
            larger = interpolate(larger, size=finer.shape[-2:], mode="bilinear", align_corners=False)
            maps = self.get_submodule(f"conv{step}")(torch.cat([larger, finer], dim=1))
        return cast(Tensor, self.final_conv(maps))


def _convolutions(channels: int, width: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels, width, 3, padding=1),
        nn.BatchNorm2d(width),
        nn.ReLU(),
        nn.Conv2d(width, width, 3, padding=1),
        nn.BatchNorm2d(width),
        nn.ReLU(),
    )
