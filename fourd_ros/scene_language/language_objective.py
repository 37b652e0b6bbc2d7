"""What the language head is trained for, and the schedule of its published training (4DLangVGGT)."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity


@dataclass(frozen=True, kw_only=True)
class LanguageObjective:
    """Weights of the terms; zero leaves one out.

    Args:
        distance: of the mean absolute error of features.
        angle: of one minus their cosine.
        colours: whether the picture counts; half its mean absolute and half its mean squared error by default.
        colour_share: of the absolute error in the error of the picture.
        official_compat: take the cosine along rows of the image, not along channels, as the original does.
    """

    distance: float = 0.2
    angle: float = 0.01
    colours: bool = True
    colour_share: float = 0.5
    official_compat: bool = False

    def __call__(self, features: Tensor, colours: Tensor, *, target: Tensor, mask: Tensor, images: Tensor) -> Tensor:
        """The loss, a scalar; arguments as of `terms`."""
        return self.total(self.terms(features, colours, target=target, mask=mask, images=images)).mean()

    def terms(
        self, features: Tensor, colours: Tensor, *, target: Tensor, mask: Tensor, images: Tensor
    ) -> dict[str, Tensor]:
        """Those that count, of each frame, before their weights, shape [b].

        Args:
            features: predicted, shape [1, b, 3, C, H, W].
            colours: predicted, shape [1, b, 3, H, W].
            target: of the features, shape [b, 3, C, H, W].
            mask: where there is one, shape [b, 3, 1, H, W]; elsewhere both sides count as zero.
            images: shape [1, b, 3, H, W].
        """
        made, wanted = (features * mask)[0], target * mask
        terms = {"distance": _of_frames((made - wanted).abs())}
        if self.angle:
            axis = -1 if self.official_compat else -3
            terms["angle"] = 1 - _of_frames(cosine_similarity(made, wanted, dim=axis, eps=1e-8))
        if self.colours:
            error = (colours - images)[0]
            share = self.colour_share
            terms["colours"] = share * _of_frames(error.abs()) + (1 - share) * _of_frames(error.square())
        return terms

    def total(self, terms: Mapping[str, Tensor]) -> Tensor:
        """Their weighted sum, shape [b]."""
        weights = {"distance": self.distance, "angle": self.angle, "colours": 1.0}
        return torch.stack([weights[name] * term for name, term in terms.items()]).sum(dim=0)


def _of_frames(error: Tensor) -> Tensor:
    """Means over all but the first axis."""
    return error.flatten(1).mean(dim=1)


def learning_rate(
    epoch: int, *, peak: float = 4e-5, warm_up: int = 20, epochs: int = 100, least: float | None = None
) -> float:
    """Of an epoch.

    Args:
        epoch: 0 is the first one, whose rate is zero.
        peak: that is reached after `warm_up` epochs.
        warm_up: epochs in which the rate rises.
        epochs: of the training.
        least: that is reached along a cosine at its end; None stays at `peak`.
    """
    if epoch < warm_up:
        return peak * epoch / warm_up
    if least is None:
        return peak
    passed = (epoch - warm_up) / (epochs - warm_up)
    return least + (peak - least) * (1 + math.cos(math.pi * passed)) / 2


def official_optimiser(parameters: Iterable[nn.Parameter], *, rate: float) -> torch.optim.AdamW:
    """AdamW of the published training: weights of one dimension do not decay."""
    given = list(parameters)
    groups: list[dict[str, Any]] = [
        {"params": [one for one in given if one.ndim >= 2], "weight_decay": 1e-4},
        {"params": [one for one in given if one.ndim < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=rate, betas=(0.9, 0.95))
