"""What cameras saw as surfaces that can be looked at from elsewhere."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from embreex.mesh_construction import TriangleMesh
from embreex.rtcore_scene import EmbreeScene
from numpy.typing import NDArray

from fourd_ros.geometry.camera import PinholeCamera
from fourd_ros.geometry.transforms import apply, invert
from fourd_ros.records import FloatArray, Mask, Pixels, Points, View
from fourd_ros.robot.culling import box_corners, rectangles

TEAR = 0.05
"""Neighbouring pixels whose depths differ by more than this share of the depth are not connected."""

INSIDE = 0.49
"""Colours of a square are looked up this near to its border, in its width: at the border lies the next pixel."""

MISSED = 1e30
"""Embree's distance of a ray that hits nothing is greater."""


@dataclass(frozen=True, kw_only=True)
class Glimpse:
    """A part of one frame in which a surface is seen.

    Args:
        step: which frame.
        window: its rows and columns.
        mask: True where it is seen, shape [h, w].
        points: there, in the camera frame [m], shape [N, 3].
        rgb: there, shape [N, 3].
    """

    step: int
    window: tuple[slice, slice]
    mask: Mask
    points: Points
    rgb: Pixels


class ObservedSurface:
    """Chosen pixels of several views as a surface for ray casting, torn where depth jumps.

    Its squares may be coarser than the pixels; their colours are looked up in the images and are not.

    Args:
        pixels: views, and which of their pixels to take, shape [H, W].
        stride: every so many pixels are the middle of a square.
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

    def look(self, camera: PinholeCamera, T_surface_camera: FloatArray, *, steps: Mask) -> Iterator[Glimpse]:
        """What a camera sees of it along a path.

        Args:
            camera: calibration of every frame.
            T_surface_camera: camera poses in the frame that the surface was made in, shape [T, 4, 4].
            steps: True for the frames to look at it in, shape [T].

        Yields:
            The part of each of these frames that it appears in.
        """
        if self._box is None:
            return
        inverse = invert(T_surface_camera)
        boxes = self._box @ np.swapaxes(inverse[:, :3, :3], 1, 2) + inverse[:, None, :3, 3]
        for step, (top, bottom, left, right) in enumerate(rectangles(boxes, camera).tolist()):
            if steps[step] and top < bottom:
                yield self._cast(step, (slice(top, bottom), slice(left, right)), camera, T_surface_camera[step])

    def _cast(
        self, step: int, window: tuple[slice, slice], camera: PinholeCamera, T_surface_camera: FloatArray
    ) -> Glimpse:
        """Cast the rays of one window of one frame."""
        rays = camera.rays()[window]
        directions = rays.reshape(-1, 3) @ T_surface_camera[:3, :3].T.astype(np.float32)
        origins = np.broadcast_to(T_surface_camera[:3, 3].astype(np.float32), directions.shape)
        hits = self._scene.run(np.ascontiguousarray(origins), directions, output=True)
        met = hits["tfar"] < MISSED
        mask = met.reshape(rays.shape[:2])
        return Glimpse(
            step=step,
            window=window,
            mask=mask,
            points=rays[mask] * hits["tfar"][met, None],
            rgb=self._colours(hits["primID"][met], hits["u"][met], hits["v"][met]),
        )

    def _colours(self, face: NDArray[np.int32], u: NDArray[np.float32], v: NDArray[np.float32]) -> Pixels:
        """Colours of points on faces, from the images that the faces were seen in, shape [N, 3]."""
        a, b, c = np.moveaxis(self._sources[face], 1, 0)
        rows, columns = np.rint(a + u[:, None] * (b - a) + v[:, None] * (c - a)).astype(np.intp).T
        return np.asarray(self._texels[self._start[face] + rows * self._width[face] + columns])


@dataclass(frozen=True, kw_only=True)
class _Patch:
    """Two triangles for every square of pixels of one view.

    Args:
        corners: in the world [m], shape [F, 3, 3].
        sources: row and column of every corner, shape [F, 3, 2].
    """

    corners: Points
    sources: NDArray[np.float32]


def _patch(view: View, mask: Mask, stride: int) -> _Patch:
    """Squares around every `stride`-th pixel that reach half-way to the next, so that nothing shrinks at its border.

    A corner of a square lies at the mean inverse depth (planes are affine in it) of those of the four pixels around
    it that belong to the same surface.
    """
    window, first = _window(mask, stride)
    depth = np.where(mask, view.points[..., 2], np.float32(np.nan))[window]
    rows, columns = np.nonzero(np.isfinite(depth))
    own = depth[rows, columns][:, None]
    depth = np.pad(depth, 1, constant_values=np.nan)
    rays = np.pad(view.camera.rays()[window], ((1, 1), (1, 1), (0, 0)), mode="reflect", reflect_type="odd")
    corners = np.empty((len(rows), 2, 2, 3), np.float32)
    sources = np.empty((len(rows), 2, 2, 2), np.float32)
    for down, right in np.ndindex(2, 2):
        around = rows[:, None] + down + (0, 0, 1, 1), columns[:, None] + right + (0, 1, 0, 1)
        z = depth[around]
        joined = np.abs(z - own) < stride * TEAR * np.minimum(z, own)
        inverse = np.where(joined, 1 / np.where(joined, z, 1), 0).sum(axis=1) / joined.sum(axis=1)
        corners[:, down, right] = rays[around].mean(axis=1) / inverse[:, None]
        sources[:, down, right, 0] = first[0] + stride * (rows + INSIDE * (2 * down - 1))
        sources[:, down, right, 1] = first[1] + stride * (columns + INSIDE * (2 * right - 1))
    known = np.isfinite(corners).all(axis=(1, 2, 3))
    world = _halves(np.asarray(apply(view.T_world_camera, corners[known].reshape(-1, 3))))
    last = np.array(mask.shape, np.float32) - 1
    return _Patch(corners=world, sources=np.clip(_halves(sources[known].reshape(-1, 2)), 0, last))


def _window(mask: Mask, stride: int) -> tuple[tuple[slice, slice], tuple[int, int]]:
    """Every `stride`-th row and column around what is True, with a border, and the first of them."""
    slices = []
    for axis in (1, 0):
        places = np.flatnonzero(mask.any(axis=axis))
        low, high = (int(places[0]), int(places[-1])) if len(places) else (0, 0)
        slices.append(slice(max(low // stride - 1, 0) * stride, high + stride + 1, stride))
    return (slices[0], slices[1]), (slices[0].start, slices[1].start)


def _halves(corners: NDArray[np.float32]) -> NDArray[np.float32]:
    """Both triangles of squares whose corners are given row by row [4 N, D], shape [2 N, 3, D]."""
    squares = corners.reshape(-1, 4, corners.shape[-1])
    return np.concatenate([squares[:, (0, 2, 1)], squares[:, (1, 2, 3)]])
