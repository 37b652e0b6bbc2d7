"""Where in an image a text is meant: the protocol of LERF and LangSplat, as 4D LangSplat evaluates it.

Its masks are never empty, since each map is stretched to 0..1; `is_present` tells whether the text is there at all.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, normalize

from fourd_ros.scene_language.feature_codec import FeatureCodec

NEGATIVES = ("object", "things", "stuff", "texture")
"""Texts that a pixel has to be less like."""

SHARPNESS, WIDE, NARROW = 10.0, 29, 7
THRESHOLD = 0.4
PRESENT = 0.5
"""A relevancy above it means more like the text than like any of the negatives."""


@dataclass(frozen=True, kw_only=True, eq=False)
class TextMasks:
    """Where each of P texts is.

    Args:
        relevancy: smoothed, 0..1, by level and text, shape [L, P, H, W].
        level: the most relevant one of each text, shape [P].
        raw: pixels at this level, shape [P, H, W].
        masks: the same without speckles, shape [P, H, W].
    """

    relevancy: Tensor
    level: Tensor
    raw: Tensor
    masks: Tensor

    @property
    def scores(self) -> Tensor:
        """Largest relevancy by text and level, shape [P, L]."""
        return self.relevancy.flatten(2).amax(dim=-1).T

    def is_present(self, *, above: float = PRESENT) -> Tensor:
        """Whether any pixel is relevant in itself, shape [P]."""
        return self.scores.amax(dim=1) > above


def find_texts(
    codes: Tensor, codec: FeatureCodec, *, texts: Tensor, negatives: Tensor, threshold: float = THRESHOLD
) -> TextMasks:
    """Masks of texts.

    Args:
        codes: language features of the levels, shape [L, H, W, c].
        codec: that made them.
        texts: unit embeddings, shape [P, C].
        negatives: of `NEGATIVES`, shape [n, C].
        threshold: of `stretched` maps, 0..1.
    """
    features = codec.decode(signed(codes))
    seen = smoothed(relevancy(features, texts=texts, negatives=negatives))
    level = seen.flatten(2).amax(dim=-1).argmax(dim=0)
    chosen = seen[level, torch.arange(len(texts), device=seen.device)]
    raw = stretched(chosen) > threshold
    return TextMasks(relevancy=seen, level=level, raw=raw, masks=majority(raw))


def signed(codes: Tensor) -> Tensor:
    """Codes of -1..1; those without any value at or below 0 are taken as stored in 0..1."""
    return 2 * codes - 1 if bool(codes.min() > 0) else codes


def relevancy(features: Tensor, *, texts: Tensor, negatives: Tensor) -> Tensor:
    """How much more a pixel is like a text than like the negative it is most like: 0..1, 0.5 for as much.

    Args:
        features: unit vectors, shape [L, H, W, C].
        texts: unit vectors, shape [P, C].
        negatives: unit vectors, shape [n, C].

    Returns:
        Shape [L, P, H, W].
    """
    nearest = (features @ negatives.T).amax(dim=-1, keepdim=True)
    return (SHARPNESS * (features @ texts.T - nearest)).sigmoid().movedim(-1, 1)


def smoothed(maps: Tensor) -> Tensor:
    """Half of maps [*, H, W] and half of their mean around."""
    return 0.5 * (maps + _mean_around(maps, WIDE))


def stretched(maps: Tensor) -> Tensor:
    """Maps [*, H, W] of 0..1, of which the upper half of their range is left."""
    low, high = (extreme(maps.flatten(-2), dim=-1)[..., None, None] for extreme in (torch.amin, torch.amax))
    return (2 * (maps - low) / (high - low + 1e-9) - 1).clamp(0, 1)


def majority(masks: Tensor) -> Tensor:
    """Masks [*, H, W] of pixels most of whose neighbours are in it."""
    return _mean_around(masks.float(), NARROW) > 0.5


def mean_similarity(codes: Tensor, codec: FeatureCodec, *, text: Tensor, mask: Tensor) -> Tensor:
    """Of a text with the pixels of a mask, -1..1, a scalar; NaN for an empty mask.

    Args:
        codes: shape [H, W, c].
        codec: that made them.
        text: embedding of any length, shape [C].
        mask: shape [H, W].
    """
    return (codec.decode(codes[mask]) @ normalize(text, dim=0)).mean()


def _mean_around(maps: Tensor, side: int) -> Tensor:
    flat = maps.reshape(-1, 1, *maps.shape[-2:])
    return avg_pool2d(flat, side, stride=1, padding=side // 2, count_include_pad=False).view_as(maps)
