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


class ObservedSurface:
    """Chosen pixels of several views, connected to their neighbours, for ray casting.

    The triangles may be coarser than the pixels; their colours are looked up in the images and are not.

    Args:
        pixels: views, and which of their pixels to take, shape [H, W].
        stride: every so many pixels are corners of triangles.
    """

    def __init__(self, pixels: Iterable[tuple[View, Mask]], *, stride: int = 1) -> None:
        pixels = list(pixels)
        patches = [_patch(view, mask, stride) for view, mask in pixels]
        corners = np.concatenate([patch.corners for patch in patches])
        self._sources = np.concatenate([patch.sources for patch in patches])
        shapes = [view.rgb.shape[:2] for view, _ in pixels]
        counts = [len(patch.corners) for patch in patches]
        starts = np.cumsum([0, *(height * width for height, width in shapes)])[:-1]
        self._start = np.repeat(starts, counts)
        self._width = np.repeat([width for _, width in shapes], counts)
        self._texels = np.concatenate([view.rgb.reshape(-1, 3) for view, _ in pixels])
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
        rendering.rgb[window][met] = self._colours(hits["primID"][chosen], hits["u"][chosen], hits["v"][chosen])

    def _colours(self, face: NDArray[np.int32], u: NDArray[np.float32], v: NDArray[np.float32]) -> Pixels:
        """Colours of points on faces, from the images that the faces were seen in, shape [N, 3]."""
        a, b, c = np.moveaxis(self._sources[face], 1, 0)
        rows, columns = np.rint(a + u[:, None] * (b - a) + v[:, None] * (c - a)).astype(np.intp).T
        return self._texels[self._start[face] + rows * self._width[face] + columns]


@dataclass(frozen=True, kw_only=True)
class _Patch:
    """Triangles between pixels of one view.

    Args:
        corners: in the world [m], shape [F, 3, 3].
        sources: row and column of every corner, shape [F, 3, 2].
    """

    corners: Points
    sources: NDArray[np.float32]


def _patch(view: View, mask: Mask, stride: int) -> _Patch:
    """Two triangles for every square of four pixels `stride` apart, where the surface does not tear."""
    known = mask & np.isfinite(view.points[..., 2])
    depth = np.where(known, view.points[..., 2], np.float32(np.nan))
    index = np.arange(depth.size).reshape(depth.shape)[::stride, ::stride]
    a, b, c, d = index[:-1, :-1], index[:-1, 1:], index[1:, :-1], index[1:, 1:]
    triangles = np.concatenate([np.stack([a, c, b], axis=-1), np.stack([b, c, d], axis=-1)]).reshape(-1, 3)
    z = depth.reshape(-1)[triangles]
    nearest, farthest = z.min(axis=1), z.max(axis=1)
    triangles = triangles[farthest - nearest < stride * TEAR * nearest]
    used, place = np.unique(triangles, return_inverse=True)
    world = apply(view.T_world_camera, view.points.reshape(-1, 3)[used]).astype(np.float32, copy=False)
    sources = np.stack(np.divmod(triangles, depth.shape[1]), axis=-1).astype(np.float32)
    return _Patch(corners=world[place.reshape(-1, 3)], sources=sources)
