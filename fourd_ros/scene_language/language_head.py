"""The language head of 4DLangVGGT: tokens of frames -> language features at three granularities, and colours again."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from fourd_ros.scene_language.aggregator import FrameTokens
from fourd_ros.scene_language.dense_head import DenseHead
from fourd_ros.scene_language.sizes import LanguageSizes
from fourd_ros.scene_language.unet import Decoder, Encoder

GRANULARITIES = ("small", "middle", "large")
COLOURS = 3


@dataclass(frozen=True, kw_only=True, eq=False)
class LanguageMaps:
    """What the head says about S frames.

    Args:
        features: of `GRANULARITIES`, shape [B, S, 3, lang_dim, H, W].
        colours: 0..1, shape [B, S, 3, H, W].
    """

    features: Tensor
    colours: Tensor


class LanguageHead(nn.Module):
    """Names of weights are those of the published files.

    Args:
        sizes: of the head.
    """

    def __init__(self, sizes: LanguageSizes) -> None:
        super().__init__()
        self.sizes, hidden = sizes, sizes.hidden_dim
        self.feature_extractor = DenseHead(
            dim_in=sizes.dim_in,
            patch_size=sizes.patch_size,
            features=sizes.features,
            channels=sizes.dpt_channels,
            layers=sizes.dpt_layers,
            outputs=None,
        )
        self.lang_encoder, self.rgb_encoder = (Encoder(sizes.features, hidden) for _ in range(2))
        for name in GRANULARITIES:
            self.add_module(f"lang_decoder_{name}", Decoder(hidden, sizes.lang_dim))
        self.rgb_decoder = nn.Sequential(Decoder(hidden, COLOURS))

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """The head of a ``config.json``; see `Sizes.from_config` for the errors."""
        return cls(LanguageSizes.from_config(config))

    @property
    def config(self) -> dict[str, Any]:
        """What `from_config` makes an equal head of."""
        return self.sizes.config

    def forward(self, tokens: FrameTokens, *, size: tuple[int, int] | None = None) -> LanguageMaps:
        """Maps of frames.

        Args:
            tokens: of the geometry network.
            size: rows and columns of the maps; None for those of whole patches.
        """
        shared = self.feature_extractor(tokens)
        batch, frames = shared.shape[:2]
        flat = shared.flatten(0, 1)
        levels = self.lang_encoder(flat)
        language = torch.stack([self.get_submodule(f"lang_decoder_{name}")(levels) for name in GRANULARITIES], dim=1)
        colours = self.rgb_decoder(self.rgb_encoder(flat)).sigmoid()
        sized = _resized(language.flatten(1, 2), size)
        return LanguageMaps(
            features=sized.view(batch, frames, *language.shape[1:3], *sized.shape[-2:]),
            colours=torch.unflatten(_resized(colours, size), 0, (batch, frames)),
        )


def _resized(maps: Tensor, size: tuple[int, int] | None) -> Tensor:
    if size is None or maps.shape[-2:] == size:
        return maps
    return interpolate(maps, size=size, mode="bilinear", align_corners=False)
