"""What cameras saw as surfaces that can be looked at from elsewhere."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from embreex.mesh_construction import TriangleMesh
from embreex.rtcore_scene import EmbreeScene
from numpy.typing import NDArray

from fourd_ros.geometry.camera import PinholeCamera
from fourd_ros.geometry.transforms import apply
from fourd_ros.records import FloatArray, Mask, Pixels, Points, RobotRendering, View
from fourd_ros.robot.culling import box_corners, rectangles

TEAR = 0.05
"""Neighbouring pixels whose depths differ by more than this share of the depth are not connected."""

MISSED = 1e30
"""Embree's distance of a ray that hits nothing is greater."""


@dataclass(frozen=True, kw_only=True)
class _Patch:
    """Triangles between the pixels of one view: corners in the world [m], [F, 3, 3], and their colours."""

    corners: Points
    colours: Pixels


class ObservedSurface:
    """Chosen pixels of several views, connected to their neighbours, for ray casting.

    Args:
        pixels: views, and which of their pixels to take, shape [H, W].
    """

    def __init__(self, pixels: Iterable[tuple[View, Mask]]) -> None:
        patches = [_patch(view, mask) for view, mask in pixels]
        corners = np.concatenate([patch.corners for patch in patches])
        self._colours = np.concatenate([patch.colours for patch in patches])
        self._box = box_corners(corners.reshape(-1, 3)) if len(corners) else None
        self._scene = EmbreeScene()
        self._mesh = TriangleMesh(self._scene, corners) if len(corners) else None

    def render(self, camera: PinholeCamera, T_surface_camera: FloatArray) -> RobotRendering:
        """What a camera sees of it along a path.

        Args:
            camera: calibration of every frame.
            T_surface_camera: camera poses in the frame that the surface was made in, shape [T, 4, 4].

        Returns:
            Colour, camera-frame points and mask of every frame.
        """
        size = (len(T_surface_camera), camera.height, camera.width)
        rendering = RobotRendering(
            rgb=np.zeros((*size, 3), np.uint8),
            points=np.full((*size, 3), np.nan, np.float32),
            mask=np.zeros(size, bool),
        )
        if self._box is None:
            return rendering
        inverse = np.linalg.inv(T_surface_camera)
        boxes = self._box @ np.swapaxes(inverse[:, :3, :3], 1, 2) + inverse[:, None, :3, 3]
        for step, (top, bottom, left, right) in enumerate(rectangles(boxes, camera).tolist()):
            if top < bottom:
                window = (step, slice(top, bottom), slice(left, right))
                self._render_window(rendering, window, camera.rays()[window[1:]], T_surface_camera[step])
        return rendering

    def _render_window(
        self, rendering: RobotRendering, window: tuple[int, slice, slice], rays: Points, T_surface_camera: FloatArray
    ) -> None:
        """Cast the rays of one window of one frame."""
        directions = rays.reshape(-1, 3) @ T_surface_camera[:3, :3].T.astype(np.float32)
        origins = np.broadcast_to(T_surface_camera[:3, 3].astype(np.float32), directions.shape)
        hits = self._scene.run(np.ascontiguousarray(origins), directions, output=True)
        met = (hits["tfar"] < MISSED).reshape(rays.shape[:2])
        chosen = met.reshape(-1)
        rendering.mask[window] = met
        rendering.points[window][met] = rays[met] * hits["tfar"][chosen, None]
        u, v = hits["u"][chosen], hits["v"][chosen]
        nearest_corner = np.argmax([1 - u - v, u, v], axis=0)
        rendering.rgb[window][met] = self._colours[hits["primID"][chosen], nearest_corner]


def _patch(view: View, mask: Mask) -> _Patch:
    """Two triangles for every square of four neighbouring pixels, where the surface does not tear."""
    known = mask & np.isfinite(view.points[..., 2])
    depth = np.where(known, view.points[..., 2], np.float32(np.nan))
    index = np.arange(depth.size).reshape(depth.shape)
    a, b, c, d = index[:-1, :-1], index[:-1, 1:], index[1:, :-1], index[1:, 1:]
    triangles = np.concatenate(
        [np.stack([a, c, b], axis=-1).reshape(-1, 3), np.stack([b, c, d], axis=-1).reshape(-1, 3)]
    )
    z = depth.reshape(-1)[triangles]
    with np.errstate(invalid="ignore"):
        whole = z.max(axis=1) - z.min(axis=1) < TEAR * z.min(axis=1)
    chosen = triangles[whole]
    world = _in_world(view, chosen)
    return _Patch(corners=world, colours=view.rgb.reshape(-1, 3)[chosen])


def _in_world(view: View, triangles: NDArray[np.int64]) -> Points:
    points = apply(view.T_world_camera, view.points.reshape(-1, 3)).astype(np.float32)
    return np.ascontiguousarray(points[triangles])
