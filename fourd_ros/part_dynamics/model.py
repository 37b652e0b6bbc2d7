"""From four posed views and drags to what moves, how far, and about which joint."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray

from fourd_ros.errors import InvalidDrag, InvalidImage
from fourd_ros.model_io.card import ModelCard
from fourd_ros.model_io.loading import load_model
from fourd_ros.part_dynamics.conversion import COMPONENT
from fourd_ros.part_dynamics.drag_maps import GRID
from fourd_ros.part_dynamics.drags import MAX_DRAGS
from fourd_ros.part_dynamics.gaussians import Gaussians
from fourd_ros.part_dynamics.joint_fit import LEAST_POINTS, Joint, fit_joint
from fourd_ros.part_dynamics.network import PartNetwork, network_input
from fourd_ros.part_dynamics.object_frame import carried, carried_joint
from fourd_ros.part_dynamics.rays import pluecker_rays

Floats = NDArray[np.float32]

SHOWN = 0.3
"""Opacity from which a Gaussian counts as part of the surface."""

MOVING_SHARE, LEAST_MOTION = 0.25, 0.01
"""What moves by more than this share of the farthest, and by more than this [units of the network], is the part."""


@dataclass(frozen=True, kw_only=True, eq=False)
class PartMotion:
    """What a drag does to an object; everything in one frame.

    Args:
        before: the object as it is: the prediction for drags without length.
        after: the object after the drags; Gaussian by Gaussian the same as `before`.
        displacement: of every Gaussian, shape [N, 3].
        moving: which belong to the part that moves, shape [N].
        joint: that explains how they move; None where nothing does.
    """

    before: Gaussians
    after: Gaussians
    displacement: Floats
    moving: NDArray[np.bool_]
    joint: Joint | None

    def carried(self, similarity: NDArray[np.float64]) -> "PartMotion":
        """The same in another frame; see `object_frame.carried`."""
        before, after = (carried(gaussians, similarity) for gaussians in (self.before, self.after))
        return PartMotion(
            before=before,
            after=after,
            displacement=after.positions - before.positions,
            moving=self.moving,
            joint=None if self.joint is None else carried_joint(self.joint, similarity),
        )


class PartDynamics:
    """Predicts how parts move.

    Args:
        network: with drags; computes in float32, whatever its weights were stored as.
        device: where it computes.
    """

    def __init__(self, network: PartNetwork, *, device: "torch.device | str" = "cpu") -> None:
        self.network, self._device = network.float().to(device).eval(), torch.device(device)

    @classmethod
    def from_components(cls, components: Mapping[str, Any], card: ModelCard) -> Self:
        """The model of a folder that `load_model` has read."""
        return cls(components[COMPONENT])

    @classmethod
    def from_folder(cls, folder: Path | str, *, allow_noncommercial: bool = False, device: str = "cpu") -> Self:
        """The model of a folder; see `load_model` for the errors."""
        model: Self = load_model(folder, allow_noncommercial=allow_noncommercial)
        return cls(model.network, device=device)

    @torch.inference_mode()
    def gaussians(self, images: Floats, poses: Floats, start: Floats, end: Floats) -> Gaussians:
        """The object after drags.

        Args:
            images: the window of pictures that the network sees, on white, 0..1, shape [V, 3, S, S].
            poses: of their cameras in the world of the network, OpenGL axes, shape [V, 4, 4].
            start: pixels (x, y) of a grid of 512 over whole pictures where drags begin, in every view, shape [V, N, 2].
            end: where these points go, the same shape.

        Raises:
            InvalidImage: another number or size of images.
            InvalidDrag: none, more than 64, other shapes, or numbers that are not finite.
        """
        self._check(images, poses, start, end)
        sizes = self.network.settings
        given = [
            torch.from_numpy(np.ascontiguousarray(each, np.float32))[None].to(self._device)
            for each in (images, poses, start, end)
        ]
        rays = pluecker_rays(given[1], size=sizes.input_size, fovy=sizes.fovy, window=sizes.window)
        drags = (places.clamp(0, GRID - 1) for places in given[2:])
        return Gaussians.from_tensor(self.network(network_input(given[0], rays, colours=sizes.colours), *drags)[0])

    def predict(self, images: Floats, poses: Floats, start: Floats, end: Floats) -> PartMotion:
        """What moves, how far, and about which joint; arguments and errors as of `gaussians`."""
        return motion_between(*(self.gaussians(images, poses, start, there) for there in (start, end)))

    def _check(self, images: Floats, poses: Floats, start: Floats, end: Floats) -> None:
        sizes = self.network.settings
        wanted = (sizes.views, 3, sizes.input_size, sizes.input_size)
        if images.shape != wanted or poses.shape != (sizes.views, 4, 4):
            raise InvalidImage(
                f"images {list(images.shape)} with poses {list(poses.shape)}; needed are {list(wanted)} and "
                f"[{sizes.views}, 4, 4]"
            )
        if start.shape != end.shape or start.ndim != 3 or start.shape[::2] != (sizes.views, 2):
            raise InvalidDrag(
                f"drags {list(start.shape)} and {list(end.shape)}; needed are two of [{sizes.views}, N, 2]"
            )
        if not 1 <= start.shape[1] <= MAX_DRAGS:
            raise InvalidDrag(f"{start.shape[1]} drags; needed are 1 to {MAX_DRAGS}")
        if not (np.isfinite(start).all() and np.isfinite(end).all()):
            raise InvalidDrag("drags hold numbers that are not finite")


def motion_between(before: Gaussians, after: Gaussians) -> PartMotion:
    """What moves from one prediction to another of the same views, and about which joint."""
    displacement = after.positions - before.positions
    moving = moving_part(before, displacement)
    joint = None
    if moving.sum() >= LEAST_POINTS:
        joint = fit_joint(
            before.positions[moving].astype(np.float64),
            after.positions[moving].astype(np.float64),
            before.opacities[moving].astype(np.float64),
        )
    return PartMotion(before=before, after=after, displacement=displacement, moving=moving, joint=joint)


def moving_part(before: Gaussians, displacement: Floats) -> NDArray[np.bool_]:
    """Gaussians of the surface that move about as far as the farthest; shape [N]."""
    length = np.linalg.norm(displacement, axis=1)
    shown = before.opacities > SHOWN
    if not shown.any():
        return np.zeros(len(length), bool)
    farthest = float(np.percentile(length[shown], 99))
    return np.asarray(shown & (length > max(MOVING_SHARE * farthest, LEAST_MOTION)))
