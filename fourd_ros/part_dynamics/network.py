"""The network: four posed views of an object and drags -> Gaussians of the object after them."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal, Self, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional

from fourd_ros.errors import InvalidModel
from fourd_ros.part_dynamics.drag_maps import GRID
from fourd_ros.part_dynamics.gaussians import CHANNELS, OPACITY, POSITION, RGB, ROTATION, SCALE
from fourd_ros.part_dynamics.rays import WHOLE, Window
from fourd_ros.part_dynamics.unet import MultiViewUNet

IMAGE_CHANNELS, RAY_CHANNELS = 3, 6
SCALE_UNIT = 0.1

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
Colours = Literal["imagenet", "plain"]


@dataclass(frozen=True, kw_only=True)
class PartNetworkConfig:
    """Sizes of the network and how it wants its input; the defaults are those of the published ``partdrag4d``.

    Args:
        input_size: rows and columns of the images.
        down_channels: of the levels.
        down_attention: whether their pixels look at those of all views.
        mid_attention: whether the lowest resolution does.
        up_channels: of the levels on the way up.
        up_attention: whether they look at all views.
        drags: whether it is told drags; without it is LGM, which shows the object as it is.
        transposed_drags: maps of drags are transposed against the image, as in what is published.
        drag_unit: pixels of the grid of drags that are a radian of their slowest feature.
        anchored: positions are told from where the rays of pixels pass the origin, so that a network need not learn
            where its cameras stand; what is published tells them from the origin itself.
        views: of an object.
        colours: how images are normalised.
        window: the part of the pictures that is seen: left, top and side as shares of them.
        fovy: vertical opening angle that the rays of whole pictures have [deg].
        cam_radius: distance of the first camera from the origin of the world of the Gaussians [its unit].
        num_drags: that it was trained with.
    """

    input_size: int = 256
    down_channels: tuple[int, ...] = (64, 128, 256, 512, 1024, 1024)
    down_attention: tuple[bool, ...] = (False, False, False, True, True, True)
    mid_attention: bool = True
    up_channels: tuple[int, ...] = (1024, 1024, 512, 256, 128)
    up_attention: tuple[bool, ...] = (True, True, True, False, False)
    drags: bool = True
    transposed_drags: bool = True
    drag_unit: float = 1.0
    anchored: bool = False
    views: int = 4
    colours: Colours = "imagenet"
    window: Window = WHOLE
    fovy: float = 49.1
    cam_radius: float = 2.4
    num_drags: int = 10

    def __post_init__(self) -> None:
        for field in fields(self):
            if isinstance(field.default, tuple):
                object.__setattr__(self, field.name, tuple(getattr(self, field.name)))
        if self.colours not in get_args(Colours):
            raise InvalidModel(f"colours '{self.colours}'; there are {get_args(Colours)}")

    @property
    def splat_size(self) -> int:
        """Rows and columns of the Gaussians of a view."""
        return (self.input_size >> len(self.down_channels) - 1) << len(self.up_channels) - 1

    @property
    def gaussians(self) -> int:
        """Number of Gaussians of an object."""
        return self.views * self.splat_size**2


class PartNetwork(nn.Module):
    """Gaussians of an object as it will be; names of weights are those of the published files.

    Args:
        config: sizes.
    """

    def __init__(self, config: PartNetworkConfig) -> None:
        super().__init__()
        self.settings = config
        self.unet = MultiViewUNet(
            into=IMAGE_CHANNELS + RAY_CHANNELS,
            out=CHANNELS,
            input_size=config.input_size,
            down_channels=config.down_channels,
            down_attention=config.down_attention,
            mid_attention=config.mid_attention,
            up_channels=config.up_channels,
            up_attention=config.up_attention,
            drags=config.drags,
            transposed_drags=config.transposed_drags,
            drag_unit=config.drag_unit,
            views=config.views,
        )
        self.conv = nn.Conv2d(CHANNELS, CHANNELS, 1)

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """The network of a ``config.json``.

        Raises:
            InvalidModel: unknown names, or sizes that do not fit together.
        """
        try:
            return cls(PartNetworkConfig(**config))
        except TypeError as error:
            raise InvalidModel(f"no configuration of {cls.__name__}: {error}") from error

    @property
    def config(self) -> dict[str, Any]:
        """What `from_config` makes an equal network of."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in vars(self.settings).items()}

    def forward(self, images: Tensor, start: Tensor | None = None, end: Tensor | None = None) -> Tensor:
        """Gaussians of B objects.

        Args:
            images: normalised colours and rays, shape [B, views, 9, S, S].
            start: pixels (x, y) of 0..511 of the whole pictures where drags begin, in each view, shape
                [B, views, N, 2]; None for a network without drags.
            end: where these points go, the same shape.

        Returns:
            Positions, opacity, scales, quaternions (w, x, y, z) and colours in the order view, row, column; shape
            [B, views * s * s, 14].
        """
        maps = torch.unflatten(self.maps(images, start, end), 0, (len(images), -1))
        return activated(maps, anchors(images, self.settings.splat_size) if self.settings.anchored else None)

    def maps(self, images: Tensor, start: Tensor | None = None, end: Tensor | None = None) -> Tensor:
        """The same before activation, shape [B * views, 14, s, s]."""
        drags = [None if places is None else self._in_window(places).flatten(0, 1) for places in (start, end)]
        out: Tensor = self.conv(self.unet(images.flatten(0, 1), *drags))
        return out

    def _in_window(self, places: Tensor) -> Tensor:
        """Pixels of whole pictures in the grid of 512 over the window; outside of it on its rim."""
        if self.settings.window == WHOLE:
            return places
        left, top, side = self.settings.window
        begin = places.new_tensor([left * GRID, top * GRID])
        inside: Tensor = ((places - begin) / side).clamp(0, GRID - 1)
        return inside


