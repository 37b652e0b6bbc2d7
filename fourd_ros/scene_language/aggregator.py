"""The geometry transformer: patches of frames look at their own frame and at earlier ones, in turn."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from fourd_ros.errors import InvalidImage
from fourd_ros.scene_language.attention import Block, EarlierFrames, Look, Remembered
from fourd_ros.scene_language.learned_tokens import learned_tokens
from fourd_ros.scene_language.patch_tokens import PatchTokens
from fourd_ros.scene_language.rotary import Rotation, patch_positions
from fourd_ros.scene_language.sizes import GeometrySizes
from fourd_ros.scene_language.token_cache import LayerCache

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
EPS, SCALE = 1e-5, 0.01


@dataclass(frozen=True, kw_only=True, eq=False)
class FrameTokens:
    """What the transformer says about S frames.

    Args:
        layers: tokens by layer, those of its frame block beside those of its global block, shape [B, S, P, 2 C].
        camera: the first token of the last layer, which the camera head reads, shape [B, S, 2 C].
        special: tokens before those of patches.
        image_size: rows and columns of the images [px].
    """

    layers: Mapping[int, Tensor]
    camera: Tensor
    special: int
    image_size: tuple[int, int]

    def frames(self, chosen: slice) -> "FrameTokens":
        """Of some of the frames."""
        return FrameTokens(
            layers={layer: tokens[:, chosen] for layer, tokens in self.layers.items()},
            camera=self.camera[:, chosen],
            special=self.special,
            image_size=self.image_size,
        )


class Aggregator(nn.Module):
    """Frame blocks and global blocks by turns; names of weights are those of the published files.

    A frame never looks at later ones, so frames one by one with a cache give what all at once give.

    Args:
        sizes: of the network.
    """

    _mean: Tensor
    _std: Tensor

    def __init__(self, sizes: GeometrySizes) -> None:
        super().__init__()
        self._sizes, channels = sizes, sizes.embed_dim
        self.patch_embed = PatchTokens(sizes)
        self.camera_token = learned_tokens(1, 2, 1, channels)
        self.register_token = learned_tokens(1, 2, sizes.register_tokens, channels)
        self.frame_blocks, self.global_blocks = (
            nn.ModuleList(
                Block(channels, sizes.num_heads, sizes.mlp_ratio, normed=True, eps=EPS, scale=SCALE)
                for _ in range(sizes.depth)
            )
            for _ in range(2)
        )
        self.register_buffer("_mean", torch.tensor(MEAN).view(3, 1, 1), persistent=False)
        self.register_buffer("_std", torch.tensor(STD).view(3, 1, 1), persistent=False)

    def forward(self, images: Tensor, *, layers: Collection[int]) -> FrameTokens:
        """All frames of clips at once.

        Args:
            images: 0..1, shape [B, S, 3, H, W].
            layers: whose tokens are kept.

        Raises:
            InvalidImage: another shape, or smaller than a patch.
        """
        tokens = self._tokens(images, first=True)
        return self._run(tokens, images, [EarlierFrames(tokens.shape[2])] * self._sizes.depth, layers)

    def step(
        self, images: Tensor, *, caches: Sequence[LayerCache], first: bool, layers: Collection[int]
    ) -> FrameTokens:
        """The next frame of streams.

        Args:
            images: 0..1, shape [B, 3, H, W].
            caches: of every global block; they remember this frame then. They are not settled.
            first: whether the streams begin with it.
            layers: whose tokens are kept.

        Returns:
            Tokens of one frame, S = 1.

        Raises:
            InvalidImage: another shape than that of the frames before, or smaller than a patch.
        """
        return self.look(images, looks=[Remembered(cache) for cache in caches], first=first, layers=layers)

    def look(
        self, images: Tensor, *, looks: Sequence[Look], first: bool | Tensor, layers: Collection[int]
    ) -> FrameTokens:
        """The next frame of streams, whose global blocks look as they are told.

        Args:
            images: 0..1, shape [B, 3, H, W].
            looks: of every global block.
            first: whether the streams begin with it; as a tensor where one graph has to do for both.
            layers: whose tokens are kept.

        Returns:
            Tokens of one frame, S = 1.

        Raises:
            InvalidImage: another shape, or smaller than a patch.
        """
        return self._run(self._tokens(images[:, None], first=first), images, looks, layers)

    def _tokens(self, images: Tensor, *, first: bool | Tensor) -> Tensor:
        """Camera token, registers and patches of frames, shape [B, S, P, C]."""
        if images.ndim != 5 or images.shape[2] != 3 or min(images.shape[-2:]) < self._sizes.patch_size:
            raise InvalidImage(
                f"images {list(images.shape)}; needed are [B, S, 3, H, W] of {self._sizes.patch_size} pixels or more"
            )
        batch, frames = images.shape[:2]
        normal = ((images - self._mean) / self._std).to(self.camera_token.dtype)
        patches = self.patch_embed(normal.flatten(0, 1)).unflatten(0, (batch, frames))
        special = torch.cat([self.camera_token, self.register_token], dim=2)
        begin = special[:, :1]
        if isinstance(first, Tensor):
            begin = torch.where(first, begin, special[:, 1:])
        elif not first:
            begin = special[:, 1:]
        later = special[:, 1:].expand(-1, frames - 1, -1, -1)
        return torch.cat([torch.cat([begin, later], dim=1).expand(batch, -1, -1, -1), patches], dim=2)

    def _run(self, tokens: Tensor, images: Tensor, looks: Sequence[Look], layers: Collection[int]) -> FrameTokens:
        batch, frames, count = tokens.shape[:3]
        height, width = images.shape[-2:]
        special = 1 + self._sizes.register_tokens
        rotation = self._rotation(height, width, special, tokens.device)
        repeated = rotation.repeated(frames)
        kept: dict[int, Tensor] = {}
        own = whole = tokens
        for layer, (frame_block, global_block) in enumerate(zip(self.frame_blocks, self.global_blocks, strict=True)):
            own = frame_block(whole.reshape(batch * frames, count, -1), rotation=rotation)
            own = own.view(batch, frames, count, -1)
            whole = global_block(own.flatten(1, 2), look=looks[layer], rotation=repeated)
            whole = whole.view(batch, frames, count, -1)
            if layer in layers:
                kept[layer] = torch.cat([own, whole], dim=-1)
        camera = torch.cat([own[:, :, 0], whole[:, :, 0]], dim=-1)
        return FrameTokens(layers=kept, camera=camera, special=special, image_size=(height, width))

    def _rotation(self, height: int, width: int, special: int, device: torch.device) -> Rotation:
        sizes = self._sizes
        places = patch_positions(height // sizes.patch_size, width // sizes.patch_size, special=special, device=device)
        channels = sizes.embed_dim // sizes.num_heads
        return Rotation.of(places, channels=channels, frequency=sizes.rope_frequency)
