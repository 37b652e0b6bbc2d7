"""Points in space from tracks, depth and poses, and which of them to leave out.

Shapes: F frames, N tracks, poses ``R`` [F, 3, 3] and ``t`` [F, 3] with ``X_world = R X_camera + t``. Tracks lie in the
image: whoever calls has moved them there (``projection.within_image``). Source: specification of DynamicVerse, 6.4.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from torch import Tensor

from fourd_ros.reconstruction.official.losses import NO_NEIGHBOUR, rigidity_of_points, smoothness_of_points
from fourd_ros.reconstruction.official.projection import bilinear, depth_of_pixel, unproject

__all__ = ["dynamic_outliers", "isolated_points", "moving_points", "neighbours_at_birth", "static_points"]

NEIGHBOURS = 4
SMOOTHNESS_WEIGHT, RIGIDITY_WEIGHT = 10.0, 100.0
"""Of the loss of points that move: their way from frame to frame, and changes of the distance to neighbours."""

_ISOLATED_NEIGHBOURS = 5
_QUANTILE = 0.98
_OUTLIER_MARGIN = 1.0
_NOTHING_SEEN = 1e-16


def moving_points(tracks: Tensor, depth: Tensor, R: Tensor, t: Tensor, K: Tensor) -> Tensor:
    """Where every track is in every frame, visible or not, by the depth of the pixel it lies in, shape [N, F, 3].

    Args:
        tracks: pixels (x, y), shape [F, N, 2].
        depth: of the frames [m], shape [F, H, W].
        R: shape [F, 3, 3].
        t: shape [F, 3].
        K: shape [3, 3].
    """
    return unproject(tracks, depth_of_pixel(depth, tracks), R, t, K).transpose(0, 1)


def static_points(
    tracks: Tensor,
    visible: Tensor,
    depth: Tensor,
    R: Tensor,
    t: Tensor,
    K: Tensor,
    *,
    official_confidence: Tensor | None = None,
) -> Tensor:
    """Mean of where each visible frame sees a track [m], the origin for one that no frame sees, shape [N, 3].

    Args:
        tracks: pixels (x, y), shape [F, N, 2].
        visible: after the test whether a track lies in the image, shape [F, N], 0 or 1.
        depth: of the frames [m], shape [F, H, W].
        R: shape [F, 3, 3].
        t: shape [F, 3].
        K: shape [3, 3].
        official_confidence: visibility before the test, shape [F, N], to do what DynamicVerse does: it divides by the
            sum of this instead, so that points whose tracks left the image come out too near to the origin.
    """
    places = moving_points(tracks, depth, R, t, K).transpose(0, 1)
    shares = visible if official_confidence is None else official_confidence
    weight = (visible * shares).to(places.dtype)[..., None]
    total = (shares.to(places.dtype) + _NOTHING_SEEN).sum(dim=0)[:, None]
    return (places * weight).sum(dim=0) / total


def isolated_points(points: Tensor) -> Tensor:
    """Points whose mean squared distance to their five nearest exceeds that of 98 in 100 points, shape [N], bool.

    None is isolated where there are no more than five.

    Args:
        points: shape [N, 3].
    """
    if len(points) <= _ISOLATED_NEIGHBOURS:
        return torch.zeros(len(points), dtype=torch.bool, device=points.device)
    places = points.detach().cpu().double().numpy()
    distance, _ = cKDTree(places).query(places, k=_ISOLATED_NEIGHBOURS + 1)
    squared = torch.from_numpy(np.square(distance[:, 1:]).mean(axis=1)).to(points.device, points.dtype)
    return squared > squared.quantile(_QUANTILE)


def neighbours_at_birth(tracks: Tensor, visible: Tensor, born: Tensor, depth: Tensor, K: Tensor) -> Tensor:
    """The nearest tracks of each, in the space of the camera that saw it first, shape [N, 4], int64.

    Only tracks that are visible in that frame count; ``NO_NEIGHBOUR`` where there are fewer.

    Args:
        tracks: pixels (x, y), shape [F, N, 2].
        visible: shape [F, N], 0 or 1.
        born: first frame of every track, shape [N].
        depth: of the frames [m], shape [F, H, W]; read between pixels.
        K: shape [3, 3].
    """
    identity = torch.eye(3, dtype=tracks.dtype, device=tracks.device)
    centre = torch.zeros(3, dtype=tracks.dtype, device=tracks.device)
    places = unproject(tracks, bilinear(depth, tracks), identity, centre, K).detach().cpu().numpy()
    seen, first = visible.cpu().numpy().astype(bool), born.cpu().numpy()
    found = np.full((len(first), NEIGHBOURS), NO_NEIGHBOUR, np.int64)
    for frame in np.unique(first):
        own = np.flatnonzero(first == frame)
        found[own] = _nearest(places[frame], own, np.flatnonzero(seen[frame]))
    return torch.from_numpy(found).to(tracks.device)


def _nearest(places: NDArray[np.floating], own: NDArray[np.int64], others: NDArray[np.int64]) -> NDArray[np.int64]:
    """The four of `others` nearest to each of `own`, itself left out."""
    if not len(others):
        return np.full((len(own), NEIGHBOURS), NO_NEIGHBOUR, np.int64)
    count = min(NEIGHBOURS + 1, len(others))
    _, order = cKDTree(places[others]).query(places[own], k=range(1, count + 1))
    found = others[order]
    is_other = found != own[:, None]
    first = np.argsort(~is_other, axis=1, kind="stable")
    found = np.where(np.take_along_axis(is_other, first, 1), np.take_along_axis(found, first, 1), NO_NEIGHBOUR)
    padding = np.full((len(own), max(0, NEIGHBOURS - count)), NO_NEIGHBOUR, np.int64)
    return np.concatenate([found, padding], axis=1)[:, :NEIGHBOURS]


def dynamic_outliers(points: Tensor, visible: Tensor, neighbours: Tensor) -> Tensor:
    """Tracks whose worst step costs more than that of 98 in 100 tracks and one more, shape [N], bool.

    Args:
        points: shape [N, F, 3].
        visible: shape [F, N], 0 or 1.
        neighbours: of ``neighbours_at_birth``.
    """
    if not len(points) or points.shape[1] < 2:
        return torch.zeros(len(points), dtype=torch.bool, device=points.device)
    cost = SMOOTHNESS_WEIGHT * smoothness_of_points(points, visible)
    cost = cost + RIGIDITY_WEIGHT * rigidity_of_points(points, visible, neighbours)
    worst = cost.amax(dim=1)
    return worst > worst.quantile(_QUANTILE) + _OUTLIER_MARGIN
