"""The autoencoder of features (4D LangSplat): vectors of a text-image space as a few numbers a pixel can hold."""

from collections.abc import Mapping
from itertools import pairwise
from typing import Any, Self, cast

from torch import Tensor, nn
from torch.nn.functional import normalize

from fourd_ros.scene_language.sizes import CodecSizes


class FeatureCodec(nn.Module):
    """Names of weights are those of the published files.

    Args:
        sizes: channels on the way.
    """

    def __init__(self, sizes: CodecSizes) -> None:
        super().__init__()
        self.sizes = sizes
        self.encoder = nn.Sequential(*_encoder(sizes.encoder))
        self.decoder = nn.Sequential(*_decoder(sizes.decoder))

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """The codec of a ``config.json``; see `Sizes.from_config` for the errors."""
        return cls(CodecSizes.from_config(config))

    @property
    def config(self) -> dict[str, Any]:
        """What `from_config` makes an equal codec of."""
        return self.sizes.config

    def encode(self, features: Tensor) -> Tensor:
        """Unit codes [N, c] of features [N, C]."""
        return normalize(cast(Tensor, self.encoder(features)), dim=-1)

    def decode(self, codes: Tensor) -> Tensor:
        """Unit features [*, C] of codes [*, c]."""
        return normalize(cast(Tensor, self.decoder(codes)), dim=-1)

    def forward(self, features: Tensor) -> Tensor:
        """Features [N, C] after both."""
        return self.decode(self.encode(features))


def _encoder(channels: tuple[int, ...]) -> list[nn.Module]:
    layers: list[nn.Module] = [nn.Linear(channels[0], channels[1])]
    for begin, end in pairwise(channels[1:]):
        layers += [nn.BatchNorm1d(begin), nn.ReLU(), nn.Linear(begin, end)]
    return layers


def _decoder(channels: tuple[int, ...]) -> list[nn.Module]:
    layers: list[nn.Module] = [nn.Linear(channels[0], channels[1])]
    for begin, end in pairwise(channels[1:]):
        layers += [nn.ReLU(), nn.Linear(begin, end)]
    return layers
