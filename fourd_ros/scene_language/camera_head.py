"""From the camera token of every frame to its pose and field of view."""

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.functional import layer_norm, relu

from fourd_ros.scene_language.attention import Block, EarlierFrames, Look, Mlp, Remembered
from fourd_ros.scene_language.pose_encoding import ENCODING, FIELD_OF_VIEW
from fourd_ros.scene_language.sizes import GeometrySizes
from fourd_ros.scene_language.token_cache import LayerCache

EPS, MODULATED_EPS, SCALE, RATIO = 1e-5, 1e-6, 0.01, 4.0


class CameraHead(nn.Module):
    """A pose that is refined several times; names of weights are those of the published files.

    Args:
        sizes: of the network.
    """

    def __init__(self, sizes: GeometrySizes) -> None:
        super().__init__()
        channels = 2 * sizes.embed_dim
        self.iterations = sizes.camera_iterations
        self.trunk = nn.ModuleList(
            Block(channels, sizes.camera_heads, RATIO, normed=False, eps=EPS, scale=SCALE)
            for _ in range(sizes.camera_depth)
        )
        self.token_norm, self.trunk_norm = (nn.LayerNorm(channels, eps=EPS) for _ in range(2))
        self.empty_pose_tokens = nn.Parameter(torch.zeros(1, 1, ENCODING))
        self.embed_pose = nn.Linear(ENCODING, channels)
        self.poseLN_modulation = nn.Sequential(nn.SiLU(), nn.Linear(channels, 3 * channels))
        self.pose_branch = Mlp(channels, channels // 2, ENCODING)

    def forward(self, tokens: Tensor) -> Tensor:
        """Of all frames of clips at once, each looking at earlier ones only.

        Args:
            tokens: of cameras, shape [B, S, D].

        Returns:
            Encodings of poses after each iteration, shape [iterations, B, S, 9]; see `pose_encoding`.
        """
        return self.refined(tokens, [[EarlierFrames(1)] * len(self.trunk)] * self.iterations)

    def step(self, tokens: Tensor, *, caches: Sequence[Sequence[LayerCache]]) -> Tensor:
        """Of the next frame of streams.

        Args:
            tokens: shape [B, 1, D].
            caches: by iteration and block of the trunk. With caches of its own for each iteration this gives what
                `forward` gives; the original has the same for all iterations.

        Returns:
            Shape [iterations, B, 1, 9].
        """
        return self.refined(tokens, [[Remembered(cache) for cache in blocks] for blocks in caches])

    def refined(self, tokens: Tensor, looks: Sequence[Sequence[Look]]) -> Tensor:
        """The same where blocks of the trunk look as they are told, by iteration and block."""
        tokens = self.token_norm(tokens)
        plain = layer_norm(tokens, tokens.shape[-1:], eps=MODULATED_EPS)
        pose = self.empty_pose_tokens.expand(*tokens.shape[:2], -1)
        made = []
        for iteration, blocks in enumerate(looks):
            shift, scale, gate = self.poseLN_modulation(self.embed_pose(pose)).chunk(3, dim=-1)
            inner = gate * (plain * (1 + scale) + shift) + tokens
            for block, look in zip(self.trunk, blocks, strict=True):
                inner = block(inner, look=look)
            change = cast(Tensor, self.pose_branch(self.trunk_norm(inner)))
            pose = change if iteration == 0 else pose + change
            made.append(_activated(pose))
        return torch.stack(made)


def _activated(pose: Tensor) -> Tensor:
    """No field of view is negative."""
    return torch.cat([pose[..., : FIELD_OF_VIEW.start], relu(pose[..., FIELD_OF_VIEW])], dim=-1)
