"""Depth of single frames made to agree with points in space: scales at the points, interpolated over the pixels."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from torch import Tensor

from fourd_ros.reconstruction.official.projection import bilinear, project

__all__ = ["Controls", "interpolate_depth"]

NEIGHBOURS = 3

_EPSILON = 1e-8


@dataclass(frozen=True, kw_only=True)
class Controls:
    """Points whose depth is trusted.

    Args:
        points: in the world [m], shape [N, 3], or [N, F, 3] for points that move.
        visible: shape [F, N], bool.
    """

    points: Tensor
    visible: Tensor

    def in_frame(self, frame: int) -> Tensor:
        """Those that the frame sees, shape [n, 3]."""
        places = self.points if self.points.ndim == 2 else self.points[:, frame]
        return places[self.visible[frame]]


def interpolate_depth(
    depth: Tensor,
    regions: NDArray[np.uint8],
    R: Tensor,
    t: Tensor,
    K: Tensor,
    controls: Mapping[int, Controls],
    *,
    official_compat: bool = False,
) -> Tensor:
    """Depth multiplied by the scale of the three nearest control points of the same region, shape [F, H, W].

    The scale of a control point is its depth over that of the image at its projection; scales are weighted by the
    inverse squared distance in space, where all places are those that the given depth says. Pixels of other regions,
    and regions without a control point in a frame, keep their depth. Source: specification of DynamicVerse, 6.4.5.

    Args:
        depth: of the frames [m], shape [F, H, W]; unknown where it is NaN or not positive.
        regions: shape [F, H, W].
        R: rotations of the cameras in the world, shape [F, 3, 3].
        t: their centres [m], shape [F, 3].
        K: shape [3, 3].
        controls: by the number of the region they are for.
        official_compat: count points in the last fraction of a pixel, at the right and lower edge, as DynamicVerse
            does: beyond the edge it reads depth as zero, so their scale comes out too large.
    """
    rays = _rays(depth.shape[1], depth.shape[2], K)
    return torch.stack(
        [
            _interpolate_frame(
                depth[frame],
                regions[frame],
                (R[frame], t[frame], K),
                rays,
                {region: one.in_frame(frame) for region, one in controls.items()},
                official_compat=official_compat,
            )
            for frame in range(len(depth))
        ]
    )


def _interpolate_frame(
    depth: Tensor,
    regions: NDArray[np.uint8],
    camera: tuple[Tensor, Tensor, Tensor],
    rays: Tensor,
    points: Mapping[int, Tensor],
    *,
    official_compat: bool,
) -> Tensor:
    places = rays * depth[..., None]
    known = torch.isfinite(depth) & (depth > 0)
    scale = torch.ones_like(depth)
    for region, controls in points.items():
        pixels, scales = _scales(depth, controls, camera, official_compat=official_compat)
        asked = torch.from_numpy(regions == region).to(depth.device) & known
        if len(scales) and asked.any():
            column, row = pixels.unbind(dim=1)
            scale[asked] = _nearest_mean(places[asked], places[row, column], scales)
    return depth * scale


def _scales(
    depth: Tensor, points: Tensor, camera: tuple[Tensor, Tensor, Tensor], *, official_compat: bool
) -> tuple[Tensor, Tensor]:
    """Pixels with their fractions cut off, shape [n, 2], and scales, shape [n], of the points that can be used."""
    pixels, distance = project(points, *camera)
    at = bilinear(depth[None], pixels[None])[0]
    height, width = depth.shape
    x, y = pixels.unbind(dim=1)
    inside = (x < width) & (y < height) if official_compat else (x <= width - 1) & (y <= height - 1)
    scales = distance / at
    usable = (distance > 0) & (x >= 0) & (y >= 0) & inside & torch.isfinite(scales) & (scales > 0)
    chosen = pixels[usable].long()
    column, row = chosen.unbind(dim=1)
    known = torch.isfinite(depth[row, column])
    return chosen[known], scales[usable][known]


def _nearest_mean(asked: Tensor, controls: Tensor, scales: Tensor) -> Tensor:
    """Mean of the scales of the nearest controls, weighted by the inverse squared distance, shape [n]."""
    count = min(NEIGHBOURS, len(scales))
    tree = cKDTree(controls.cpu().double().numpy())
    distance, order = tree.query(asked.cpu().double().numpy(), k=range(1, count + 1))
    weight = 1 / (np.square(distance) + _EPSILON)
    weight /= weight.sum(axis=1, keepdims=True)
    mean = (weight * scales.cpu().double().numpy()[order]).sum(axis=1)
    return torch.from_numpy(mean).to(asked.device, asked.dtype)


def _rays(height: int, width: int, K: Tensor) -> Tensor:
    """Directions of the pixels at depth 1, shape [H, W, 3]."""
    x = torch.arange(width, dtype=K.dtype, device=K.device)
    y = torch.arange(height, dtype=K.dtype, device=K.device)
    row, column = torch.meshgrid(y, x, indexing="ij")
    homogeneous = torch.stack([column, row, torch.ones_like(row)], dim=-1)
    rays: Tensor = homogeneous @ torch.linalg.inv(K).T
    return rays
