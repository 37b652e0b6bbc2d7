"""The original LPIPS over a VGG16: a loss for training, where its weights are at hand; they are not shipped."""

from collections.abc import Mapping
from typing import Any, Self

import torch
from torch import Tensor, nn

from fourd_ros.evaluation.lpips_network import DEVIATION, MEAN

CHANNELS = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))
"""Of the convolutions before each of the five places that are compared."""


class _Head(nn.Module):
    """A weight for each channel; the dropout before it is off where distances are measured."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.model = nn.Sequential(nn.Dropout(), nn.Conv2d(channels, 1, 1, bias=False))

    def forward(self, squares: Tensor) -> Tensor:
        weighted: Tensor = self.model(squares)
        return weighted


class VggLpips(nn.Module):
    """Perceptual distance of images in -1 to 1; names of weights are those of the published files.

    Source: R. Zhang et al., "The Unreasonable Effectiveness of Deep Features as a Perceptual Metric", CVPR 2018.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(MEAN).reshape(3, 1, 1), persistent=False)
        self.register_buffer("deviation", torch.tensor(DEVIATION).reshape(3, 1, 1), persistent=False)
        self.net = nn.ModuleDict(dict(_slices()))
        for number, channels in enumerate(CHANNELS):
            self.add_module(f"lin{number}", _Head(channels[-1]))

    @property
    def config(self) -> dict[str, Any]:
        """What makes an equal network: it has no choices."""
        return {}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """A network of `config`."""
        return cls(**config)

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """Images [B, 3, H, W] -> [B]."""
        return self.layers(a, b).sum(dim=1)

    def layers(self, a: Tensor, b: Tensor) -> Tensor:
        """The distance at each of the five places, shape [B, 5]."""
        features = torch.cat([a, b]).sub(self.mean).div(self.deviation)
        distances = []
        for number, part in enumerate(self.net.values()):
            features = part(features)
            unit = features / (features.norm(dim=1, keepdim=True) + 1e-10)
            squares = (unit[: len(a)] - unit[len(a) :]).square()
            distances.append(getattr(self, f"lin{number}")(squares).mean(dim=(1, 2, 3)))
        return torch.stack(distances, dim=1)


def _slices() -> "list[tuple[str, nn.Sequential]]":
    """Parts of VGG16 up to relu1_2, 2_2, 3_3, 4_3, 5_3; their layers are numbered through."""
    parts, place, channels = [], 0, 3
    for number, widths in enumerate(CHANNELS, 1):
        part = nn.Sequential()
        if number > 1:
            part.add_module(str(place), nn.MaxPool2d(2, 2))
            place += 1
        for width in widths:
            part.add_module(str(place), nn.Conv2d(channels, width, 3, padding=1))
            part.add_module(str(place + 1), nn.ReLU())
            place, channels = place + 2, width
        parts.append((f"slice{number}", part))
    return parts
