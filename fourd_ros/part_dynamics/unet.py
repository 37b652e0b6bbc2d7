"""A U-Net over several views, which look at each other in its attention; drags enter before every level."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from fourd_ros.errors import InvalidModel
from fourd_ros.part_dynamics.drag_maps import DragMaps

GROUPS = 32
HEADS = 16
SKIP_SCALE = 0.5**0.5
DOWN_LAYERS, UP_LAYERS = 2, 3


def _activated(norm: nn.GroupNorm, x: Tensor) -> Tensor:
    """SiLU of what is normalised, in the type that `x` has; autocast would take both to float32 and back, which costs
    a CPU as much as the convolutions."""
    if x.device.type != "cpu" or x.dtype == torch.float32:
        return functional.silu(norm(x))
    with torch.autocast("cpu", enabled=False):
        return functional.silu(functional.group_norm(x, norm.num_groups, norm.weight, norm.bias, norm.eps))


class ResidualBlock(nn.Module):
    """Two convolutions beside a shortcut.

    Args:
        into: channels.
        out: channels.
    """

    def __init__(self, into: int, out: int) -> None:
        super().__init__()
        self.norm1, self.conv1 = nn.GroupNorm(GROUPS, into), nn.Conv2d(into, out, 3, padding=1)
        self.norm2, self.conv2 = nn.GroupNorm(GROUPS, out), nn.Conv2d(out, out, 3, padding=1)
        self.shortcut = nn.Conv2d(into, out, 1) if into != out else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Shape [V, C, H, W]."""
        hidden = self.conv1(_activated(self.norm1, x))
        hidden = self.conv2(_activated(self.norm2, hidden))
        out: Tensor = (hidden + self.shortcut(x)) * SKIP_SCALE
        return out


