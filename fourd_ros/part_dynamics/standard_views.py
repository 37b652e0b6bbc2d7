"""The views that the network knows, drawn from coloured points: one RGB-D picture seen from four sides."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fourd_ros.data.partdrag4d_cameras import (
    FOCAL_PER_HALF,
    INPUT_VIEWS,
    OBJECT_SCALE,
    TRUE_FOV,
    FloatArray,
    from_world,
    normalise_points,
    normalise_poses,
    orbit_poses,
    raw_poses,
)
from fourd_ros.part_dynamics.gaussians import CHANNELS, OPACITY, POSITION, RGB, ROTATION, SCALE, Gaussians
from fourd_ros.part_dynamics.rasterise import render
from fourd_ros.part_dynamics.splat_camera import SplatCamera

FOOTPRINT = 0.6
"""Standard deviation of the Gaussian that stands for a pixel, in pixels at its distance."""

SEEN = 0.25
"""Opacity from which a pixel of a drawn view has a colour."""

_OPAQUE = 0.99


def standard_cameras() -> FloatArray:
    """Raw poses of the input views (see `partdrag4d_cameras`), shape [4, 4, 4]."""
    return raw_poses(orbit_poses()[:INPUT_VIEWS])


@dataclass(frozen=True, kw_only=True, eq=False)
class SeenPoints:
    """What pixels with depth show of an object, P of them.

    Args:
        positions: on an object (z-up, its front at +x, about of the size of the unit sphere), shape [P, 3].
        rgb: 0..1, shape [P, 3].
        pitch: distance of neighbouring pixels on the object, shape [P].
    """

    positions: FloatArray
    rgb: NDArray[np.float32]
    pitch: FloatArray

    def as_gaussians(self) -> Gaussians:
        """A dot a pixel, in the world of the network."""
        first = standard_cameras()[0]
        unit = np.diff(normalise_points(np.array([[0.0, 0, 0], [1, 0, 0]]), first), axis=0)
        values = np.zeros((len(self.positions), CHANNELS), np.float32)
        values[:, POSITION] = normalise_points(self.positions, first)
        values[:, OPACITY] = _OPAQUE
        values[:, SCALE] = (FOOTPRINT * np.linalg.norm(unit) * self.pitch)[:, None]
        values[:, ROTATION.start] = 1
        values[:, RGB] = self.rgb
        return Gaussians(values=values)


def draw_standard_views(seen: SeenPoints, *, size: int) -> NDArray[np.uint8]:
    """What the standard cameras would see of the points, with transparency; shape [4, size, size, 4]."""
    cameras = [SplatCamera.from_opengl(pose, fovy=TRUE_FOV, size=size) for pose in normalise_poses(standard_cameras())]
    drawn = render(seen.as_gaussians(), cameras, background=(0.0, 0.0, 0.0))
    alpha = drawn.alpha[..., None]
    colour = np.where(alpha > SEEN, drawn.rgb / np.maximum(alpha, SEEN), 0)
    rgba = np.concatenate([colour, np.where(alpha > SEEN, alpha, 0)], axis=-1)
    return np.asarray((rgba.clip(0, 1) * 255).round(), np.uint8)


def seen_by_square_camera(rgba: NDArray[np.uint8], depth: NDArray[np.float32], raw: FloatArray) -> SeenPoints:
    """The points of a picture of PartDrag-4D.

    Args:
        rgba: shape [S, S, 4].
        depth: along the optical axis in the world that cameras stand in, NaN where nothing is, shape [S, S].
        raw: pose of the camera, shape [4, 4].
    """
    size = len(depth)
    rows, columns = np.nonzero(np.isfinite(depth) & (rgba[..., 3] > 127))
    far = depth[rows, columns].astype(np.float64)
    slopes = ((np.stack([columns, rows], axis=-1) + 0.5) * 2 / size - 1) / FOCAL_PER_HALF
    local = np.concatenate([slopes, np.ones((len(far), 1))], axis=-1) * far[:, None]
    return SeenPoints(
        positions=from_world(local @ raw[:3, :3].T + raw[:3, 3]),
        rgb=rgba[rows, columns, :3].astype(np.float32) / np.float32(255),
        pitch=far * 2 / size / FOCAL_PER_HALF / OBJECT_SCALE,
    )
