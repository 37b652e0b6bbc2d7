"""Sizes of the networks; the defaults are those that are published."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Self

from fourd_ros.errors import InvalidModel

HEADS = ("camera", "depth", "point", "track")


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """Base: a configuration that JSON can hold.

    Raises:
        InvalidModel: sizes that do not fit together.
    """

    def __post_init__(self) -> None:
        for field in fields(self):
            if isinstance(getattr(self, field.name), list):
                object.__setattr__(self, field.name, tuple(getattr(self, field.name)))
        for name, value in vars(self).items():
            numbers = value if isinstance(value, tuple) else (value,)
            if any(isinstance(number, int | float) and number < 0 for number in numbers):
                raise InvalidModel(f"{name} is {value}; needed is no number below 0")

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """Of a ``config.json``.

        Raises:
            InvalidModel: unknown names, or sizes that do not fit together.
        """
        try:
            return cls(**config)
        except TypeError as error:
            raise InvalidModel(f"no {cls.__name__}: {error}") from error

    @property
    def config(self) -> dict[str, Any]:
        """What `from_config` makes an equal one of."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}


@dataclass(frozen=True, kw_only=True)
class GeometrySizes(Sizes):
    """Of the geometry transformer and its heads.

    Args:
        img_size: side of the images whose patches have a position of their own [px]; others are interpolated.
        patch_size: side of a patch [px].
        embed_dim: channels of a token.
        depth: pairs of a frame block and a global block.
        num_heads: of their attention.
        mlp_ratio: hidden channels of a block over its channels.
        register_tokens: of a frame, in both transformers.
        rope_frequency: base of the rotary positions.
        vit_depth: blocks of the patch embedding.
        vit_heads: of its attention.
        vit_mlp_ratio: as `mlp_ratio`.
        camera_depth: blocks of the camera head.
        camera_heads: of its attention.
        camera_iterations: refinements of a pose.
        dpt_features: channels of the depth and point heads.
        dpt_channels: of their four levels.
        dpt_layers: blocks of the transformer whose tokens these levels read.
        track_features: channels of the track head.
        track_hidden: channels of its transformer.
        track_depth: its blocks over time, and over points.
        track_heads: of its attention.
        track_virtual: learned tracks that stand between the others.
        track_levels: of the pyramid of correlations.
        track_radius: around a point, in which correlations are read.
        track_stride: pixels of the image a pixel of its features.
        track_iterations: refinements of a track.
        heads: those there are, of `HEADS`.
    """

    img_size: int = 518
    patch_size: int = 14
    embed_dim: int = 1024
    depth: int = 24
    num_heads: int = 16
    mlp_ratio: float = 4.0
    register_tokens: int = 4
    rope_frequency: float = 100.0
    vit_depth: int = 24
    vit_heads: int = 16
    vit_mlp_ratio: float = 4.0
    camera_depth: int = 4
    camera_heads: int = 16
    camera_iterations: int = 4
    dpt_features: int = 256
    dpt_channels: tuple[int, ...] = (256, 512, 1024, 1024)
    dpt_layers: tuple[int, ...] = (4, 11, 17, 23)
    track_features: int = 128
    track_hidden: int = 384
    track_depth: int = 6
    track_heads: int = 8
    track_virtual: int = 64
    track_levels: int = 7
    track_radius: int = 4
    track_stride: int = 2
    track_iterations: int = 4
    heads: tuple[str, ...] = HEADS

    def __post_init__(self) -> None:
        super().__post_init__()
        check_dpt(self.dpt_channels, self.dpt_layers)
        if unknown := sorted(set(self.heads) - set(HEADS)):
            raise InvalidModel(f"heads {unknown} are unknown; there are {HEADS}")
        if max(self.dpt_layers) >= self.depth:
            raise InvalidModel(f"dpt_layers {self.dpt_layers} of {self.depth} blocks; the first one is 0")
        if self.img_size % self.patch_size:
            raise InvalidModel(f"img_size {self.img_size} is no multiple of patch_size {self.patch_size}")
        for width, heads, step in (
            (self.embed_dim, self.num_heads, 4),
            (self.embed_dim, self.vit_heads, 1),
            (2 * self.embed_dim, self.camera_heads, 1),
            (self.track_hidden, self.track_heads, 1),
        ):
            if heads == 0 or width % (heads * step):
                raise InvalidModel(f"{width} channels for {heads} heads; needed is a multiple of {heads * step}")


@dataclass(frozen=True, kw_only=True)
class LanguageSizes(Sizes):
    """Of the language head.

    Args:
        dim_in: channels of the tokens it reads, twice those of the transformer.
        patch_size: side of a patch [px].
        features: channels of the map that all decoders share.
        hidden_dim: channels of the finest level of the encoders.
        lang_dim: channels of a language feature.
        dpt_channels: of the four levels.
        dpt_layers: blocks of the transformer whose tokens these levels read.
    """

    dim_in: int = 2048
    patch_size: int = 14
    features: int = 128
    hidden_dim: int = 32
    lang_dim: int = 3
    dpt_channels: tuple[int, ...] = (256, 512, 1024, 1024)
    dpt_layers: tuple[int, ...] = (4, 11, 17, 23)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_dpt(self.dpt_channels, self.dpt_layers)


@dataclass(frozen=True, kw_only=True)
class CodecSizes(Sizes):
    """Of the autoencoder of features.

    Args:
        encoder: channels from what is encoded to the code.
        decoder: channels from the code back.
    """

    encoder: tuple[int, ...] = (512, 256, 128, 64, 32, 3)
    decoder: tuple[int, ...] = (3, 16, 32, 64, 128, 256, 512)

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.encoder) < 2 or (self.encoder[0], self.encoder[-1]) != (self.decoder[-1], self.decoder[0]):
            raise InvalidModel(f"encoder {self.encoder} and decoder {self.decoder} do not lead back")


def check_dpt(channels: tuple[int, ...], layers: tuple[int, ...]) -> None:
    """Four levels, whose channels can hold positions of pixels.

    Raises:
        InvalidModel: they are others.
    """
    if len(channels) != 4 or len(layers) != 4 or any(count % 4 for count in channels):
        raise InvalidModel(f"levels of {channels} channels from layers {layers}; needed are four, multiples of 4")
