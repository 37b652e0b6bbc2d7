"""The autoencoder of shapes: points of a surface <-> a few latent tokens <-> a field that is positive inside.

Source: TripoSG (arXiv 2502.06608), after 3DShape2VecSet (Zhang et al. 2023).
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, nn

from fourd_ros.compositional.attention import Attention, FeedForward
from fourd_ros.compositional.sizes import VaeSizes
from fourd_ros.errors import InvalidCloud, InvalidParameter

CANDIDATES = 4
"""Points that are drawn at random for each one that is kept."""

LOG_VARIANCES = (-30.0, 20.0)
CHUNK = 50_000
"""Places whose field is computed at once."""


@dataclass(frozen=True, kw_only=True)
class ShapePosterior:
    """What the encoder says about shapes.

    Args:
        mean: shape [B, T, C].
        log_variance: the same shape.
    """

    mean: Tensor
    log_variance: Tensor

    def sample(self, generator: torch.Generator | None = None) -> Tensor:
        """Latents drawn from it, shape [B, T, C]."""
        shape, mean = self.mean.shape, self.mean
        return self.at(torch.randn(shape, generator=generator, dtype=mean.dtype, device=mean.device))

    def at(self, noise: Tensor) -> Tensor:
        """Latents of a standard normal draw [B, T, C]."""
        return self.mean + torch.exp(self.log_variance / 2) * noise


class ShapeVae(nn.Module):
    """TripoSG's autoencoder; names of weights are those of its published files.

    Args:
        sizes: of the network.
    """

    def __init__(self, sizes: VaeSizes) -> None:
        super().__init__()
        self.sizes = sizes
        self.encoder, self.decoder = _Encoder(sizes), _Decoder(sizes)
        self.quant = nn.Linear(sizes.width_encoder, 2 * sizes.latent_channels)
        self.post_quant = nn.Linear(sizes.latent_channels, sizes.width_decoder)

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """The network of a ``config.json``; see `VaeSizes.from_config` for the errors."""
        return cls(VaeSizes.from_config(config))

    @property
    def config(self) -> dict[str, Any]:
        """What `from_config` makes an equal network of."""
        return self.sizes.config

    def encode(self, points: Tensor, *, tokens: int, rng: np.random.Generator) -> ShapePosterior:
        """Latents of surfaces.

        Args:
            points: positions and unit normals, shape [B, P, 6], in the cube [-1, 1].
            tokens: latent tokens of a shape.
            rng: draws which points may become tokens.

        Returns:
            Of shape [B, tokens, C].

        Raises:
            InvalidCloud: another shape, or no points.
        """
        if points.ndim != 3 or points.shape[2] != 6 or points.shape[1] == 0:
            raise InvalidCloud(f"points {list(points.shape)}; needed are positions and normals [B, P, 6], P at least 1")
        drawn = self.draw(points, tokens=tokens, rng=rng)
        return self.posterior(self.moments(self.point_features(drawn), self.point_features(points)))

    def draw(self, points: Tensor, *, tokens: int, rng: np.random.Generator) -> Tensor:
        """The points of surfaces that become tokens, far from each other, shape [B, tokens, 6].

        Raises:
            InvalidParameter: no token.
        """
        if tokens < 1:
            raise InvalidParameter(f"{tokens} tokens of a shape; at least one is needed")
        candidates = points[:, candidate_rows(points.shape[1], tokens=tokens, rng=rng).to(points.device)]
        chosen = farthest_points(candidates[..., :3], count=tokens)
        return torch.take_along_dim(candidates, chosen[..., None], dim=1)

    def point_features(self, points: Tensor) -> Tensor:
        """What the encoder is told of points and normals [B, P, 6], shape [B, P, E]."""
        waves = place_waves(points[..., :3], self.sizes)
        return torch.cat([waves, points[..., 3:]], dim=-1).to(self.quant.weight.dtype)

    def moments(self, queries: Tensor, seen: Tensor) -> Tensor:
        """Means and logarithms of variances [B, T, 2 C] of tokens that saw all points; features as `point_features`."""
        out: Tensor = self.quant(self.encoder(queries, seen))
        return out

    @staticmethod
    def posterior(moments: Tensor) -> ShapePosterior:
        """Of means and logarithms of variances [B, T, 2 C], which are kept within bounds."""
        mean, log_variance = moments.chunk(2, dim=-1)
        return ShapePosterior(mean=mean, log_variance=log_variance.clamp(*LOG_VARIANCES))

    def standardize_latents(self, mean: Tensor, spread: Tensor) -> None:
        """Measure latents from another origin and in another unit; what is encoded and decoded stays the same shape.

        A flow from standard normal noise is learned best to latents that have its mean and spread.

        Args:
            mean: that latents have now and lose, shape [C].
            spread: above 0, that becomes 1, shape [C].
        """
        channels = self.sizes.latent_channels
        with torch.no_grad():
            self.quant.weight[:channels] /= spread[:, None]
            self.quant.bias[:channels] = (self.quant.bias[:channels] - mean) / spread
            self.quant.bias[channels:] -= 2 * spread.log()
            self.post_quant.bias.add_(self.post_quant.weight @ mean)
            self.post_quant.weight *= spread

    def decode(self, latents: Tensor, *, chunk: int = CHUNK) -> "ShapeField":
        """The field of one shape, latents [T, C], computed for `chunk` places at once.

        What does not depend on the place is computed now.
        """
        return ShapeField(self, latents, chunk=chunk)

    def values(self, latents: Tensor, queries: Tensor) -> Tensor:
        """Fields of shapes at places, for training too.

        Args:
            latents: shape [B, T, C].
            queries: places, shape [B, Q, 3].

        Returns:
            Positive inside, 0 on the surface, shape [B, Q].
        """
        return self.values_of(self.shape_memory(latents), queries)

    def shape_tokens(self, latents: Tensor) -> Tensor:
        """Tokens of shapes that places look at, shape [B, T, width]."""
        return self.decoder.shape_tokens(self.post_quant(latents))

    def shape_memory(self, latents: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values [B, h, T, d] that places look at."""
        remembered: tuple[Tensor, Tensor] = self.decoder.look_block.remember(self.shape_tokens(latents))
        return remembered

    def values_of(self, memory: tuple[Tensor, Tensor], queries: Tensor) -> Tensor:
        """Fields [B, Q] at places [B, Q, 3] of shapes that were decoded."""
        waves = place_waves(queries, self.sizes).to(self.quant.weight.dtype)
        out: Tensor = -self.decoder(waves, *memory)[..., 0]
        return out