def anchors(images: Tensor, size: int) -> Tensor:
    """Points of the pixels' rays that are nearest to the origin of the world.

    Args:
        images: colours and rays, shape [B, views, 9, S, S].
        size: rows and columns of the maps, s.

    Returns:
        In the order view, row, column, shape [B, views * s * s, 3], float32.
    """
    rays = functional.adaptive_avg_pool2d(images[:, :, IMAGE_CHANNELS:].float().flatten(0, 1), size)
    moment, direction = torch.unflatten(rays, 0, (len(images), -1)).movedim(2, -1).flatten(1, 3).chunk(2, dim=-1)
    nearest: Tensor = torch.linalg.cross(direction, moment) / direction.square().sum(-1, keepdim=True)
    return nearest


def activated(maps: Tensor, anchor: Tensor | None = None) -> Tensor:
    """Maps [B, views, 14, s, s] to Gaussians [B, views * s * s, 14], float32; positions are told from `anchor`
    [B, views * s * s, 3] where there is one."""
    raw = maps.float().movedim(2, -1).flatten(1, 3)
    position = raw[..., POSITION] if anchor is None else anchor + raw[..., POSITION]
    return torch.cat(
        [
            position.clamp(-1, 1),
            raw[..., OPACITY, None].sigmoid(),
            SCALE_UNIT * functional.softplus(raw[..., SCALE]),
            functional.normalize(raw[..., ROTATION], dim=-1),
            0.5 * raw[..., RGB].tanh() + 0.5,
        ],
        dim=-1,
    )


def network_input(images: Tensor, rays: Tensor, *, colours: Colours) -> Tensor:
    """What the network sees.

    Args:
        images: on white, 0..1, shape [*, 3, S, S].
        rays: shape [*, 6, S, S].
        colours: how images are normalised.
    """
    if colours == "imagenet":
        mean, std = (
            torch.tensor(values, device=images.device).view(3, 1, 1) for values in (IMAGENET_MEAN, IMAGENET_STD)
        )
        images = (images - mean) / std
    return torch.cat([images, rays], dim=-3)
