"""The networks of scene language, as model folders hold them: together in one, or each in its own."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from torch import nn

from fourd_ros.errors import InvalidModel
from fourd_ros.model_io.card import ModelCard
from fourd_ros.model_io.loading import load_component
from fourd_ros.scene_language.conversion import CODEC, GEOMETRY, LANGUAGE
from fourd_ros.scene_language.feature_codec import FeatureCodec
from fourd_ros.scene_language.geometry_network import GeometryNetwork
from fourd_ros.scene_language.geometry_stream import GeometryStream
from fourd_ros.scene_language.language_head import LanguageHead
from fourd_ros.scene_language.onnx_step import LanguageFrame, StreamStep
from fourd_ros.scene_language.token_cache import CachePolicy


class SceneLanguage:
    """What sees geometry, and what gives it language if it is there.

    On a CPU all of it computes in float32, whatever its weights were stored as.

    Args:
        geometry: the network that the others stand on.
        language: head that reads its tokens.
        codec: that decodes the head's features.

    Raises:
        InvalidModel: the parts do not fit together.
    """

    def __init__(
        self, geometry: GeometryNetwork, *, language: LanguageHead | None = None, codec: FeatureCodec | None = None
    ) -> None:
        self.geometry, self.language, self.codec = geometry, language, codec
        for part in (geometry, language, codec):
            if part is not None and next(part.parameters()).device.type == "cpu":
                part.float()
        if language is not None:
            channels = 2 * geometry.sizes.embed_dim
            if language.sizes.dim_in != channels or not set(language.sizes.dpt_layers) <= geometry.layers:
                raise InvalidModel(
                    f"a language head for tokens of {language.sizes.dim_in} channels from the layers "
                    f"{language.sizes.dpt_layers}; the geometry network gives {channels} from {sorted(geometry.layers)}"
                )
            if codec is not None and codec.sizes.decoder[0] != language.sizes.lang_dim:
                numbers = codec.sizes.decoder[0]
                raise InvalidModel(f"an autoencoder of {numbers} numbers; the head gives {language.sizes.lang_dim}")

    @classmethod
    def from_components(cls, components: Mapping[str, Any], card: ModelCard) -> Self:
        """The model of a folder that `load_model` has read."""
        return cls(components[GEOMETRY], language=components.get(LANGUAGE), codec=components.get(CODEC))

    @classmethod
    def from_folders(
        cls,
        geometry: Path | str,
        *,
        language: Path | str | None = None,
        codec: Path | str | None = None,
        allow_noncommercial: bool = False,
        device: str = "cpu",
    ) -> Self:
        """Parts that were converted one by one; see `load_component` for the errors."""
        folders = {GEOMETRY: geometry, LANGUAGE: language, CODEC: codec}
        parts = {
            name: load_component(folder, name, allow_noncommercial=allow_noncommercial, device=device).eval()
            for name, folder in folders.items()
            if folder is not None
        }
        return cls(parts[GEOMETRY], language=parts.get(LANGUAGE), codec=parts.get(CODEC))

    def stream(self, *, policy: CachePolicy | None = None, points: bool = False) -> GeometryStream:
        """A stream of images that begins; arguments as of `GeometryStream`."""
        return GeometryStream(self.geometry, policy=policy, points=points)

    def onnx_parts(self) -> dict[str, nn.Module]:
        """What ``fourd export onnx`` writes, by name: a frame of a stream, and the language of a frame if there is any.

        Raises:
            InvalidModel: the network lacks the camera or the depth head.
        """
        step = StreamStep(self.geometry)
        parts: dict[str, nn.Module] = {"geometry_step": step}
        if self.language is not None:
            parts["language_frame"] = LanguageFrame(self.language, special=step.special, size=step.size)
        return parts