class ShapeField:
    """The field of one shape: positive inside, 0 on the surface.

    Args:
        vae: that decodes it.
        latents: shape [T, C].
        chunk: places that are computed at once.
    """

    def __init__(self, vae: ShapeVae, latents: Tensor, *, chunk: int) -> None:
        self._vae, self._chunk = vae, chunk
        with torch.inference_mode():
            self._memory = vae.shape_memory(latents[None])

    def __call__(self, queries: Tensor) -> Tensor:
        """Values [Q] at places [Q, 3], float32, on the device of the network."""
        device = self._memory[0].device
        with torch.inference_mode():
            parts = [
                self._vae.values_of(self._memory, part.to(device)[None])[0].float()
                for part in torch.split(queries, self._chunk)
            ]
        return torch.cat(parts) if parts else torch.zeros(0, device=device)


class _Encoder(nn.Module):
    """Tokens of some points look at all points, then at each other."""

    def __init__(self, sizes: VaeSizes) -> None:
        super().__init__()
        width, heads = sizes.width_encoder, sizes.num_attention_heads
        self.proj_in = nn.Linear(_waves(sizes) + 3, width)
        blocks = [_SelfBlock(width, heads) for _ in range(sizes.num_layers_encoder)]
        self.blocks = nn.ModuleList([_CrossBlock(width, heads), *blocks])
        self.norm_out = nn.LayerNorm(width)

    def forward(self, queries: Tensor, seen: Tensor) -> Tensor:
        look_block: Any = self.blocks[0]
        tokens = look_block(self.proj_in(queries), *look_block.remember(self.proj_in(seen)))
        for block in self.blocks[1:]:
            tokens = block(tokens)
        out: Tensor = self.norm_out(tokens)
        return out


