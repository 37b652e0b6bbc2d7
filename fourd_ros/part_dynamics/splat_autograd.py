"""The compiled rasteriser as a differentiable function of torch, on the CPU.

Nothing here is computed by torch: its threads spin while they wait for each other, which takes longer than all that is
to be done whenever another program wants the cores.
"""

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
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Render every view; differentiable once, with respect to `values`.

    Args:
        values: on the CPU, shape [N, 14].
        cameras: views of one size.
        background: rgb, float32 [3].
        modifier: of the scales.

    Returns:
        rgb within 0 and 1 [V, 3, H, W], alpha and depth [V, 1, H, W], and the radii [px], int32 [V, N].
    """
    tint = background.detach().numpy()
    drawn: tuple[Tensor, Tensor, Tensor, Tensor] = _Splatting.apply(values.float(), tuple(cameras), tint, modifier)  # type: ignore[no-untyped-call]
    return drawn


class _Splatting(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, values: Tensor, cameras: tuple[SplatCamera, ...], background: Any, modifier: float
    ) -> tuple[Tensor, ...]:
        table = values.detach().contiguous().numpy()
        views = draw(table, cameras, background=background, modifier=modifier)
        ctx.save_for_backward(values)
        ctx.views, ctx.modifier = views, modifier
        images = np.stack([view.image for view in views])
        parts = np.clip(images[:, :3], 0, 1), images[:, 3:4].copy(), images[:, 4:5].copy()
        radii = torch.from_numpy(np.stack([view.radii for view in views]))
        ctx.mark_non_differentiable(radii)
        ctx.set_materialize_grads(False)
        return *(torch.from_numpy(part) for part in parts), radii

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *by_parts: Tensor | None) -> tuple[Tensor | None, None, None, None]:
        (values,) = ctx.saved_tensors
        views: list[DrawnView] = ctx.views
        gradients = np.zeros((len(views), *views[0].image.shape), np.float32)
        for by_part, channels in zip(by_parts, (slice(0, 3), slice(3, 4), slice(4, 5)), strict=False):
            if by_part is not None:
                gradients[:, channels] = by_part.numpy()
        for gradient, view in zip(gradients, views, strict=True):
            rgb = view.image[:3]
            gradient[:3][(rgb < 0) | (rgb > 1)] = 0
        table = values.detach().contiguous().numpy()
        by_values = differentiate(table, views, modifier=ctx.modifier, gradients=gradients)
        return torch.from_numpy(by_values), None, None, None
