"""What scene language is trained for: cameras, depth, points (VGGT, arXiv 2503.11651, section 3.4) and words of pixels.

Every loss is of each sample by itself, shape [B].
"""

import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity, huber_loss

from fourd_ros.scene_language.pose_encoding import FIELD_OF_VIEW, ROTATION, TRANSLATION

HUBER, FIELD_WEIGHT = 0.1, 0.5
"""Of StreamVGGT's camera loss."""

EARLIER = 0.6
"""Weight of a refinement of the pose against that of the next one."""

DOUBT = 0.2
"""VGGT's weight of the logarithm of the confidence."""


def camera_loss(predicted: Tensor, target: Tensor) -> Tensor:
    """Huber's loss of positions, rotations and half of that of fields of view, of all refinements.

    Args:
        predicted: encodings after each refinement, shape [R, B, S, 9].
        target: shape [B, S, 9].
    """
    error = huber_loss(predicted, target.expand_as(predicted), reduction="none", delta=HUBER).mean(dim=2)
    per_refinement = (
        error[..., TRANSLATION].mean(dim=-1)
        + error[..., ROTATION].mean(dim=-1)
        + FIELD_WEIGHT * error[..., FIELD_OF_VIEW].mean(dim=-1)
    )
    weights = EARLIER ** torch.arange(len(predicted) - 1, -1, -1, device=predicted.device)
    return (weights[:, None] * per_refinement).sum(dim=0) / weights.sum()


def confident_loss(predicted: Tensor, confidence: Tensor, target: Tensor, known: Tensor) -> Tensor:
    """Errors of maps and of their slopes, which the network may take less seriously where it doubts, at a price.

    ``mean(c |p - t|) + mean(c |slope of p - t|) - 0.2 mean(log c)``, over known pixels.

    Args:
        predicted: shape [B, S, H, W, C].
        confidence: above 0, shape [B, S, H, W].
        target: as `predicted`; anything finite where it is not known.
        known: shape [B, S, H, W].
    """
    error = predicted - target
    loss = _mean(confidence * error.norm(dim=-1) - DOUBT * confidence.log(), known)
    for axis in (2, 3):
        count = error.shape[axis] - 1
        both = known.narrow(axis, 0, count) & known.narrow(axis, 1, count)
        slope = (error.narrow(axis, 1, count) - error.narrow(axis, 0, count)).norm(dim=-1)
        loss = loss + _mean(confidence.narrow(axis, 0, count) * slope, both)
    return loss


def words_loss(features: Tensor, target: Tensor, named: Tensor, *, distance: float, angle: float) -> Tensor:
    """Of language features, as `LanguageObjective` has it, but over drawn pixels alone.

    Args:
        features: shape [B, S, 3, c, P].
        target: unit codes, the same shape.
        named: 0 for frames in which nobody can name a pixel, shape [B, S].
        distance: weight of the mean absolute error.
        angle: of one minus the cosine.
    """
    error = distance * (features - target).abs().mean(dim=3)
    error = error + angle * (1 - cosine_similarity(features, target, dim=3, eps=1e-8))
    return _mean(error.mean(dim=(2, 3)), named)


def colours_loss(colours: Tensor, images: Tensor) -> Tensor:
    """Half the mean absolute and half the mean squared error (4DLangVGGT), shape [B] of [B, S, 3, H, W]."""
    error = (colours - images).flatten(1)
    return 0.5 * error.abs().mean(dim=1) + 0.5 * error.square().mean(dim=1)


def _mean(values: Tensor, weight: Tensor) -> Tensor:
    """Of each sample; 0 where nothing counts."""
    total = weight.flatten(1).float().sum(dim=1)
    return (values * weight).flatten(1).sum(dim=1) / total.clamp(min=1e-6)
