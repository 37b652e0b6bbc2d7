"""What the two stages of training minimise: first the Gaussians themselves, then pictures of them."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from fourd_ros.part_dynamics.rasterise import Backend, render_tensors
from fourd_ros.part_dynamics.splat_camera import SplatCamera

LPIPS_SIZE = 256
Perceptual = Callable[[Tensor, Tensor], Tensor]
"""Images [B, 3, H, W] in -1..1, twice -> distance [B]."""


def motion_loss(predicted: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
    """Mean squared error of the channels of Gaussians, one by one; shape [B].

    Args:
        predicted: shape [B, N, 14].
        target: those of the moved object in the same order.
        weight: of the channels of each Gaussian, shape [B, N, 14]; None for 1, as in the original.
    """
    square = (predicted - target).square()
    return (square if weight is None else square * weight).mean(dim=(1, 2))


class Appearance(NamedTuple):
    """Errors of the pictures of B objects.

    Args:
        rgb: mean squared error of colour, shape [B].
        alpha: of what is covered, shape [B].
        perceptual: LPIPS, shape [B]; 0 without one.
        pictures: rendered, shape [B, V, 3, S, S].
        covered: alpha of them, shape [B, V, 1, S, S].
    """

    rgb: Tensor
    alpha: Tensor
    perceptual: Tensor
    pictures: Tensor
    covered: Tensor

    @property
    def loss(self) -> Tensor:
        """The sum, shape [B]."""
        return self.rgb + self.alpha + self.perceptual


def on_white(pictures: Tensor, masks: Tensor) -> Tensor:
    """Pictures where masks are 1, white where they are 0."""
    return pictures * masks + (1 - masks)


def appearance_loss(
    gaussians: Tensor,
    cameras: Sequence[Sequence[SplatCamera]],
    pictures: Tensor,
    masks: Tensor,
    *,
    perceptual: Perceptual | None = None,
    perceptual_size: int = LPIPS_SIZE,
    backend: Backend | str = "auto",
) -> Appearance:
    """Errors of rendered pictures.

    Args:
        gaussians: shape [B, N, 14].
        cameras: V of each object.
        pictures: true ones, 0..1, shape [B, V, 3, S, S].
        masks: where they show the object, 0..1, shape [B, V, 1, S, S].
        perceptual: LPIPS.
        perceptual_size: rows and columns that pictures get for it; 256 in the original.
        backend: of the rasteriser.
    """
    rendered = [
        render_tensors(values, views, backend=backend)  # type: ignore[arg-type]
        for values, views in zip(gaussians, cameras, strict=True)
    ]
    made, covered = (torch.stack([getattr(each, name) for each in rendered]) for name in ("rgb", "alpha"))
    true = on_white(pictures, masks)
    return Appearance(
        rgb=(made - true).square().mean(dim=(1, 2, 3, 4)),
        alpha=(covered - masks).square().mean(dim=(1, 2, 3, 4)),
        perceptual=_perceptual(made, true, perceptual, perceptual_size),
        pictures=made,
        covered=covered,
    )


def _perceptual(made: Tensor, true: Tensor, perceptual: Perceptual | None, size: int) -> Tensor:
    if perceptual is None:
        return made.new_zeros(len(made))
    one, other = (
        functional.interpolate(images.flatten(0, 1) * 2 - 1, (size, size), mode="bilinear", align_corners=False)
        for images in (made, true)
    )
    return perceptual(other, one).unflatten(0, (len(made), -1)).mean(dim=1)
