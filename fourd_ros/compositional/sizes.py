"""Sizes of the networks, under the names of their ``config.json``; the defaults are those that are published."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Self

from fourd_ros.errors import InvalidModel


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """Base: a configuration that JSON can hold.

    Raises:
        InvalidModel: sizes that do not fit together.
    """

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """Of a ``config.json``; names that are none of ours are passed over, as published files have several.

        Raises:
            InvalidModel: values of wrong types, or sizes that do not fit together.
        """
        known = {field.name for field in fields(cls)}
        try:
            return cls(**{name: _frozen(value) for name, value in config.items() if name in known})
        except TypeError as error:
            raise InvalidModel(f"no {cls.__name__}: {error}") from error

    @property
    def config(self) -> dict[str, Any]:
        """What `from_config` makes an equal one of."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}

    def _require_positive(self, *names: str) -> None:
        for name in names:
            value = getattr(self, name)
            if type(value) is not int or value < 1:
                raise InvalidModel(f"{name} is {value!r}; needed is a whole number from 1")

    def _require_divisible(self, width: str, heads: str = "num_attention_heads") -> None:
        if getattr(self, width) % getattr(self, heads):
            raise InvalidModel(
                f"{width} {getattr(self, width)} for {getattr(self, heads)} heads; needed is a multiple of {heads}"
            )


@dataclass(frozen=True, kw_only=True)
class TransformerSizes(Sizes):
    """Of the transformer.

    Args:
        num_attention_heads: of every attention.
        width: channels of a token.
        in_channels: of a latent token.
        num_layers: blocks.
        cross_attention_dim: channels of an image token.
        max_num_parts: rows of the table that tells objects apart.
        max_num_frames: rows of the table that tells frames apart.
        enable_part_embedding: whether there is a table of objects.
        enable_frame_embedding: whether there is a table of frames.
        enable_static_embedding: whether there is a learned mark of things that stand.
        enable_dynamic_embedding: whether there is a learned mark of things that move.
        enable_local_cross_attn: whether blocks in which items are alone see the image.
        enable_global_cross_attn: whether blocks in which items of a group see each other see the image.
        spatial_global_attn_block_ids: blocks in which the objects of a frame see each other.
        temporal_global_attn_block_ids: blocks in which the frames of an object see each other.
    """

    num_attention_heads: int = 16
    width: int = 2048
    in_channels: int = 64
    num_layers: int = 21
    cross_attention_dim: int = 1024
    max_num_parts: int = 32
    max_num_frames: int = 64
    enable_part_embedding: bool = True
    enable_frame_embedding: bool = True
    enable_static_embedding: bool = False
    enable_dynamic_embedding: bool = False
    enable_local_cross_attn: bool = True
    enable_global_cross_attn: bool = True
    spatial_global_attn_block_ids: tuple[int, ...] = (0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20)
    temporal_global_attn_block_ids: tuple[int, ...] = (0, 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21)

    def __post_init__(self) -> None:
        self._require_positive(
            "num_attention_heads", "width", "in_channels", "num_layers", "cross_attention_dim", "max_num_parts"
        )
        self._require_positive("max_num_frames")
        self._require_divisible("width")
        if self.width % 2:
            raise InvalidModel(f"width is {self.width}; needed is an even number, for sines and cosines of the time")
        for name in ("spatial_global_attn_block_ids", "temporal_global_attn_block_ids"):
            ids = getattr(self, name)
            if not (isinstance(ids, tuple) and all(type(number) is int and number >= 0 for number in ids)):
                raise InvalidModel(f"{name} is {ids!r}; needed are whole numbers from 0")

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """See `Sizes.from_config`; a few names of published files must have the values that they have there."""
        for name in (
            "global_attn_block_ids",
            "global_attn_block_id_range",
            "enable_static_embedding_per_block",
            "enable_dynamic_embedding_per_block",
        ):
            if config.get(name):
                raise InvalidModel(f"{name} is {config[name]!r}; no published model has it, and it is not supported")
        return super().from_config(config)


@dataclass(frozen=True, kw_only=True)
class VaeSizes(Sizes):
    """Of the autoencoder of shapes.

    Args:
        in_channels: of a position.
        latent_channels: of a latent token.
        num_attention_heads: of every attention.
        width_encoder: channels of a token of the encoder.
        width_decoder: channels of a token of the decoder.
        num_layers_encoder: its self-attention blocks.
        num_layers_decoder: its self-attention blocks.
        embedding_type: of positions; there is one.
        embed_frequency: waves of each coordinate, each twice as fast as the one before.
        embed_include_pi: whether the slowest has the period 2 instead of 2 pi.
        latent_tokens: of a shape, where nobody asks for another number; published files do not have it.
    """

    in_channels: int = 3
    latent_channels: int = 64
    num_attention_heads: int = 8
    width_encoder: int = 512
    width_decoder: int = 1024
    num_layers_encoder: int = 8
    num_layers_decoder: int = 16
    embedding_type: str = "frequency"
    embed_frequency: int = 8
    embed_include_pi: bool = False
    latent_tokens: int = 2048

    def __post_init__(self) -> None:
        self._require_positive("latent_channels", "num_attention_heads", "width_encoder", "width_decoder")
        self._require_positive("num_layers_encoder", "num_layers_decoder", "embed_frequency", "latent_tokens")
        self._require_divisible("width_encoder")
        self._require_divisible("width_decoder")
        if self.in_channels != 3 or self.embedding_type != "frequency":
            raise InvalidModel(
                f"in_channels {self.in_channels}, embedding_type {self.embedding_type!r}; needed are 3 and 'frequency'"
            )


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
