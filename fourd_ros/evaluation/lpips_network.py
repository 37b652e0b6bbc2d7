"""LPIPS over an AlexNet that small shifts do not disturb."""

from collections.abc import Mapping
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn import functional

CHANNELS = (64, 192, 384, 256, 256)
MEAN = (-0.030, -0.088, -0.188)
DEVIATION = (0.458, 0.448, 0.450)


class Blur(nn.Module):
    """Half the resolution through a 3x3 binomial filter, over edges reflected twice as wide as it needs."""

    kernel: Tensor

    def __init__(self) -> None:
        super().__init__()
        row = torch.tensor([0.25, 0.5, 0.25])
        self.register_buffer("kernel", torch.outer(row, row)[None, None], persistent=False)

    def forward(self, features: Tensor) -> Tensor:
        channels = features.shape[1]
        padded = functional.pad(features, (2, 2, 2, 2), mode="reflect")
        return functional.conv2d(padded, self.kernel.expand(channels, 1, 3, 3), stride=2, groups=channels)


class ShiftTolerantLpips(nn.Module):
    """Perceptual distance of images [B, 3, H, W] in -1 to 1 -> [B]; at least 21 pixels a side.

    Source: A. Ghildyal and F. Liu, "Shift-tolerant Perceptual Similarity Metric", ECCV 2022, on LPIPS of R. Zhang
    et al., "The Unreasonable Effectiveness of Deep Features as a Perceptual Metric", CVPR 2018.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(MEAN).reshape(3, 1, 1), persistent=False)
        self.register_buffer("deviation", torch.tensor(DEVIATION).reshape(3, 1, 1), persistent=False)
        first, second, third, fourth, fifth = CHANNELS
        self.stages = nn.ModuleList(
            (
                nn.Sequential(nn.Conv2d(3, first, 11, padding=2), Blur(), nn.ReLU()),
                nn.Sequential(nn.MaxPool2d(3, 1), Blur(), nn.Conv2d(first, second, 5, padding=2), nn.ReLU()),
                nn.Sequential(nn.MaxPool2d(3, 1), Blur(), nn.Conv2d(second, third, 3, padding=1), nn.ReLU()),
                nn.Sequential(nn.Conv2d(third, fourth, 3, padding=1), nn.ReLU()),
                nn.Sequential(nn.Conv2d(fourth, fifth, 3, padding=1), nn.ReLU()),
            )
        )
        self.weights = nn.ParameterList(torch.zeros(channels) for channels in CHANNELS)

    @property
    def config(self) -> dict[str, Any]:
        """What makes an equal network: it has no choices."""
        return {}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """A network of `config`."""
        return cls(**config)

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        features = torch.cat([a, b]).sub(self.mean).div(self.deviation)
        distance = features.new_zeros(len(a))
        for stage, weight in zip(self.stages, self.weights, strict=True):
            features = stage(features)
            unit = features / (features.norm(dim=1, keepdim=True) + 1e-10)
            squares = (unit[: len(a)] - unit[len(a) :]).square()
            distance = distance + torch.einsum("bchw,c->bhw", squares, weight).mean(dim=(1, 2))
        return distance
