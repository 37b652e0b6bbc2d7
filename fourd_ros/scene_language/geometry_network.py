"""The geometry network: clips or streams of images -> poses, depth, points, tracks."""

from collections.abc import Mapping
from typing import Any, Self

from torch import Tensor, nn

from fourd_ros.scene_language.aggregator import Aggregator, FrameTokens
from fourd_ros.scene_language.camera_head import CameraHead
from fourd_ros.scene_language.dense_head import DenseHead
from fourd_ros.scene_language.sizes import GeometrySizes
from fourd_ros.scene_language.track_head import TrackHead


class GeometryNetwork(nn.Module):
    """StreamVGGT; names of weights are those of its published files. Heads that a configuration leaves out are None.

    Args:
        sizes: of the network.
    """

    def __init__(self, sizes: GeometrySizes) -> None:
        super().__init__()
        self.sizes = sizes
        self.aggregator = Aggregator(sizes)
        self.camera_head = CameraHead(sizes) if "camera" in sizes.heads else None
        self.point_head = _dense(sizes, outputs=4) if "point" in sizes.heads else None
        self.depth_head = _dense(sizes, outputs=2) if "depth" in sizes.heads else None
        self.track_head = TrackHead(sizes) if "track" in sizes.heads else None

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """The network of a ``config.json``; see `Sizes.from_config` for the errors."""
        return cls(GeometrySizes.from_config(config))

    @property
    def config(self) -> dict[str, Any]:
        """What `from_config` makes an equal network of."""
        return self.sizes.config

    @property
    def layers(self) -> frozenset[int]:
        """Those whose tokens a head reads."""
        return frozenset(self.sizes.dpt_layers)

    def forward(self, images: Tensor) -> FrameTokens:
        """Tokens of all frames of clips [B, S, 3, H, W], 0..1, for the heads; no frame looks at later ones."""
        tokens: FrameTokens = self.aggregator(images, layers=self.layers)
        return tokens


def _dense(sizes: GeometrySizes, *, outputs: int) -> DenseHead:
    return DenseHead(
        dim_in=2 * sizes.embed_dim,
        patch_size=sizes.patch_size,
        features=sizes.dpt_features,
        channels=sizes.dpt_channels,
        layers=sizes.dpt_layers,
        outputs=outputs,
    )
