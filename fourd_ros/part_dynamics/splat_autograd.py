"""The compiled rasteriser as a differentiable function of torch, on the CPU."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from fourd_ros.part_dynamics.splat_camera import SplatCamera
from fourd_ros.part_dynamics.splat_compiled import DrawnView, differentiate, draw


def draw_compiled(
    values: Tensor, cameras: Sequence[SplatCamera], background: Tensor, modifier: float
) -> tuple[Tensor, Tensor]:
    """Render every view; differentiable once, with respect to `values`.

    Args:
        values: on the CPU, shape [N, 14].
        cameras: views of one size.
        background: rgb, float32 [3].
        modifier: of the scales.

    Returns:
        r, g, b (not clamped), alpha, depth, shape [V, 5, H, W], and the radii [px], int32 [V, N].
    """
    images, radii = _Splatting.apply(values.float(), tuple(cameras), background.detach().numpy(), modifier)  # type: ignore[no-untyped-call]
    return images, radii


class _Splatting(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, values: Tensor, cameras: tuple[SplatCamera, ...], background: Any, modifier: float
    ) -> tuple[Tensor, Tensor]:
        table = values.detach().contiguous().numpy()
        views = draw(table, cameras, background=background, modifier=modifier)
        ctx.save_for_backward(values)
        ctx.views, ctx.modifier = views, modifier
        radii = torch.from_numpy(np.stack([view.radii for view in views]))
        ctx.mark_non_differentiable(radii)
        return torch.from_numpy(np.stack([view.image for view in views])), radii

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, by_images: Tensor, by_radii: Tensor) -> tuple[Tensor, None, None, None]:
        (values,) = ctx.saved_tensors
        views: list[DrawnView] = ctx.views
        gradients = by_images.float().contiguous().numpy()
        table = values.detach().contiguous().numpy()
        return (
            torch.from_numpy(differentiate(table, views, modifier=ctx.modifier, gradients=gradients)),
            None,
            None,
            None,
        )
