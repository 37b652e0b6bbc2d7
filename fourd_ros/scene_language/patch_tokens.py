"""Tokens of the patches of an image: DINOv2 with registers (Oquab et al. 2023, Darcet et al. 2023)."""

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from fourd_ros.scene_language.attention import Block
from fourd_ros.scene_language.learned_tokens import learned_tokens
from fourd_ros.scene_language.sizes import GeometrySizes

EPS = 1e-6


class Patches(nn.Module):
    """A linear map of every patch."""

    def __init__(self, patch_size: int, channels: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, channels, patch_size, patch_size)

    def forward(self, images: Tensor) -> Tensor:
        out: Tensor = self.proj(images).flatten(2).transpose(1, 2)
        return out


class PatchTokens(nn.Module):
    """Names of weights are those of the published files, the unused `mask_token` among them.

    Args:
        sizes: of the network.
    """

    def __init__(self, sizes: GeometrySizes) -> None:
        super().__init__()
        channels, self._side = sizes.embed_dim, sizes.img_size // sizes.patch_size
        self._patch_size = sizes.patch_size
        self.cls_token = nn.Parameter(torch.zeros(1, 1, channels))
        self.pos_embed = learned_tokens(1, 1 + self._side**2, channels)
        self.register_tokens = nn.Parameter(torch.zeros(1, sizes.register_tokens, channels))
        self.mask_token = nn.Parameter(torch.zeros(1, channels))
        self.patch_embed = Patches(sizes.patch_size, channels)
        self.blocks = nn.ModuleList(
            Block(channels, sizes.vit_heads, sizes.vit_mlp_ratio, normed=False, eps=EPS, scale=1.0)
            for _ in range(sizes.vit_depth)
        )
        self.norm = nn.LayerNorm(channels, eps=EPS)

    def forward(self, images: Tensor) -> Tensor:
        """Tokens of the patches, row by row.

        Args:
            images: normalised, shape [B, 3, H, W]; pixels beyond whole patches are not seen.

        Returns:
            Shape [B, (H // 14) * (W // 14), C].
        """
        return self.everything(images)[:, 1 + self.register_tokens.shape[1] :]

    def everything(self, images: Tensor) -> Tensor:
        """The same with the class token and the registers before them."""
        tokens = self.before_blocks(images)
        for block in self.blocks:
            tokens = block(tokens)
        return cast(Tensor, self.norm(tokens))

    def before_blocks(self, images: Tensor) -> Tensor:
        """Class token, registers and patches with their positions."""
        count, (rows, columns) = len(images), (side // self._patch_size for side in images.shape[-2:])
        patches = torch.cat([self.cls_token.expand(count, -1, -1), self.patch_embed(images)], dim=1)
        placed = patches + self.positions(rows, columns)
        return torch.cat([placed[:, :1], self.register_tokens.expand(count, -1, -1), placed[:, 1:]], dim=1)

    def positions(self, rows: int, columns: int) -> Tensor:
        """Embedding of the class token and of a grid of patches, shape [1, 1 + rows * columns, C]."""
        if rows == columns == self._side:
            return self.pos_embed
        grid = torch.unflatten(self.pos_embed[:, 1:].float(), 1, (self._side, self._side)).permute(0, 3, 1, 2)
        resized = interpolate(grid, size=(rows, columns), mode="bicubic", align_corners=False, antialias=True)
        rest = resized.flatten(2).transpose(1, 2).to(self.pos_embed.dtype)
        return torch.cat([self.pos_embed[:, :1], rest], dim=1)
