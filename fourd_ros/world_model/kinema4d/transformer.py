"""The network: noisy latents and what is known of robot and scene -> their velocity along the flow."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple, Self

import torch
from diffusers.models.embeddings import TimestepEmbedding, Timesteps
from diffusers.models.normalization import FP32LayerNorm
from diffusers.models.transformers.transformer_wan import WanImageEmbedding
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from fourd_ros.errors import InvalidImage, InvalidModel
from fourd_ros.world_model.kinema4d.blocks import MODULATIONS, Block, CrossLookup, modulated, modulations
from fourd_ros.world_model.kinema4d.layout import (
    CONDITION_CHANNELS,
    INPUT_CHANNELS,
    LATENT_CHANNELS,
    MASK_CHANNELS,
    PATCH,
    Grid,
    Variant,
)
from fourd_ros.world_model.kinema4d.rotary import rotary_table

ROBOT_LAYER_NORM_EPS = 1e-5


@dataclass(frozen=True, kw_only=True)
class TransformerConfig:
    """Size of the network; the defaults are those of the published one.

    Args:
        variant: what of the robot it is shown.
        num_attention_heads: of every attention.
        attention_head_dim: channels of a head, and of the robot's tokens before they are projected.
        num_layers: blocks.
        ffn_dim: channels of the perceptrons.
        freq_dim: channels in which the time of the flow is told.
        image_dim: channels of the tokens of the first frame.
        eps: of the norms.
        rope_max_seq_len: longest side of a video, in tokens.
        frames, rows, columns: grid of latents (of one modality) that the places of the robot's tokens were learned for.
        robot_patch: rows and columns of latents that make one token of the robot.

    Raises:
        InvalidModel: the robot's patches do not fill the grid, or a number is not positive.
    """

    variant: Variant = Variant.ACT
    num_attention_heads: int = 40
    attention_head_dim: int = 128
    num_layers: int = 40
    ffn_dim: int = 13824
    freq_dim: int = 256
    image_dim: int = 1280
    eps: float = 1e-6
    rope_max_seq_len: int = 1024
    frames: int = 13
    rows: int = 60
    columns: int = 90
    robot_patch: tuple[int, int] = (15, 15)

    def __post_init__(self) -> None:
        object.__setattr__(self, "variant", Variant(self.variant))
        object.__setattr__(self, "robot_patch", tuple(self.robot_patch))
        if self.rows % self.robot_patch[0] or self.columns % self.robot_patch[1]:
            raise InvalidModel(
                f"patches of the robot of {self.robot_patch} latents do not fill {self.rows} x {self.columns}"
            )
        if self.attention_head_dim % 2 or self.freq_dim % 2:
            raise InvalidModel(
                f"attention_head_dim {self.attention_head_dim} and freq_dim {self.freq_dim}; needed are even numbers"
            )

    @property
    def dim(self) -> int:
        """Channels of a token."""
        return self.num_attention_heads * self.attention_head_dim

    @property
    def grid(self) -> Grid:
        """Latents that it was trained with."""
        return Grid(frames=self.frames, rows=self.rows, columns=self.columns)

    @property
    def robot_grid(self) -> tuple[int, int, int]:
        """Frames, rows and columns of the robot's tokens, of one modality."""
        return self.frames, self.rows // self.robot_patch[0], self.columns // self.robot_patch[1]


class Clip(NamedTuple):
    """What is known of one clip, and stays the same at all steps of its flow.

    Args:
        rotary: phasors of the tokens, shape [N, head_dim / 2], complex64.
        lookups: what each block looks up.
    """

    rotary: Tensor
    lookups: tuple[CrossLookup, ...]