class _JointAttention(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.qkv = nn.Linear(channels, 3 * channels, bias=False)
        self.proj = nn.Linear(channels, channels)

    def forward(self, tokens: Tensor) -> Tensor:
        queries, keys, values = self.qkv(tokens).unflatten(-1, (3, HEADS, -1)).permute(2, 0, 3, 1, 4)
        looked_up = _looked_up(queries, keys, values)
        out: Tensor = self.proj(looked_up.transpose(1, 2).flatten(2))
        return out


def _looked_up(queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """On a CPU in float32 whatever autocast says: its derivative in bfloat16 takes three times as long there."""
    if queries.device.type != "cpu":
        return functional.scaled_dot_product_attention(queries, keys, values)
    with torch.autocast("cpu", enabled=False):
        return functional.scaled_dot_product_attention(queries.float(), keys.float(), values.float())


class ViewAttention(nn.Module):
    """All pixels of all views of an object look at each other.

    Args:
        channels: of the features, divisible by 16.
        views: of an object.
    """

    def __init__(self, channels: int, views: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(GROUPS, channels)
        self.attn = _JointAttention(channels)
        self._views = views

    def forward(self, x: Tensor) -> Tensor:
        """Shape [B * views, C, H, W]."""
        _, channels, rows, columns = x.shape
        tokens = (
            self.norm(x)
            .unflatten(0, (-1, self._views))
            .permute(0, 1, 3, 4, 2)
            .reshape(-1, self._views * rows * columns, channels)
        )
        attended = self.attn(tokens).unflatten(1, (self._views, rows, columns)).permute(0, 1, 4, 2, 3).flatten(0, 1)
        out: Tensor = (attended + x) * SKIP_SCALE
        return out


class DownBlock(nn.Module):
    """Layers of one resolution, then half of it.

    Args:
        into: channels.
        out: channels.
        attention: whether its layers look at all views.
        smaller: whether the resolution is halved at the end.
        views: of an object.
    """

    def __init__(self, into: int, out: int, *, attention: bool, smaller: bool, views: int) -> None:
        super().__init__()
        self.nets = nn.ModuleList(ResidualBlock(into if layer == 0 else out, out) for layer in range(DOWN_LAYERS))
        self.attns = _attentions(out, DOWN_LAYERS, attention=attention, views=views)
        self.downsample = nn.Conv2d(out, out, 3, stride=2, padding=1) if smaller else None

    def forward(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Features, and what is kept of every layer and of the smaller ones."""
        kept = []
        for net, attention in zip(self.nets, self.attns, strict=True):
            x = attention(net(x))
            kept.append(x)
        if self.downsample is not None:
            x = self.downsample(x)
            kept.append(x)
        return x, kept


class MidBlock(nn.Module):
    """The lowest resolution.

    Args:
        channels: of it.
        attention: whether it looks at all views.
        views: of an object.
    """

    def __init__(self, channels: int, *, attention: bool, views: int) -> None:
        super().__init__()
        self.nets = nn.ModuleList(ResidualBlock(channels, channels) for _ in range(2))
        self.attns = _attentions(channels, 1, attention=attention, views=views)

    def forward(self, x: Tensor) -> Tensor:
        """Shape [V, C, H, W]."""
        out: Tensor = self.nets[1](self.attns[0](self.nets[0](x)))
        return out


class UpBlock(nn.Module):
    """Layers of one resolution, each with what was kept on the way down, then twice the resolution.

    Args:
        into: channels.
        kept: channels of what was kept for each layer.
        out: channels.
        attention: whether its layers look at all views.
        larger: whether the resolution is doubled at the end.
        views: of an object.
    """

    def __init__(self, into: int, kept: Sequence[int], out: int, *, attention: bool, larger: bool, views: int) -> None:
        super().__init__()
        self.nets = nn.ModuleList(
            ResidualBlock((into if layer == 0 else out) + kept[layer], out) for layer in range(UP_LAYERS)
        )
        self.attns = _attentions(out, UP_LAYERS, attention=attention, views=views)
        self.upsample = nn.Conv2d(out, out, 3, padding=1) if larger else None

    def forward(self, x: Tensor, kept: list[Tensor]) -> Tensor:
        """`kept` loses what is used."""
        for net, attention in zip(self.nets, self.attns, strict=True):
            x = attention(net(torch.cat([x, kept.pop()], dim=1)))
        if self.upsample is not None:
            x = self.upsample(functional.interpolate(x, scale_factor=2.0, mode="nearest"))
        return x


class MultiViewUNet(nn.Module):
    """Images of several views to maps of features of each of them.

    Args:
        into: channels of the images.
        out: channels of the maps.
        input_size: rows and columns of the images.
        down_channels: of the levels.
        down_attention: whether they look at all views.
        mid_attention: whether the lowest resolution does.
        up_channels: of the levels on the way up, mirrored; there may be fewer.
        up_attention: whether they look at all views.
        drags: whether drags enter.
        transposed_drags: see `DragMaps`.
        drag_unit: see `DragMaps`.
        views: of an object.

    Raises:
        InvalidModel: numbers of channels or levels that do not fit together.
    """

    def __init__(
        self,
        *,
        into: int,
        out: int,
        input_size: int,
        down_channels: Sequence[int],
        down_attention: Sequence[bool],
        mid_attention: bool,
        up_channels: Sequence[int],
        up_attention: Sequence[bool],
        drags: bool,
        transposed_drags: bool,
        drag_unit: float,
        views: int,
    ) -> None:
        super().__init__()
        down, up, levels = tuple(down_channels), tuple(up_channels), len(down_channels)
        mirrored = down[::-1][: len(up)]
        if len(down_attention) != levels or len(up_attention) != len(up) or up != mirrored:
            raise InvalidModel(
                f"channels {down} with attention {tuple(down_attention)} down, {up} with {tuple(up_attention)} up; "
                f"needed is an attention a level, and upwards the same channels mirrored: {mirrored}"
            )
        if any(count % GROUPS for count in down) or input_size % 2 ** (levels - 1):
            raise InvalidModel(
                f"channels {down}, images of {input_size} pixels; needed are multiples of {GROUPS}, and a size that "
                f"can be halved {levels - 1} times"
            )
        self.conv_in = nn.Conv2d(into, down[0], 3, padding=1)
        entering = (down[0], *down[:-1])
        self.down_blocks = nn.ModuleList(
            DownBlock(
                entering[level], down[level], attention=down_attention[level], smaller=level < levels - 1, views=views
            )
            for level in range(levels)
        )
        self.mid_block = MidBlock(down[-1], attention=mid_attention, views=views)
        self.up_blocks = nn.ModuleList(
            UpBlock(
                up[max(level - 1, 0)],
                [up[level], up[level], down[max(-2 - level, -levels)]],
                up[level],
                attention=up_attention[level],
                larger=level < len(up) - 1,
                views=views,
            )
            for level in range(len(up))
        )
        self.norm_out = nn.GroupNorm(GROUPS, up[-1])
        self.conv_out = nn.Conv2d(up[-1], out, 3, padding=1)
        if drags:
            scales = tuple(input_size // 2**level for level in range(levels))
            self.drag_position_net = DragMaps(scales, entering, transposed=transposed_drags, unit=drag_unit)
            self.conv_merges = nn.ModuleList(nn.Conv2d(2 * count, count, 3, padding=1) for count in entering)
            self.alpha = nn.Parameter(torch.zeros(()), requires_grad=False)
        self.takes_drags = drags

    def forward(self, images: Tensor, start: Tensor | None = None, end: Tensor | None = None) -> Tensor:
        """Maps of all views.

        Args:
            images: shape [B * views, into, S, S].
            start: pixels (x, y) of drags on a grid of 512, shape [B * views, N, 2]; None for a network without drags.
            end: where they go.

        Returns:
            Shape [B * views, out, s, s].
        """
        x = self.conv_in(images)
        kept = [x]
        for level, block in enumerate(self.down_blocks):
            if self.takes_drags and start is not None and end is not None:
                x = self._merged(level, x, start, end)
            x, of_block = block(x)
            kept += of_block
        x = self.mid_block(x)
        for block in self.up_blocks:
            x = block(x, kept)
        out: Tensor = self.conv_out(functional.silu(self.norm_out(x)))
        return out

    def _merged(self, level: int, x: Tensor, start: Tensor, end: Tensor) -> Tensor:
        maps = self.drag_position_net(level, start, end)
        merged: Tensor = self.conv_merges[level](torch.cat([x, *maps], dim=1))
        return merged


def _attentions(channels: int, count: int, *, attention: bool, views: int) -> nn.ModuleList:
    made = (ViewAttention(channels, views) if attention else nn.Identity() for _ in range(count))
    return nn.ModuleList(made)
