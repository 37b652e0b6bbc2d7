"""Items of PartDrag-4D as training samples of the part network."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from fourd_ros.data.partdrag4d import PartItem
from fourd_ros.data.partdrag4d_drags import Drags
from fourd_ros.part_dynamics.gaussians import CHANNELS, OPACITY, POSITION, RGB, ROTATION, SCALE
from fourd_ros.part_dynamics.rays import WHOLE, Window
from fourd_ros.part_dynamics.standard_views import FOOTPRINT
from fourd_ros.training.task import Sample

Floats = NDArray[np.float32]

BESIDE = 1
"""Cells this near to the object may belong to it; what they should show is not known."""


LEAST_MOTION = 1e-4
"""What is farther from where it was moves [units of the network]."""

WHITE = 0.999
"""Colour of what no picture shows."""


class Items(Protocol):
    """Where items are from."""

    def __len__(self) -> int: ...

    def training_item(self, index: int, rng: np.random.Generator) -> PartItem:
        """An item, with all that is drawn for it."""
        ...


@dataclass(frozen=True, kw_only=True)
class GaussianTargets:
    """What the Gaussians of the pixels of V views shall be after the motion.

    Args:
        values: in the order view, row, column, shape [V * s * s, 14].
        weight: of their channels, 0 where nobody knows, the same shape.
        travel: how far each goes, 0 where nobody knows, shape [V * s * s].
    """

    values: Floats
    weight: Floats
    travel: Floats


@dataclass(frozen=True, kw_only=True)
class TargetWeights:
    """What counts how much in the error of Gaussians, where 1 is that of opacity, size and colour.

    Args:
        position: of where they are.
        moving: more of the same for those that move.
    """

    position: float = 1.0
    moving: float = 1.0


def surface_targets(
    images: Floats,
    poses: Floats,
    before: Floats,
    after: Floats,
    *,
    size: int,
    fovy: float,
    window: Window = WHOLE,
    weights: TargetWeights = TargetWeights(),
) -> GaussianTargets:
    """Gaussians on the surface that pixels show, where that has moved to.

    A cell of the map stands for the nearest point of the surface that falls into it. So a target is had from points
    alone, and in the order that the loss of the first stage needs.

    Args:
        images: of the input views, their window, 0..1, shape [V, 3, S, S].
        poses: of their cameras, OpenGL axes, shape [V, 4, 4].
        before: points on the surface as the views show it, shape [P, 3].
        after: the same points after the motion.
        size: s, rows and columns of a map.
        fovy: of whole pictures [deg].
        window: the part of them that is seen.
        weights: of their channels.
    """
    length = np.linalg.norm(after - before, axis=1)
    values = np.zeros((len(poses), size, size, CHANNELS), np.float32)
    weight, travel = np.zeros_like(values), np.zeros(values.shape[:-1], np.float32)
    for view, pose in enumerate(poses):
        index, depth = _nearest_points(before, pose, size, fovy, window)
        seen = index >= 0
        values[view, seen, POSITION] = after[index[seen]]
        values[view, ..., OPACITY] = seen
        pitch = 2 * np.tan(np.deg2rad(fovy) / 2) * window[2] / size
        values[view, seen, SCALE] = (FOOTPRINT * pitch * depth[seen])[:, None]
        values[view, ..., ROTATION.start] = 1
        values[view, ..., RGB] = _shrunk(images[view], size)
        weight[view, seen] = 1
        travel[view, seen] = length[index[seen]]
        more = np.where(travel[view, seen] > LEAST_MOTION, weights.moving, 1)
        weight[view, seen, POSITION] = weights.position * more[:, None]
        weight[view, (values[view, ..., RGB] >= WHITE).all(axis=-1), RGB] = 0
        weight[view, ~_grown(seen, BESIDE), OPACITY] = 1
    return GaussianTargets(
        values=values.reshape(-1, CHANNELS), weight=weight.reshape(-1, CHANNELS), travel=travel.reshape(-1)
    )


class PartSamples:
    """Samples by index.

    Args:
        items: pairs of states.
        splat_size: rows and columns of the maps of Gaussians.
        fovy: of whole pictures [deg].
        window: the part of them that is seen.
        still: share of samples whose drags have no length, so that the network also shows what is.
        single: share of samples with one drag alone, as a user gives it; it is told as often as others are many.
        weights: of the channels.
    """

    def __init__(
        self,
        items: Items,
        *,
        splat_size: int,
        fovy: float,
        still: float,
        window: Window = WHOLE,
        single: float = 0.0,
        weights: TargetWeights = TargetWeights(),
    ) -> None:
        self._items, self._splat_size, self._fovy, self._window = items, splat_size, fovy, window
        self._still, self._single, self._weights = still, single, weights

    def __len__(self) -> int:
        return len(self._items)

    def sample(self, index: int, rng: np.random.Generator) -> Sample:
        """Views, drags, Gaussians to be reached, and views of the target."""
        item = self._items.training_item(index, rng)
        still = rng.random() < self._still
        drags = alone(item.drags) if rng.random() < self._single else item.drags
        end = drags.start if still else drags.end
        after = item.points_before if still else item.points_after
        if item.gaussians is None or still:
            targets = surface_targets(
                item.images,
                item.input_poses,
                item.points_before,
                after,
                size=self._splat_size,
                fovy=self._fovy,
                window=self._window,
                weights=self._weights,
            )
        else:
            targets = GaussianTargets(
                values=item.gaussians,
                weight=np.ones_like(item.gaussians),
                travel=np.zeros(len(item.gaussians), np.float32),
            )
        return {
            "images": item.images,
            "poses": item.input_poses,
            "start": drags.start,
            "end": end,
            "gaussians": targets.values,
            "weight": targets.weight,
            "travel": targets.travel,
            "target_images": item.target_images,
            "target_masks": item.target_masks,
            "target_poses": item.target_poses,
            "moves": float(not still),
        }


def alone(drags: Drags) -> Drags:
    """The first of the drags, in the place of all."""
    first = (np.repeat(places[:, :1], places.shape[1], axis=1) for places in (drags.start, drags.end))
    start, end = first
    return Drags(start=start, end=end)


def _nearest_points(
    points: Floats, pose: Floats, size: int, fovy: float, window: Window
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Index of the nearest point in each cell, -1 where there is none, and its depth; shape [size, size] each."""
    local = (points.astype(np.float64) - pose[:3, 3]) @ pose[:3, :3]
    depth = -local[:, 2]
    with np.errstate(divide="ignore", invalid="ignore"):
        shares = (local[:, :2] * (1, -1) / depth[:, None] / np.tan(np.deg2rad(fovy) / 2) + 1) / 2
    cells = np.floor((shares - window[:2]) / window[2] * size)
    inside = np.flatnonzero((depth > 0) & (cells >= 0).all(axis=1) & (cells < size).all(axis=1))
    order = inside[np.argsort(-depth[inside], kind="stable")]  # the nearest is written last
    column, row = cells[order].astype(np.int64).T
    index, far = np.full((size, size), -1, np.int64), np.full((size, size), np.inf)
    index[row, column], far[row, column] = order, depth[order]
    return index, far


def _shrunk(image: Floats, size: int) -> Floats:
    """Colour [3, S, S] at the cells of a map, shape [size, size, 3]."""
    factor = image.shape[-1] // size
    cut = image[:, : factor * size, : factor * size]
    return np.moveaxis(cut.reshape(3, size, factor, size, factor).mean(axis=(2, 4)), 0, -1)


def _grown(mask: NDArray[np.bool_], steps: int) -> NDArray[np.bool_]:
    return np.asarray(ndimage.binary_dilation(mask, np.ones((3, 3)), iterations=steps))