class _ConditionEmbedder(nn.Module):
    """Wan's embeddings without that of the text, which has no effect."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.sinusoids = Timesteps(config.freq_dim, flip_sin_to_cos=True, downscale_freq_shift=0)
        self.time_embedder = TimestepEmbedding(config.freq_dim, config.dim)
        self.time_proj = nn.Linear(config.dim, MODULATIONS * config.dim)
        self.image_embedder = WanImageEmbedding(config.image_dim, config.dim)

    def time(self, timestep: Tensor) -> tuple[Tensor, Tensor]:
        """Times 0..1000, shape [B] (never in half precision) -> shapes [B, D] and [B, 6, D]."""
        wanted = self.time_embedder.linear_1.weight.dtype
        embedded = self.time_embedder(self.sinusoids(timestep).to(wanted)).to(self.time_proj.weight.dtype)
        return embedded, self.time_proj(functional.silu(embedded)).unflatten(1, (MODULATIONS, -1))


class Kinema4DTransformer(nn.Module):
    """Velocity of noisy latents of colour and geometry, given the robot's motion and the first frame.

    Names of weights are those of the published files.

    Args:
        config: sizes.
    """

    _keep_in_fp32_modules = ("time_embedder", "scale_shift_table", "norm1", "norm2", "norm3")

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.settings = config
        dim, robot_dim = config.dim, config.attention_head_dim
        self.patch_embedding = nn.Conv3d(INPUT_CHANNELS, dim, (1, PATCH, PATCH), stride=(1, PATCH, PATCH))
        self.condition_embedder = _ConditionEmbedder(config)
        self.blocks = nn.ModuleList(
            Block(dim=dim, heads=config.num_attention_heads, ffn_dim=config.ffn_dim, eps=config.eps)
            for _ in range(config.num_layers)
        )
        self.norm_out = FP32LayerNorm(dim, config.eps, elementwise_affine=False)
        self.proj_out = nn.Linear(dim, LATENT_CHANNELS * PATCH * PATCH)
        self.scale_shift_table = nn.Parameter(torch.randn(1, 2, dim) / dim**0.5)
        self.learnable_domain_embeddings = nn.Parameter(torch.zeros(2, dim))
        window = (1, *config.robot_patch)
        self.patch_embedding_arm = nn.Conv3d(CONDITION_CHANNELS, robot_dim, window, stride=window)
        self.arm_ln = nn.LayerNorm(robot_dim, eps=ROBOT_LAYER_NORM_EPS)
        self.arm_pos_emb = nn.Parameter(torch.zeros(1, robot_dim, *config.robot_grid))
        if config.variant is Variant.ACT:
            self.arm_domain_emb = nn.Parameter(torch.zeros(2, robot_dim))
        self.arm_patch_proj = nn.Linear(robot_dim, dim)
        self.arm_cond_proj = nn.Linear(LATENT_CHANNELS, LATENT_CHANNELS)
        self._checkpointing = False

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """The network of a ``config.json``.

        Raises:
            InvalidModel: unknown names, or sizes that do not fit together.
        """
        try:
            return cls(TransformerConfig(**config))
        except (TypeError, ValueError) as error:
            raise InvalidModel(f"no configuration of {cls.__name__}: {error}") from error

    @property
    def config(self) -> dict[str, Any]:
        """What `from_config` makes an equal network of."""
        return {
            **vars(self.settings),
            "variant": str(self.settings.variant),
            "robot_patch": [*self.settings.robot_patch],
        }

    @property
    def dtype(self) -> torch.dtype:
        """In which it computes."""
        return self.proj_out.weight.dtype

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return self.proj_out.weight.device

    def enable_gradient_checkpointing(self) -> None:
        """Compute blocks again in the backward pass instead of keeping what they computed."""
        self._checkpointing = True

    def begin_robot_weights(self) -> None:
        """Give what the robot needs beyond Wan the values with which its training starts: no effect at all at first."""
        nn.init.xavier_uniform_(self.patch_embedding_arm.weight.flatten(1))
        nn.init.zeros_(self.patch_embedding_arm.bias)
        for places in (self.arm_pos_emb, getattr(self, "arm_domain_emb", None)):
            if places is not None:
                nn.init.trunc_normal_(places, std=0.02)
        for layer in (self.arm_patch_proj, self.arm_cond_proj):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def show_robot(self, condition: Tensor, robot: Tensor, *, times: int) -> Tensor:
        """The condition of the first frame with the robot in it.

        The original does it to its input in place and calls itself twice on the same tensor, so that the second pass of
        a guided step sees the robot's features twice.

        Args:
            condition: of the first frame, shape [B, 20, F, h, 2w].
            robot: mask and latents of the robot, shape [B, 20, F, h, 2w] or (`pmcond`) [B, 20, F, h, w].
            times: how often the robot's latents are added.

        Returns:
            Shape of `condition`, a copy.
        """
        frames, columns = slice(None), slice(condition.shape[-1] // 2, None)
        if self.settings.variant is Variant.ACT:
            frames, columns = slice(1, None), slice(None)
        robot = robot[:, :, slice(None) if self.settings.variant is Variant.PMCOND else frames]
        latents = robot[:, MASK_CHANNELS:].movedim(1, -1)
        added = self.arm_cond_proj(latents).movedim(-1, 1)
        kept = condition[:, MASK_CHANNELS:, frames, :, columns]
        for _ in range(times):
            kept = kept + added
        shown = condition.clone()
        shown[:, MASK_CHANNELS:, frames, :, columns] = kept
        shown[:, :MASK_CHANNELS, frames, :, columns] = robot[:, :MASK_CHANNELS].to(shown.dtype)
        return shown

    def robot_tokens(self, robot: Tensor) -> Tensor:
        """Tokens of the robot, which stand where Wan has those of the text.

        Args:
            robot: as of `show_robot`.

        Returns:
            Shape [B, tokens, D], in the order frame, row, column.

        Raises:
            InvalidImage: rows and columns are not those that the network was trained with.
        """
        tokens = functional.gelu(self.arm_ln(self.patch_embedding_arm(robot).movedim(1, -1)))
        places = self._robot_places(tokens.shape[1:4])
        if self.settings.variant is Variant.ACT:
            places = torch.cat([places + domain for domain in self.arm_domain_emb], dim=3)
        projected: Tensor = self.arm_patch_proj((tokens + places).flatten(1, 3))
        return projected

    def understand(self, robot: Tensor, image: Tensor) -> Clip:
        """What stays the same at all steps of a clip.

        Args:
            robot: as of `show_robot`.
            image: tokens of the first frame, shape [B, n, image_dim].
        """
        robot, image = robot.to(self.dtype), image.to(self.dtype)
        tokens, seen = self.robot_tokens(robot), self.condition_embedder.image_embedder(image)
        frames, rows, columns = robot.shape[-3:]
        columns = columns if self.settings.variant is Variant.ACT else 2 * columns
        return Clip(
            rotary=self._rotary(frames, rows // PATCH, columns // PATCH),
            lookups=tuple(block.attn2.lookup(tokens, seen) for block in self.blocks),
        )

    def forward(self, latents: Tensor, condition: Tensor, timestep: Tensor, clip: Clip) -> Tensor:
        """Velocity of latents.

        Args:
            latents: noisy, shape [B, 16, F, h, 2w].
            condition: with the robot in it, from `show_robot`, shape [B, 20, F, h, 2w].
            timestep: time of the flow, 0..1000, float32 or int64, shape [B].
            clip: from `understand`.

        Returns:
            Shape of `latents`, in the type of the weights.
        """
        patches = self.patch_embedding(torch.cat([latents.to(self.dtype), condition.to(self.dtype)], dim=1))
        grid = patches.shape[2:]
        tokens = self._in_domains(patches).flatten(2).transpose(1, 2)
        time, modulation = self.condition_embedder.time(timestep)
        for block, found in zip(self.blocks, clip.lookups, strict=True):
            if self._checkpointing and torch.is_grad_enabled():
                tokens = checkpoint(block, tokens, modulation, clip.rotary, found, use_reentrant=False)
            else:
                tokens = block(tokens, modulation, clip.rotary, found)
        shift, scale = modulations(self.scale_shift_table, time[:, None])
        out = self.proj_out(modulated(self.norm_out, tokens, shift, scale))
        return _as_latents(out, grid)

    def _in_domains(self, patches: Tensor) -> Tensor:
        """Add what tells the modalities apart to patches [B, D, F, rows, columns]."""
        columns = self.learnable_domain_embeddings.repeat_interleave(patches.shape[-1] // 2, dim=0)
        return (patches + columns.T[:, None, None]).type_as(patches)

    def _robot_places(self, grid: torch.Size) -> Tensor:
        """Shape [1, frames, rows, columns, head_dim], of one modality; a shorter clip has the first ones, a longer one
        has them spread evenly."""
        frames, rows, columns = self.settings.robot_grid
        halves = 2 if self.settings.variant is Variant.ACT else 1
        if (grid[1], grid[2]) != (rows, halves * columns):
            needed = f"{self.settings.rows} x {self.settings.columns}"
            raise InvalidImage(f"a robot of {grid[1]} x {grid[2]} tokens; the network was made for {needed} latents")
        places = self.arm_pos_emb
        if grid[0] > frames:
            size = (grid[0], rows, columns)
            places = functional.interpolate(places, size, mode="trilinear", align_corners=True)
        return places[:, :, : grid[0]].movedim(1, -1)

    def _rotary(self, frames: int, rows: int, columns: int) -> Tensor:
        longest = max(frames, rows, columns // 2)
        if longest > self.settings.rope_max_seq_len:
            raise InvalidImage(
                f"{frames} x {rows} x {columns // 2} tokens; at most {self.settings.rope_max_seq_len} along an axis"
            )
        return _rotary_on(self.device, frames, rows, columns, self.settings.attention_head_dim)


@lru_cache(maxsize=4)
def _rotary_on(device: torch.device, frames: int, rows: int, columns: int, head_dim: int) -> Tensor:
    with torch.inference_mode(False):  # what is kept may be met by a gradient later
        table = rotary_table(frames=frames, rows=rows, columns=columns, head_dim=head_dim)
        return table.to(device, torch.complex64)


def _as_latents(patches: Tensor, grid: torch.Size) -> Tensor:
    """[B, N, 2 * 2 * 16] -> [B, 16, F, h, 2w]."""
    frames, rows, columns = grid
    tiles = patches.unflatten(-1, (PATCH, PATCH, LATENT_CHANNELS)).unflatten(1, (frames, rows, columns))
    return tiles.permute(0, 6, 1, 2, 4, 3, 5).reshape(
        len(patches), LATENT_CHANNELS, frames, PATCH * rows, PATCH * columns
    )
