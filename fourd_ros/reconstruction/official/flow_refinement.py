"""Depth refined by optical flow: pixels moved by it and the poses must go where the flow says.

The stage as DynamicVerse means it, with an optimiser that is alive: its released driver replaces the depth that its
optimiser steps, and so has no effect. Source: specification of DynamicVerse, 6.4.6 and 14.1.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fourd_ros.reconstruction.official.projection import project, unproject

__all__ = [
    "FlowSettings",
    "cycle_weights",
    "flow_loss",
    "flow_windows",
    "refinable_pixels",
    "refine_depth",
]

NEAREST, FARTHEST = 0.01, 100.0
"""Depth is kept within [m]."""


@dataclass(frozen=True, kw_only=True)
class FlowSettings:
    """Of the refinement.

    Args:
        epochs: steps for each window.
        rate: of Adam [m].
        sample_ratio: share of the pixels that is drawn for each pair and step, (0, 1].
        huber: error [px] beyond which it counts linearly.
        sigma: of the weight by the error of going there and back [px].
        least_weight: of a pixel whose way back fails.
        window: frames that are refined together.
        stride: frames from one window to the next.
        seed: of the drawing.
    """

    epochs: int = 50
    rate: float = 1e-2
    sample_ratio: float = 0.5
    huber: float = 1.0
    sigma: float = 1.0
    least_weight: float = 0.01
    window: int = 5
    stride: int = 4
    seed: int = 42


@dataclass(frozen=True, kw_only=True)
class _Pair:
    start: int
    end: int
    pixels: Tensor
    target: Tensor
    weight: Tensor


def refinable_pixels(
    static: NDArray[np.bool_], tracks: NDArray[np.floating], visible: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """Static pixels that no static track lies in, shape [F, H, W]: the tracks have set the depth of theirs.

    Args:
        static: shape [F, H, W].
        tracks: pixels (x, y) inside the image, of long static tracks, shape [F, N, 2].
        visible: shape [F, N].
    """
    free = static.copy()
    frame, track = np.nonzero(visible)
    column, row = tracks[frame, track].astype(np.int64).T
    free[frame, row, column] = False
    return free


def flow_windows(frames: int, *, window: int, stride: int) -> list[list[int]]:
    """Frames that are refined together, two or more; the last window ends with the last frame."""
    starts = range(0, max(1, frames - window + stride), stride)
    found = [list(range(start, min(start + window, frames))) for start in starts]
    return [one for one in found if len(one) > 1]


def cycle_weights(
    pixels: Tensor, forward: Tensor, backward: Tensor | None, *, sigma: float = 1.0, least: float = 0.01
) -> Tensor:
    """How far the flow of pixels can be trusted, by whether the flow back leads home again, shape [n].

    Args:
        pixels: (x, y) integers, shape [n, 2].
        forward: flow [px], shape [H, W, 2].
        backward: from the other frame to this one, same shape; all weights are 1 without.
        sigma: error of the way home [px] that counts exp(-1/2).
        least: weight; also of pixels that leave ``[0, W - 1) x [0, H - 1)``.
    """
    if backward is None:
        return torch.ones(len(pixels), dtype=forward.dtype, device=forward.device)
    height, width = forward.shape[:2]
    target = pixels + _at(forward, pixels)
    x, y = target.unbind(dim=1)
    inside = (x >= 0) & (x < width - 1) & (y >= 0) & (y < height - 1)
    there = torch.stack([x.clamp(0, width - 1), y.clamp(0, height - 1)], dim=1)
    error = torch.linalg.vector_norm(target + _at(backward, there) - pixels, dim=1)
    weight = torch.exp(-error.square() / (2 * sigma**2)).clamp_min(least)
    return torch.where(inside, weight, torch.full_like(weight, least))


def flow_loss(
    depth: Tensor,
    pairs: Iterable[tuple[int, int]],
    flows: dict[tuple[int, int], Tensor],
    free: Tensor,
    R: Tensor,
    t: Tensor,
    K: Tensor,
    *,
    settings: FlowSettings = FlowSettings(),
) -> Tensor:
    """Mean over pairs of frames of the mean weighted Huber error of the flow [px], over all free pixels; a scalar.

    Args:
        depth: shape [F, H, W].
        pairs: from, to.
        flows: by pair [px], shape [H, W, 2].
        free: pixels that count, shape [F, H, W], bool.
        R: shape [F, 3, 3].
        t: shape [F, 3].
        K: shape [3, 3].
        settings: Huber and weights.
    """
    prepared = _prepare(pairs, flows, free, depth.detach(), settings)
    return _loss(depth, prepared, R, t, K, huber=settings.huber)


def refine_depth(
    depth: Tensor,
    flows: dict[tuple[int, int], Tensor],
    free: Tensor,
    R: Tensor,
    t: Tensor,
    K: Tensor,
    *,
    settings: FlowSettings = FlowSettings(),
) -> Tensor:
    """Depth after a descent by ``flow_loss`` in each window of frames, shape [F, H, W].

    Args:
        depth: shape [F, H, W].
        flows: by pair of frames [px], shape [H, W, 2]; of each window, the pairs it has are used.
        free: pixels that may change, shape [F, H, W], bool.
        R: shape [F, 3, 3].
        t: shape [F, 3].
        K: shape [3, 3].
        settings: of the descent.
    """
    refined = depth.detach().clone().requires_grad_()
    generator = torch.Generator().manual_seed(settings.seed)
    for frames in flow_windows(len(depth), window=settings.window, stride=settings.stride):
        asked = [(a, b) for a in frames for b in frames if a != b and (a, b) in flows]
        prepared = _prepare(asked, flows, free, refined.detach(), settings)
        if prepared:
            _descend(refined, prepared, R, t, K, settings, generator)
    return refined.detach()


def _descend(
    depth: Tensor,
    prepared: Sequence[_Pair],
    R: Tensor,
    t: Tensor,
    K: Tensor,
    settings: FlowSettings,
    generator: torch.Generator,
) -> None:
    optimiser = torch.optim.Adam([depth], lr=settings.rate)
    for _ in range(settings.epochs):
        optimiser.zero_grad()
        drawn = [_draw(pair, settings.sample_ratio, generator) for pair in prepared]
        _loss(depth, drawn, R, t, K, huber=settings.huber).backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        with torch.no_grad():
            depth.clamp_(NEAREST, FARTHEST)


def _prepare(
    pairs: Iterable[tuple[int, int]],
    flows: dict[tuple[int, int], Tensor],
    free: Tensor,
    depth: Tensor,
    settings: FlowSettings,
) -> list[_Pair]:
    """Pixels, targets and weights of the pairs that have any usable pixel."""
    usable = free & torch.isfinite(depth) & (depth > 0)
    prepared = []
    for start, end in pairs:
        pixels = usable[start].nonzero().flip(1).to(depth.dtype)
        forward, backward = flows[start, end], flows.get((end, start))
        if len(pixels):
            weight = cycle_weights(pixels, forward, backward, sigma=settings.sigma, least=settings.least_weight)
            target = pixels + _at(forward, pixels)
            prepared.append(_Pair(start=start, end=end, pixels=pixels, target=target, weight=weight))
    return prepared


def _draw(pair: _Pair, ratio: float, generator: torch.Generator) -> _Pair:
    if ratio >= 1:
        return pair
    count = max(1, int(ratio * len(pair.pixels)))
    chosen = torch.randperm(len(pair.pixels), generator=generator)[:count].to(pair.pixels.device)
    return _Pair(
        start=pair.start,
        end=pair.end,
        pixels=pair.pixels[chosen],
        target=pair.target[chosen],
        weight=pair.weight[chosen],
    )


def _loss(depth: Tensor, pairs: Sequence[_Pair], R: Tensor, t: Tensor, K: Tensor, *, huber: float) -> Tensor:
    if not pairs:
        return depth.sum() * 0
    losses = []
    for pair in pairs:
        column, row = pair.pixels.long().unbind(dim=1)
        points = unproject(pair.pixels, depth[pair.start, row, column], R[pair.start], t[pair.start], K)
        pixels, _ = project(points, R[pair.end], t[pair.end], K)
        error = torch.linalg.vector_norm(pixels - pair.target, dim=1)
        robust = torch.where(error <= huber, error.square() / 2, huber * (error - huber / 2))
        losses.append((robust * pair.weight).mean())
    return torch.stack(losses).mean()


def _at(maps: Tensor, pixels: Tensor) -> Tensor:
    """Values of a map [H, W, c] at pixels (x, y) whose fractions are cut off, shape [n, c]."""
    column, row = pixels.long().unbind(dim=1)
    return maps[row, column]
