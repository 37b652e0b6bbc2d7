"""Whether a text is in an image at all: limits that hold for every image, unlike maps stretched to 0..1."""

from dataclasses import dataclass

import torch
from torch import Tensor

from fourd_ros.errors import InvalidInput
from fourd_ros.scene_language.feature_codec import FeatureCodec
from fourd_ros.scene_language.relevancy import PRESENT, TextMasks, signed


@dataclass(frozen=True, kw_only=True)
class PresenceGate:
    """What a pixel has to reach, and how many have to.

    Args:
        relevancy: of the smoothed map, 0..1; above 0.5 is more like the text than like every negative.
        similarity: cosine of feature and text, -1..1. Spaces differ: CLIP's images and texts have 0.2 to 0.35 where
            they belong together, features trained towards the texts themselves nearly 1. -1 asks for none.
        pixels: that reach both, at least.

    Raises:
        InvalidInput: out of these ranges.
    """

    relevancy: float = PRESENT
    similarity: float = -1.0
    pixels: int = 1

    def __post_init__(self) -> None:
        if not (0 <= self.relevancy <= 1 and -1 <= self.similarity <= 1 and self.pixels >= 1):
            raise InvalidInput(f"{self}; needed are 0..1, -1..1 and at least one pixel")

    def passing(self, found: TextMasks, codes: Tensor, codec: FeatureCodec, *, texts: Tensor) -> Tensor:
        """Pixels of the chosen levels that reach both limits, shape [P, H, W].

        Args:
            found: what `find_texts` said of these codes and texts.
            codes: language features of the levels, shape [L, H, W, c].
            codec: that made them.
            texts: unit embeddings, shape [P, C].
        """
        return self.reached(*chosen_maps(found, codes, codec, texts=texts))

    def reached(self, relevancy: Tensor, similarity: Tensor) -> Tensor:
        """Where maps of one shape reach both limits."""
        return (relevancy > self.relevancy) & (similarity >= self.similarity)

    def masks(self, found: TextMasks, codes: Tensor, codec: FeatureCodec, *, texts: Tensor) -> tuple[Tensor, Tensor]:
        """Which texts are there, shape [P], and where, shape [P, H, W]; nowhere for one that is not there.

        Arguments as of `passing`.
        """
        passing = self.passing(found, codes, codec, texts=texts)
        present = passing.flatten(1).sum(dim=1) >= self.pixels
        return present, found.masks & present[:, None, None]


def chosen_maps(found: TextMasks, codes: Tensor, codec: FeatureCodec, *, texts: Tensor) -> tuple[Tensor, Tensor]:
    """Smoothed relevancy, and cosine of feature and text, of the chosen level of each text, shape [P, H, W] both.

    Arguments as of `PresenceGate.passing`.
    """
    chosen = found.level, torch.arange(len(texts), device=texts.device)
    similar = (codec.decode(signed(codes)) @ texts.T).movedim(-1, 1)
    return found.relevancy[chosen], similar[chosen]
