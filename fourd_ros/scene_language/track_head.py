"""Where points of the first frame are in the others: looked up in correlations again and again, after CoTracker.

The transformer over time sees all frames, so this is for clips, not for streams.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, grid_sample

from fourd_ros.errors import InvalidImage
from fourd_ros.scene_language.aggregator import FrameTokens
from fourd_ros.scene_language.attention import Mlp
from fourd_ros.scene_language.dense_head import DenseHead
from fourd_ros.scene_language.learned_tokens import learned_tokens
from fourd_ros.scene_language.place_waves import waves
from fourd_ros.scene_language.sizes import GeometrySizes
from fourd_ros.scene_language.track_transformer import TrackTransformer

FLOW_UNIT = 518.0
"""Pixels, whatever the size of the image."""

FLOW_WAVES, PLACE_BASE = 1000.0, 10000.0


@dataclass(frozen=True, kw_only=True, eq=False)
class PointTracks:
    """Tracks of N points.

    Args:
        places: (x, y) after each iteration [px], shape [iterations, B, S, N, 2].
        visible: probability that the point is seen, shape [B, S, N].
        confidence: 0..1, shape [B, S, N].
    """

    places: Tensor
    visible: Tensor
    confidence: Tensor


class Tracker(nn.Module):
    """Tracks in maps of features.

    Args:
        sizes: of the network.
    """

    def __init__(self, sizes: GeometrySizes) -> None:
        super().__init__()
        self._sizes, latent = sizes, sizes.track_features
        channels = 3 * latent + 4
        seen = sizes.track_levels * (2 * sizes.track_radius + 1) ** 2
        self.corr_mlp = Mlp(seen, sizes.track_hidden, latent)
        self.query_ref_token = learned_tokens(1, 2, channels, spread=1.0)
        self.updateformer = TrackTransformer(sizes, channels=channels, outputs=2 + latent)
        self.fmap_norm = nn.LayerNorm(latent)
        self.ffeat_norm = nn.GroupNorm(1, latent)
        self.ffeat_updater = nn.Sequential(nn.Linear(latent, latent), nn.GELU())
        self.vis_predictor, self.conf_predictor = (nn.Sequential(nn.Linear(latent, 1)) for _ in range(2))

    def forward(self, maps: Tensor, queries: Tensor) -> PointTracks:
        """Tracks in pixels of the image.

        Args:
            maps: features, shape [B, S, C, h, w].
            queries: (x, y) in the first frame [px of the image], shape [B, N, 2].
        """
        stride, frames = self._sizes.track_stride, maps.shape[1]
        maps = self.fmap_norm(maps.movedim(2, -1)).movedim(-1, 2)
        begin = queries / stride
        places = begin[:, None].expand(-1, frames, -1, -1)
        features = _sampled(maps[:, 0], begin)[:, None].expand(-1, frames, -1, -1)
        pyramid = self._pyramid(maps)
        fixed = self._place(begin, maps.shape[-2:])[:, :, None] + self._reference(frames)
        found = []
        for _ in range(self._sizes.track_iterations):
            change = self.updateformer(self._tokens(places, features, pyramid) + fixed).transpose(1, 2)
            features = features + self._feature_change(change[..., 2:])
            moved = places + change[..., :2]
            places = torch.cat([begin[:, None], moved[:, 1:]], dim=1)
            found.append(places * stride)
        return PointTracks(
            places=torch.stack(found),
            visible=self.vis_predictor(features)[..., 0].sigmoid(),
            confidence=self.conf_predictor(features)[..., 0].sigmoid(),
        )

    def _tokens(self, places: Tensor, features: Tensor, pyramid: list[Tensor]) -> Tensor:
        """What the transformer sees of every track and frame, shape [B, N, S, channels]."""
        flow = places - places[:, :1]
        share = flow / FLOW_UNIT
        seen = self.corr_mlp(self._correlations(places, features, pyramid))
        return torch.cat([_flow_waves(flow, features.shape[-1]), share, share, seen, features], dim=-1).transpose(1, 2)

    def _feature_change(self, change: Tensor) -> Tensor:
        out: Tensor = self.ffeat_updater(self.ffeat_norm(change.flatten(0, 2)).view_as(change))
        return out

    def _pyramid(self, maps: Tensor) -> list[Tensor]:
        levels = [maps]
        for _ in range(self._sizes.track_levels - 1):
            levels.append(torch.unflatten(avg_pool2d(levels[-1].flatten(0, 1), 2), 0, maps.shape[:2]))
        return levels

    def _correlations(self, places: Tensor, features: Tensor, pyramid: list[Tensor]) -> Tensor:
        """Around places [B, S, N, 2] of features [B, S, N, C]; x goes slowly, y quickly: [B, S, N, levels * window]."""
        batch, frames, points, channels = features.shape
        radius = self._sizes.track_radius
        steps = torch.arange(-radius, radius + 1, dtype=places.dtype, device=places.device)
        window = torch.stack(torch.meshgrid(steps, steps, indexing="ij"), dim=-1)
        found = []
        for level, maps in enumerate(pyramid):
            fields = torch.einsum("bsnc,bschw->bsnhw", features, maps) / channels**0.5
            at = places[..., None, None, :] / 2**level + window
            seen = _read(fields.flatten(0, 2)[:, None], at.flatten(0, 2), padding="zeros")
            found.append(seen.reshape(batch, frames, points, -1))
        return torch.cat(found, dim=-1)

    def _place(self, begin: Tensor, size: tuple[int, ...]) -> Tensor:
        """Waves of where tracks begin, read linearly between whole pixels, shape [B, N, channels]."""
        channels = self.query_ref_token.shape[-1]
        halves = []
        for axis, count in enumerate(reversed(size)):
            at = begin[..., axis].clamp(0, count - 1)
            low = at.floor()
            below, above = (
                waves(each.double(), channels // 2, base=PLACE_BASE) for each in (low, (low + 1).clamp(max=count - 1))
            )
            halves.append(torch.lerp(below, above, (at - low)[..., None].double()))
        return torch.cat(halves, dim=-1).to(begin.dtype)

    def _reference(self, frames: int) -> Tensor:
        """What says which frame is the first, shape [1, 1, S, channels]."""
        first, other = self.query_ref_token[:, None].chunk(2, dim=2)
        return torch.cat([first, other.expand(-1, -1, frames - 1, -1)], dim=2)


class TrackHead(nn.Module):
    """Features of frames, and tracks in them.

    Args:
        sizes: of the network.
    """

    def __init__(self, sizes: GeometrySizes) -> None:
        super().__init__()
        self._patch_size, self._least_side = sizes.patch_size, sizes.track_stride << (sizes.track_levels - 1)
        self.feature_extractor = DenseHead(
            dim_in=2 * sizes.embed_dim,
            patch_size=sizes.patch_size,
            features=sizes.track_features,
            channels=sizes.dpt_channels,
            layers=sizes.dpt_layers,
            outputs=None,
            shrink=sizes.track_stride,
        )
        self.tracker = Tracker(sizes)

    def forward(self, tokens: FrameTokens, queries: Tensor) -> PointTracks:
        """Tracks of points (x, y) of the first frame [px], shape [B, N, 2].

        Raises:
            InvalidImage: the frames are too small for the coarsest level of correlations.
        """
        if min(tokens.image_size) // self._patch_size * self._patch_size < self._least_side:
            raise InvalidImage(
                f"frames of {tokens.image_size} pixels; tracks need {self._least_side} a side, of whole patches"
            )
        tracks: PointTracks = self.tracker(self.feature_extractor(tokens), queries)
        return tracks


def _flow_waves(flow: Tensor, channels: int) -> Tensor:
    """Sine and cosine by turns of flow (x, y) [*, 2], half of the channels each, shape [*, channels]."""
    half = channels // 2
    frequencies = torch.arange(0, half, 2, dtype=flow.dtype, device=flow.device) * (FLOW_WAVES / half)
    angles = flow[..., None] * frequencies
    return torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(-3)


def _sampled(maps: Tensor, places: Tensor) -> Tensor:
    """Features [B, N, C] at places [B, N, 2] of maps [B, C, h, w]."""
    return _read(maps, places[:, None], padding="border")[:, :, 0].transpose(1, 2)


def _read(maps: Tensor, places: Tensor, *, padding: str) -> Tensor:
    """Values of maps [B, C, h, w] at pixels (x, y) [B, i, j, 2], shape [B, C, i, j]."""
    size = torch.tensor([maps.shape[-1], maps.shape[-2]], dtype=places.dtype, device=places.device)
    at = 2 * places / (size - 1).clamp(min=1) - 1
    return grid_sample(maps, at, align_corners=True, padding_mode=padding)
