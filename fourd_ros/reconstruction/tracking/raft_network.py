"""RAFT: optical flow by looking up a field of correlations again and again.

Source: Z. Teed and J. Deng, "RAFT: Recurrent All-Pairs Field Transforms for Optical Flow", ECCV 2020. Names of weights
are those of its published checkpoints.
"""

from collections.abc import Mapping
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn import functional

STEP = 8
"""Features have this share of the resolution."""

LEVELS, RADIUS = 4, 4
HIDDEN = CONTEXT = 128
FEATURES = 256
STAGES = ((64, 1), (96, 2), (128, 2))
"""Channels and stride of the encoder's stages."""


class Residual(nn.Module):
    """Two convolutions beside a shortcut."""

    def __init__(self, channels_in: int, channels: int, stride: int, norm: type[nn.Module]) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, channels, 3, stride, padding=1)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)
        self.norm1, self.norm2 = norm(channels), norm(channels)
        self.downsample: nn.Sequential | None = None
        if stride != 1:
            self.downsample = nn.Sequential(nn.Conv2d(channels_in, channels, 1, stride), norm(channels))

    def forward(self, features: Tensor) -> Tensor:
        inner = torch.relu(self.norm1(self.conv1(features)))
        inner = torch.relu(self.norm2(self.conv2(inner)))
        beside = features if self.downsample is None else self.downsample(features)
        return torch.relu(beside + inner)


class Encoder(nn.Module):
    """Pictures [B, 3, H, W] -> features [B, 256, H / 8, W / 8]."""

    def __init__(self, norm: type[nn.Module]) -> None:
        super().__init__()
        first = STAGES[0][0]
        self.conv1 = nn.Conv2d(3, first, 7, 2, padding=3)
        self.norm1 = norm(first)
        channels_in = first
        for number, (channels, stride) in enumerate(STAGES, start=1):
            stage = nn.Sequential(Residual(channels_in, channels, stride, norm), Residual(channels, channels, 1, norm))
            self.add_module(f"layer{number}", stage)
            channels_in = channels
        self.conv2 = nn.Conv2d(channels_in, FEATURES, 1)

    def forward(self, pictures: Tensor) -> Tensor:
        features = torch.relu(self.norm1(self.conv1(pictures)))
        for number in range(1, len(STAGES) + 1):
            features = self.get_submodule(f"layer{number}")(features)
        return torch.as_tensor(self.conv2(features))


class MotionEncoder(nn.Module):
    """What correlations and the flow so far say, [B, 128, h, w]."""

    def __init__(self) -> None:
        super().__init__()
        self.convc1 = nn.Conv2d(LEVELS * (2 * RADIUS + 1) ** 2, 256, 1)
        self.convc2 = nn.Conv2d(256, 192, 3, padding=1)
        self.convf1 = nn.Conv2d(2, 128, 7, padding=3)
        self.convf2 = nn.Conv2d(128, 64, 3, padding=1)
        self.conv = nn.Conv2d(64 + 192, 128 - 2, 3, padding=1)

    def forward(self, flow: Tensor, correlation: Tensor) -> Tensor:
        of_correlation = torch.relu(self.convc2(torch.relu(self.convc1(correlation))))
        of_flow = torch.relu(self.convf2(torch.relu(self.convf1(flow))))
        return torch.cat([torch.relu(self.conv(torch.cat([of_correlation, of_flow], dim=1))), flow], dim=1)


