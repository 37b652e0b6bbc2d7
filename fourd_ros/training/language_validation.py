"""How wrong a language head is on pictures that are held out."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import cosine_similarity

COLOURS = 3


@dataclass(frozen=True, kw_only=True)
class LanguageErrors:
    """Of a frame, over the pixels that have a feature; means of small, middle and large masks.

    Args:
        cosine: of predicted and true features.
        cosine_mean: of the mean of the true ones everywhere, which sees nothing.
        nearest: share of pixels whose predicted feature is nearest to their own of the masks of this frame.
        colours: mean absolute error of the picture, 0..1.
    """

    cosine: float
    cosine_mean: float
    nearest: float
    colours: float

    @staticmethod
    def mean(errors: Sequence["LanguageErrors"]) -> dict[str, float]:
        """Over frames, by name; what no frame tells is left out."""
        columns = {name: np.array([asdict(one)[name] for one in errors]) for name in asdict(errors[0])}
        return {name: float(np.nanmean(values)) for name, values in columns.items() if np.isfinite(values).any()}


def language_errors(features: Tensor, colours: Tensor, sample: Mapping[str, Tensor]) -> LanguageErrors:
    """Errors of one frame.

    Args:
        features: predicted, shape [3, c, H, W].
        colours: predicted, shape [3, H, W].
        sample: of this frame, see `LanguageSamples.sample`.
    """
    levels = []
    for said, target, mask in zip(features, sample["target"], sample["mask"][:, 0], strict=True):
        if mask.any():
            levels.append(_level(said[:, mask].T, target[:, mask].T))
    cosine, of_mean, nearest = np.mean(levels, axis=0) if levels else (float("nan"),) * 3
    return LanguageErrors(
        cosine=float(cosine),
        cosine_mean=float(of_mean),
        nearest=float(nearest),
        colours=float((colours - sample["image"]).abs().mean()),
    )


def picture(features: Tensor, colours: Tensor, sample: Mapping[str, Tensor]) -> NDArray[np.uint8]:
    """Two rows: what is predicted, and what is true; the picture, then features of small, middle and large masks, their
    first three numbers as colours. Shape [2 H, 4 W, 3]."""
    rows = [
        torch.cat([shown, *(_as_colours(level) for level in maps)], dim=-1)
        for shown, maps in ((colours, features), (sample["image"], sample["target"]))
    ]
    return (torch.cat(rows, dim=-2).clamp(0, 1).movedim(0, -1).cpu().numpy() * 255).astype(np.uint8)


def _level(said: Tensor, true: Tensor) -> tuple[float, float, float]:
    """Cosines and share of the nearest, of pixels [n, c]."""
    masks, own = torch.unique(true, dim=0, return_inverse=True)
    chosen = (torch.nn.functional.normalize(said, dim=1) @ torch.nn.functional.normalize(masks, dim=1).T).argmax(dim=1)
    mean = true.mean(dim=0, keepdim=True)
    return (
        float(cosine_similarity(said, true, dim=1).mean()),
        float(cosine_similarity(mean, true, dim=1).mean()),
        float((chosen == own).float().mean()),
    )


def _as_colours(features: Tensor) -> Tensor:
    """-1..1 as 0..1, shape [3, H, W]."""
    shown = (features[:COLOURS] + 1) / 2
    return torch.cat([shown, shown.new_zeros(COLOURS - len(shown), *shown.shape[1:])])