class _Decoder(nn.Module):
    """Tokens of a shape look at each other; places look at them and at nothing else."""

    def __init__(self, sizes: VaeSizes) -> None:
        super().__init__()
        width, heads = sizes.width_decoder, sizes.num_attention_heads
        blocks = [_SelfBlock(width, heads) for _ in range(sizes.num_layers_decoder)]
        self.blocks = nn.ModuleList([*blocks, _CrossBlock(width, heads)])
        self.proj_query = nn.Linear(_waves(sizes), width)
        self.norm_out = nn.LayerNorm(width)
        self.proj_out = nn.Linear(width, 1)

    @property
    def look_block(self) -> Any:
        return self.blocks[-1]

    def shape_tokens(self, tokens: Tensor) -> Tensor:
        for block in self.blocks[:-1]:
            tokens = block(tokens)
        return tokens

    def forward(self, waves: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        out: Tensor = self.proj_out(self.norm_out(self.look_block(self.proj_query(waves), keys, values)))
        return out


class _SelfBlock(nn.Module):
    """Attention to each other and two layers, each normalised before."""

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.norm1, self.norm3 = nn.LayerNorm(channels), nn.LayerNorm(channels)
        self.attn1 = Attention(channels, heads, normed=False)
        self.ff = FeedForward(channels)

    def forward(self, tokens: Tensor) -> Tensor:
        tokens = tokens + self.attn1.within(self.norm1(tokens), None)
        out: Tensor = tokens + self.ff(self.norm3(tokens))
        return out


class _CrossBlock(nn.Module):
    """Attention to other tokens, which are normalised too, and two layers."""

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.norm2, self.norm3 = nn.LayerNorm(channels), nn.LayerNorm(channels)
        self.attn2 = _NormedAttention(channels, heads, normed=False)
        self.ff = FeedForward(channels)

    def remember(self, seen: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values of the tokens that will be looked at."""
        return self.attn2.remember(self.attn2.norm_cross(seen))

    def forward(self, tokens: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        tokens = tokens + self.attn2.at(self.norm2(tokens), keys, values)
        out: Tensor = tokens + self.ff(self.norm3(tokens))
        return out


class _NormedAttention(Attention):
    def __init__(self, channels: int, heads: int, *, normed: bool) -> None:
        super().__init__(channels, heads, normed=normed)
        self.norm_cross = nn.LayerNorm(channels)


def _waves(sizes: VaeSizes) -> int:
    return sizes.in_channels * (1 + 2 * sizes.embed_frequency)


def place_waves(places: Tensor, sizes: VaeSizes) -> Tensor:
    """Positions, and sines and cosines of them at several frequencies; shape [..., 3] -> [..., 3 + 6 n], float32."""
    places = places.float()
    rates = 2.0 ** torch.arange(sizes.embed_frequency, dtype=torch.float32, device=places.device)
    if sizes.embed_include_pi:
        rates = rates * math.pi
    angles = (places[..., None] * rates).flatten(-2)
    return torch.cat([places, angles.sin(), angles.cos()], dim=-1)


def candidate_rows(points: int, *, tokens: int, rng: np.random.Generator) -> Tensor:
    """Rows of points that may become tokens, the same for all shapes, int64; repeated only where there are too few."""
    count = CANDIDATES * tokens
    return torch.from_numpy(rng.choice(points, count, replace=points < count).astype(np.int64))


def farthest_points(positions: Tensor, *, count: int) -> Tensor:
    """Rows of points [B, P, 3], each as far as can be from those before it, from row 0 on; int64, shape [B, count].

    Of several equally far ones the first is taken.

    Source: Eldar et al. 1997, *The Farthest Point Strategy for Progressive Image Sampling*.
    """
    batch = torch.arange(len(positions), device=positions.device)
    chosen = torch.zeros(len(positions), count, dtype=torch.long, device=positions.device)
    nearest = torch.full(positions.shape[:2], math.inf, device=positions.device)
    for number in range(1, count):
        last = positions[batch, chosen[:, number - 1]]
        nearest = torch.minimum(nearest, (positions - last[:, None]).square().sum(dim=-1))
        chosen[:, number] = nearest.argmax(dim=1)
    return chosen
