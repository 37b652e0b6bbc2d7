"""A small U-Net that weighs simple fills of the holes of a depth image against each other."""

import math
from collections.abc import Mapping
from itertools import pairwise
from typing import Any, NamedTuple, Self

import torch
from torch import Tensor, nn
from torch.nn import functional

from fourd_ros.depth_completion.completer import INPUTS, OUTPUTS, STRIDE
from fourd_ros.depth_completion.fills import FILLS, SOURCES
from fourd_ros.errors import InvalidModel
from fourd_ros.model_io.onnx_export import OnnxSignature

COLOURS = 3
PIXELS = 4
"""Of the image in one of the first level."""

PREFERENCE = 3.0
"""Of the first fill before training, as a logit."""

TAIL = 3.0
"""Errors follow a double Pareto distribution of this shape. Of its density, 3 / (2 s) (1 + |e| / s)^-4,
s is the standard deviation. Source: Armagan, Dunson and Lee 2013, *Generalized double Pareto shrinkage*."""

EXPECTED_LOG_SIGMA = -3.0
LEAST_LOG_SIGMA, GREATEST_LOG_SIGMA = -6.5, 2.0
"""Of the error of the logarithm of depth: 5 % before training, and the range of what can be said."""


class Opinion(NamedTuple):
    """What the network says about every pixel.

    Args:
        weights: of the fills, not negative, adding up to one, shape [B, K, H, W].
        correction: to be added to the weighted mean of the fills (logarithms of depth), shape [B, 1, H, W].
        log_sigma: logarithm of the standard deviation of the error of the sum, shape [B, 1, H, W].
    """

    weights: Tensor
    correction: Tensor
    log_sigma: Tensor

    def log_depth(self, fills: Tensor) -> Tensor:
        """The most probable logarithm of depth for `fills` [B, K, H, W], shape [B, 1, H, W]."""
        return (self.weights * fills).sum(dim=1, keepdim=True) + self.correction


class DepthCompletionNetwork(nn.Module):
    """Colour, fills, how far they were fetched and from what colour -> an `Opinion`.

    Depth comes as logarithms of depth over its median, so any metric range will do. A network that has not been
    trained mostly takes the first of the fills.

    Args:
        channels: features of every level; each has half the resolution of the one before, the first half of the image.
        fills: number of fills.

    Raises:
        InvalidModel: no levels, or so many that the resolution of the last needs more than a border of `STRIDE`.
    """

    def __init__(self, *, channels: tuple[int, ...] = (32, 48, 64, 96), fills: int = len(FILLS)) -> None:
        super().__init__()
        if not channels or 2 ** len(channels) > STRIDE:
            raise InvalidModel(f"{len(channels)} levels; needed are 1 to {int(math.log2(STRIDE))}")
        self.channels, self.fills = channels, fills
        pairs = list(pairwise(channels))
        self.stem = nn.Conv2d(COLOURS + fills + 2 * len(SOURCES), channels[0], 4, stride=2, padding=1)
        self.encoder = nn.ModuleList([Block(coarse) for _, coarse in pairs])
        self.down = nn.ModuleList([nn.Conv2d(fine, coarse, 2, stride=2) for fine, coarse in pairs])
        self.up = nn.ModuleList([nn.Conv2d(coarse, fine, 1) for fine, coarse in pairs])
        self.decoder = nn.ModuleList([Block(fine) for fine, _ in pairs])
        self.head = nn.Conv2d(channels[0], PIXELS * (fills + 2), 1)
        for convolution in self.modules():
            if isinstance(convolution, nn.Conv2d):
                nn.init.kaiming_normal_(convolution.weight, nonlinearity="relu")
                _zero(convolution.bias)
        for block in (*self.encoder, *self.decoder):
            assert isinstance(block, Block)
            _zero(block.second.weight)
        _zero(self.head.weight)
        with torch.no_grad():
            self._head_bias[:PIXELS] = PREFERENCE
        self.scale_errors(math.exp(EXPECTED_LOG_SIGMA))

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """The network of a ``config.json``."""
        return cls(channels=tuple(config["channels"]), fills=int(config["fills"]))

    @property
    def config(self) -> dict[str, Any]:
        """What `from_config` needs."""
        return {"channels": list(self.channels), "fills": self.fills}

    @torch.no_grad()
    def scale_errors(self, factor: float) -> None:
        """Multiply every deviation that the network will ever say, to calibrate them."""
        self._head_bias[-PIXELS:] += math.log(factor)

    @property
    def _head_bias(self) -> Tensor:
        assert self.head.bias is not None
        return self.head.bias

    def onnx_signature(self) -> OnnxSignature:
        """How it is called, for the export."""
        return OnnxSignature(
            inputs=self._example(height=64, width=96),
            outputs=OUTPUTS,
            sizes={name: {2: "height", 3: "width"} for name in INPUTS},
            others=(self._example(height=128, width=128),),
        )

    def _example(self, *, height: int, width: int) -> dict[str, Tensor]:
        numbers = torch.Generator().manual_seed(height)
        channels = (COLOURS, self.fills, len(SOURCES), len(SOURCES))
        images = (torch.rand(1, count, height, width, generator=numbers) for count in channels)
        return dict(zip(INPUTS, images, strict=True))

    def forward(self, colour: Tensor, fills: Tensor, closeness: Tensor, likeness: Tensor) -> Opinion:
        """Judge the fills.

        Args:
            colour: red, green, blue in 0..1, shape [B, 3, H, W].
            fills: logarithms of depth over the median depth, shape [B, K, H, W].
            closeness: 1 where depth is known, less the farther a source is, shape [B, S, H, W].
            likeness: 1 where depth is known, less the more the colour of a source differs, shape [B, S, H, W].

        Height and width are multiples of 2 to the number of levels.
        """
        x = self.stem(torch.cat([colour - 0.5, fills, closeness, likeness], dim=1))
        skips = []
        for down, block in zip(self.down, self.encoder, strict=True):
            skips.append(x)
            x = block(down(functional.relu(x)))
        for up, block in reversed(list(zip(self.up, self.decoder, strict=True))):
            x = block(functional.interpolate(up(x), scale_factor=2.0, mode="nearest") + skips.pop())
        pixels = functional.pixel_shuffle(self.head(functional.relu(x)), 2)
        weights, correction, log_sigma = torch.split(pixels, [self.fills, 1, 1], dim=1)
        return Opinion(weights.softmax(dim=1), correction, log_sigma.clamp(LEAST_LOG_SIGMA, GREATEST_LOG_SIGMA))


class Block(nn.Module):
    """Two convolutions beside a shortcut; the network makes it the identity before training."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Shape [B, C, H, W] as given."""
        change: Tensor = self.second(functional.relu(self.first(functional.relu(x))))
        return x + change


def _zero(parameter: Tensor | None) -> None:
    if parameter is not None:
        nn.init.zeros_(parameter)
