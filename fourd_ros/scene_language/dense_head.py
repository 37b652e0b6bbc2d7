"""From tokens of four layers to a map of the image: DPT (Ranftl et al. 2021)."""

from typing import cast

from torch import Tensor, nn
from torch.nn.functional import interpolate, relu

from fourd_ros.scene_language.aggregator import FrameTokens
from fourd_ros.scene_language.place_waves import place_waves

EPS, PLACE_SHARE, LAST = 1e-5, 0.1, 32


class ConvolutionUnit(nn.Module):
    """Two convolutions beside a shortcut; the shortcut is cut off below zero too, as weights were trained with it."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.conv1, self.conv2 = (nn.Conv2d(features, features, 3, padding=1) for _ in range(2))

    def forward(self, maps: Tensor) -> Tensor:
        positive = relu(maps)
        out: Tensor = self.conv2(relu(self.conv1(positive))) + positive
        return out


class Fusion(nn.Module):
    """A coarse map, made larger, with what a finer one adds.

    Args:
        features: channels.
        joins: whether there is a coarser map already.
    """

    def __init__(self, features: int, *, joins: bool) -> None:
        super().__init__()
        self.out_conv = nn.Conv2d(features, features, 1)
        if joins:
            self.resConfUnit1 = ConvolutionUnit(features)
        self.resConfUnit2 = ConvolutionUnit(features)

    def forward(self, maps: Tensor, added: Tensor | None, size: tuple[int, int]) -> Tensor:
        if added is not None:
            maps = maps + self.resConfUnit1(added)
        out: Tensor = self.out_conv(_resized(self.resConfUnit2(maps), size))
        return out


class Scratch(nn.Module):
    """The fusion of four levels, named as in the published files."""

    def __init__(self, features: int, channels: tuple[int, ...], outputs: int | None) -> None:
        super().__init__()
        for level, count in enumerate(channels, start=1):
            self.add_module(f"layer{level}_rn", nn.Conv2d(count, features, 3, padding=1, bias=False))
            self.add_module(f"refinenet{level}", Fusion(features, joins=level < len(channels)))
        self.output_conv1 = nn.Conv2d(features, features if outputs is None else features // 2, 3, padding=1)
        if outputs is not None:
            self.output_conv2 = nn.Sequential(
                nn.Conv2d(features // 2, LAST, 3, padding=1), nn.ReLU(), nn.Conv2d(LAST, outputs, 1)
            )

    def fused(self, levels: list[Tensor]) -> Tensor:
        """One map of twice the size of the finest level."""
        reduced = [self.get_submodule(f"layer{level}_rn")(maps) for level, maps in enumerate(levels, start=1)]
        sizes = [_double(reduced[0]), *(_size(maps) for maps in reduced[:-1])]
        out: Tensor = reduced[-1]
        for level in range(len(reduced), 0, -1):
            added = None if level == len(reduced) else reduced[level - 1]
            out = self.get_submodule(f"refinenet{level}")(out, added, sizes[level - 1])
        return out


class DenseHead(nn.Module):
    """Maps of frames; names of weights are those of the published files.

    Args:
        dim_in: channels of the tokens.
        patch_size: side of a patch [px].
        features: channels of the fusion.
        channels: of the four levels.
        layers: whose tokens they read.
        outputs: channels of the map, whose places in the image are told to the head; None for its features alone, which
            know no places.
        shrink: pixels of the image a pixel of the map, along a side.
    """

    def __init__(
        self,
        *,
        dim_in: int,
        patch_size: int,
        features: int,
        channels: tuple[int, ...],
        layers: tuple[int, ...],
        outputs: int | None,
        shrink: int = 1,
    ) -> None:
        super().__init__()
        self.layers = layers
        self._patch_size, self._shrink, self._placed = patch_size, shrink, outputs is not None
        self.norm = nn.LayerNorm(dim_in, eps=EPS)
        self.projects = nn.ModuleList(nn.Conv2d(dim_in, count, 1) for count in channels)
        self.resize_layers = nn.ModuleList(
            [
                nn.ConvTranspose2d(channels[0], channels[0], 4, stride=4),
                nn.ConvTranspose2d(channels[1], channels[1], 2, stride=2),
                nn.Identity(),
                nn.Conv2d(channels[3], channels[3], 3, stride=2, padding=1),
            ]
        )
        self.scratch = Scratch(features, channels, outputs)

    def forward(self, tokens: FrameTokens) -> Tensor:
        """Maps of S frames.

        Returns:
            Before any activation, rows and columns of whole patches over `shrink`, shape [B, S, outputs or features,
            h, w].
        """
        height, width = tokens.image_size
        grid = height // self._patch_size, width // self._patch_size
        batch, frames = tokens.camera.shape[:2]
        levels = []
        for number, layer in enumerate(self.layers):
            patches = self.norm(tokens.layers[layer][:, :, tokens.special :].flatten(0, 1))
            maps = self.projects[number](patches.transpose(1, 2).unflatten(2, grid))
            levels.append(self.resize_layers[number](self._with_places(maps, width / height)))
        maps = self.scratch.output_conv1(self.scratch.fused(levels))
        maps = _resized(maps, tuple(side * self._patch_size // self._shrink for side in grid))
        if self._placed:
            maps = self.scratch.output_conv2(self._with_places(maps, width / height))
        return cast(Tensor, maps.unflatten(0, (batch, frames)))

    def _with_places(self, maps: Tensor, aspect: float) -> Tensor:
        if not self._placed:
            return maps
        return maps + PLACE_SHARE * place_waves(*maps.shape[1:], aspect=aspect).to(maps)


def depth_and_confidence(maps: Tensor) -> tuple[Tensor, Tensor]:
    """Of the depth head's map [B, S, 2, H, W]: depth [B, S, H, W, 1] > 0 and its confidence [B, S, H, W] > 1."""
    return maps[:, :, :1].exp().movedim(2, -1), _confidence(maps)


def points_and_confidence(maps: Tensor) -> tuple[Tensor, Tensor]:
    """Of the point head's map [B, S, 4, H, W]: points [B, S, H, W, 3] in the frame of the first camera, and their
    confidence [B, S, H, W] > 1."""
    values = maps[:, :, :3].movedim(2, -1)
    return values.sign() * values.abs().expm1(), _confidence(maps)


def _confidence(maps: Tensor) -> Tensor:
    return 1 + maps[:, :, -1].exp()


def _size(maps: Tensor) -> tuple[int, int]:
    return maps.shape[-2], maps.shape[-1]


def _double(maps: Tensor) -> tuple[int, int]:
    return 2 * maps.shape[-2], 2 * maps.shape[-1]


def _resized(maps: Tensor, size: tuple[int, ...]) -> Tensor:
    return interpolate(maps, size=size, mode="bilinear", align_corners=True)