class SeparableGru(nn.Module):
    """A gated unit whose convolutions go along rows, then along columns."""

    def __init__(self) -> None:
        super().__init__()
        for number, kernel in ((1, (1, 5)), (2, (5, 1))):
            for gate in "zrq":
                padding = (kernel[0] // 2, kernel[1] // 2)
                convolution = nn.Conv2d(HIDDEN + CONTEXT + 128, HIDDEN, kernel, padding=padding)
                self.add_module(f"conv{gate}{number}", convolution)

    def forward(self, hidden: Tensor, inputs: Tensor) -> Tensor:
        for number in (1, 2):
            z, r, q = (self.get_submodule(f"conv{gate}{number}") for gate in "zrq")
            both = torch.cat([hidden, inputs], dim=1)
            update, reset = torch.sigmoid(z(both)), torch.sigmoid(r(both))
            proposed = torch.tanh(q(torch.cat([reset * hidden, inputs], dim=1)))
            hidden = (1 - update) * hidden + update * proposed
        return hidden


class FlowHead(nn.Module):
    """A change of the flow, [B, 2, h, w]."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(HIDDEN, 256, 3, padding=1)
        self.conv2 = nn.Conv2d(256, 2, 3, padding=1)

    def forward(self, hidden: Tensor) -> Tensor:
        return torch.as_tensor(self.conv2(torch.relu(self.conv1(hidden))))


class UpdateBlock(nn.Module):
    """One round: new hidden state and what it changes in the flow."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = MotionEncoder()
        self.gru = SeparableGru()
        self.flow_head = FlowHead()
        self.mask = nn.Sequential(nn.Conv2d(HIDDEN, 256, 3, padding=1), nn.ReLU(), nn.Conv2d(256, STEP**2 * 9, 1))

    def forward(self, hidden: Tensor, context: Tensor, correlation: Tensor, flow: Tensor) -> tuple[Tensor, Tensor]:
        hidden = self.gru(hidden, torch.cat([context, self.encoder(flow, correlation)], dim=1))
        return hidden, self.flow_head(hidden)


class RaftNetwork(nn.Module):
    """Flow between pictures."""

    def __init__(self) -> None:
        super().__init__()
        self.fnet = Encoder(nn.InstanceNorm2d)
        self.cnet = Encoder(nn.BatchNorm2d)
        self.update_block = UpdateBlock()

    @property
    def config(self) -> dict[str, Any]:
        """What makes an equal network: it has no choices."""
        return {}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """A network of `config`."""
        return cls(**config)

    def forward(self, first: Tensor, second: Tensor, *, rounds: int) -> Tensor:
        """Flow from the first pictures to the second.

        Args:
            first: colour, -1 to 1, sides that `STEP` divides, at least 128 pixels, shape [B, 3, H, W].
            second: of the same shape.
            rounds: of looking up and improving.

        Returns:
            (dx, dy) [px], shape [B, 2, H, W].
        """
        of_first, of_second = self.fnet(torch.cat([first, second])).chunk(2)
        pyramid = _correlations(of_first, of_second)
        hidden, context = self.cnet(first).split([HIDDEN, CONTEXT], dim=1)
        hidden, context = torch.tanh(hidden), torch.relu(context)
        start = _grid(of_first)
        flow = torch.zeros_like(start)
        for _ in range(rounds):
            hidden, change = self.update_block(hidden, context, _looked_up(pyramid, start + flow), flow)
            flow = flow + change
        return _enlarged(flow, 0.25 * self.update_block.mask(hidden))


def _grid(features: Tensor) -> Tensor:
    """Pixel (x, y) of every feature, shape [B, 2, h, w]."""
    batch, _, height, width = features.shape
    y, x = torch.meshgrid(
        torch.arange(height, dtype=features.dtype, device=features.device),
        torch.arange(width, dtype=features.dtype, device=features.device),
        indexing="ij",
    )
    return torch.stack([x, y]).expand(batch, -1, -1, -1)


def _correlations(first: Tensor, second: Tensor) -> list[Tensor]:
    """Of every pixel of the first with all of the second, then with means of 2, 4 and 8: [B h w, 1, h / n, w / n]."""
    batch, channels, height, width = first.shape
    field = first.flatten(2).transpose(1, 2) @ second.flatten(2) / channels**0.5
    levels = [field.reshape(batch * height * width, 1, height, width)]
    for _ in range(LEVELS - 1):
        levels.append(functional.avg_pool2d(levels[-1], 2))
    return levels


def _looked_up(pyramid: list[Tensor], places: Tensor) -> Tensor:
    """Correlations around `places` [B, 2, h, w]; x goes slowly, y quickly: [B, levels (2 r + 1)^2, h, w]."""
    batch, _, height, width = places.shape
    offsets = torch.arange(-RADIUS, RADIUS + 1, dtype=places.dtype, device=places.device)
    window = torch.stack(torch.meshgrid(offsets, offsets, indexing="ij"), dim=-1)
    centres = places.permute(0, 2, 3, 1).reshape(-1, 1, 1, 2)
    found = []
    for level, field in enumerate(pyramid):
        size = torch.tensor([field.shape[3], field.shape[2]], dtype=places.dtype, device=places.device)
        at = 2 * (centres / 2**level + window) / (size - 1) - 1
        found.append(functional.grid_sample(field, at, align_corners=True).reshape(batch, height, width, -1))
    return torch.cat(found, dim=-1).permute(0, 3, 1, 2)


def _enlarged(flow: Tensor, weights: Tensor) -> Tensor:
    """Flow at full resolution: each pixel a mean of its 3 x 3 neighbours, weighted as told [B, 9 x 64, h, w]."""
    batch, _, height, width = flow.shape
    share = weights.reshape(batch, 1, 9, STEP, STEP, height, width).softmax(dim=2)
    around = functional.unfold(STEP * flow, 3, padding=1).reshape(batch, 2, 9, 1, 1, height, width)
    full = (share * around).sum(dim=2)
    return full.permute(0, 1, 4, 2, 5, 3).reshape(batch, 2, STEP * height, STEP * width)
