"""Texts in the features of a model: with the encoder, negatives and limits that its folder names."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, Self, get_args

import torch
from torch import Tensor

from fourd_ros.errors import InvalidInput, InvalidModel
from fourd_ros.model_io.folder import ModelFolder
from fourd_ros.model_io.loading import load_component
from fourd_ros.scene_language.conversion import CODEC
from fourd_ros.scene_language.feature_codec import FeatureCodec
from fourd_ros.scene_language.presence import PresenceGate, chosen_maps
from fourd_ros.scene_language.relevancy import NEGATIVES, find_texts
from fourd_ros.scene_language.text_encoder import TextEncoder
from fourd_ros.scene_language.word_vectors import WordVectors
from fourd_ros.strict_json import read_object

TEXTS_FILE = "texts.json"
"""Beside the networks of a model."""

MaskRule = Literal["stretched", "sure"]
"""What is in the mask of a text that is present. ``stretched``: the protocol of 4D LangSplat, what is most relevant in
this frame. ``sure``: the pixels that reach the limits of the gate."""

REMEMBERED = 256
"""Texts whose embeddings are kept, so that a standing query is encoded once."""


@dataclass(frozen=True, kw_only=True)
class ModelTexts:
    """What texts mean to a model.

    Args:
        encoder: name of the one whose embeddings its features are like.
        negatives: see `find_texts`.
        texts: that it was taught to tell apart.
        gate: what makes a text present.
        masks: see `MaskRule`.
    """

    encoder: str
    negatives: tuple[str, ...] = NEGATIVES
    texts: tuple[str, ...] = ()
    gate: PresenceGate = field(default_factory=PresenceGate)
    masks: MaskRule = "stretched"

    @classmethod
    def from_folder(cls, folder: Path | str) -> Self:
        """What ``texts.json`` of a model folder says.

        Raises:
            InvalidModel: it is missing or something else.
        """
        path = Path(folder) / TEXTS_FILE
        found = read_object(path, error=InvalidModel)
        try:
            return cls(
                encoder=_text(found["encoder"]),
                negatives=_negatives(found["negatives"]),
                texts=tuple(map(_text, found.get("texts", ()))),
                gate=_gate(found.get("gate", {})),
                masks=_rule(found.get("masks", "stretched")),
            )
        except (KeyError, TypeError, AttributeError, InvalidInput) as error:
            raise InvalidModel(f"'{path}' does not name an encoder, its negatives and limits: {error!r}") from error

    @property
    def content(self) -> bytes:
        """Of ``texts.json``."""
        return (json.dumps(asdict(self), indent=1) + "\n").encode()


@dataclass(frozen=True, kw_only=True, eq=False)
class TextMaps:
    """What a frame says of P texts, before any limit.

    Args:
        relevancy: smoothed, of the most relevant level, 0..1, shape [P, H, W].
        similarity: cosine of feature and text at that level, shape [P, H, W].
        level: that level, shape [P].
        stretched: masks of the protocol of 4D LangSplat, never empty, shape [P, H, W].
    """

    relevancy: Tensor
    similarity: Tensor
    level: Tensor
    stretched: Tensor

    def masks(self, gate: PresenceGate, rule: MaskRule) -> tuple[Tensor, Tensor]:
        """Which texts are there, shape [P], and where, shape [P, H, W]; nowhere for one that is not there."""
        sure = gate.reached(self.relevancy, self.similarity)
        present = sure.flatten(1).sum(dim=1) >= gate.pixels
        return present, (self.stretched if rule == "stretched" else sure) & present[:, None, None]


@dataclass(frozen=True, kw_only=True, eq=False)
class FoundTexts:
    """Where P texts are in a frame, or in each of S; shapes of one frame have no S.

    Args:
        texts: in their order, P of them.
        present: whether it is there, shape [S, P].
        masks: where, nowhere for one that is not there, shape [S, P, H, W].
        relevancy: smoothed, of the most relevant level, 0..1, shape [S, P, H, W].
        level: that level, shape [S, P].
    """

    texts: tuple[str, ...]
    present: Tensor
    masks: Tensor
    relevancy: Tensor
    level: Tensor


class TextSearch:
    """Finds texts in language features.

    Args:
        codec: that the features were made with.
        encoder: of texts.
        told: what the model says of texts.
        device: of the features.

    Raises:
        InvalidModel: the encoder is another one than the features are like, or its embeddings have another length.
    """

    def __init__(self, codec: FeatureCodec, encoder: TextEncoder, told: ModelTexts, *, device: str = "cpu") -> None:
        if encoder.name != told.encoder:
            raise InvalidModel(f"texts by '{encoder.name}'; the features of this model are like '{told.encoder}'")
        if encoder.dimension != codec.sizes.decoder[-1]:
            raise InvalidModel(f"embeddings of {encoder.dimension} numbers; the model has {codec.sizes.decoder[-1]}")
        self.codec, self.encoder, self.told = codec.to(device).eval(), encoder, told
        self._device = device
        self._embedding = lru_cache(REMEMBERED)(self._encoded)

    @classmethod
    def from_folder(
        cls,
        folder: Path | str,
        *,
        encoder: TextEncoder | None = None,
        allow_noncommercial: bool = False,
        device: str = "cpu",
    ) -> Self:
        """The search of a model folder.

        Args:
            folder: with a codec and ``texts.json``.
            encoder: None for the word vectors of `WordVectors`, where the model was trained with them.
            allow_noncommercial: see `load_component`.
            device: of the features.

        Raises:
            InvalidModel: the folder lacks either, or the encoder is another one than the model was trained with.
            MissingDependency: see `WordVectors`.
        """
        told = ModelTexts.from_folder(ModelFolder(folder).path)
        if encoder is None:
            if told.encoder != WordVectors.name:
                raise InvalidModel(f"'{folder}' needs texts by '{told.encoder}'; give its encoder, such as ClipText")
            encoder = WordVectors()
        codec = load_component(folder, CODEC, allow_noncommercial=allow_noncommercial, device=device)
        return cls(codec, encoder, told, device=device)

    def embeddings(self, texts: Sequence[str]) -> Tensor:
        """Unit vectors, shape [P, C]; raises InvalidInput for texts as `checked_texts` does."""
        if isinstance(texts, str) or not texts:
            raise InvalidInput(f"texts are {texts!r}; needed is a list with at least one")
        return torch.stack([self._embedding(text) for text in texts])

    @torch.inference_mode()
    def search(self, features: Tensor, texts: Sequence[str], *, gate: PresenceGate | None = None) -> FoundTexts:
        """Where texts are.

        Args:
            features: of one frame, shape [levels, c, H, W], or of several, shape [S, levels, c, H, W].
            texts: at least one.
            gate: what makes a text present; None for that of the model.

        Raises:
            InvalidInput: features of another shape, no text, or one that `checked_texts` refuses.
        """
        self._check(features, (4, 5))
        if features.ndim == 4:
            return self._frame(features, texts, gate)
        frames = [self._frame(frame, texts, gate) for frame in features]
        if not frames:
            raise InvalidInput("features of no frame; needed is at least one")
        return FoundTexts(
            texts=frames[0].texts,
            present=torch.stack([frame.present for frame in frames]),
            masks=torch.stack([frame.masks for frame in frames]),
            relevancy=torch.stack([frame.relevancy for frame in frames]),
            level=torch.stack([frame.level for frame in frames]),
        )

    @torch.inference_mode()
    def maps(self, features: Tensor, texts: Sequence[str]) -> TextMaps:
        """Relevancy and similarity in a frame; arguments and errors as of `search`."""
        self._check(features, (4,))
        codes, wanted = features.movedim(1, -1), self.embeddings(texts)
        found = find_texts(codes, self.codec, texts=wanted, negatives=self.embeddings(self.told.negatives))
        relevancy, similarity = chosen_maps(found, codes, self.codec, texts=wanted)
        return TextMaps(relevancy=relevancy, similarity=similarity, level=found.level, stretched=found.masks)

    def _frame(self, features: Tensor, texts: Sequence[str], gate: PresenceGate | None) -> FoundTexts:
        maps = self.maps(features, texts)
        present, masks = maps.masks(gate or self.told.gate, self.told.masks)
        return FoundTexts(texts=tuple(texts), present=present, masks=masks, relevancy=maps.relevancy, level=maps.level)

    def _check(self, features: Tensor, axes: tuple[int, ...]) -> None:
        numbers = self.codec.sizes.decoder[0]
        if features.ndim not in axes or features.shape[-3] != numbers:
            raise InvalidInput(f"features {list(features.shape)}; needed are [levels, {numbers}, H, W] or S times that")

    def _encoded(self, text: str) -> Tensor:
        return torch.from_numpy(self.encoder.encode([text])[0]).to(self._device)


def _text(found: Any) -> str:
    if not isinstance(found, str) or not found.strip():
        raise TypeError(f"{found!r} is no text")
    return found


def _negatives(found: Any) -> tuple[str, ...]:
    if not found:
        raise TypeError("no negatives; needed is at least one")
    return tuple(map(_text, found))


def _rule(found: Any) -> MaskRule:
    if found not in get_args(MaskRule):
        raise TypeError(f"masks are {found!r}; there are {get_args(MaskRule)}")
    rule: MaskRule = found
    return rule


def _gate(found: Any) -> PresenceGate:
    known = {one.name for one in fields(PresenceGate)}
    if not isinstance(found, dict) or not found.keys() <= known:
        raise TypeError(f"a gate of {found!r}; needed are {sorted(known)}")
    if not all(isinstance(value, int | float) and not isinstance(value, bool) for value in found.values()):
        raise TypeError(f"a gate of {found!r}; needed are numbers")
    return PresenceGate(**found)
