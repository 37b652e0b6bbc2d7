"""The robot as a camera would see it, from kinematics alone: ray casting on the CPU."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from embreex.mesh_construction import TriangleMesh
from embreex.rtcore_scene import EmbreeScene
from numpy.typing import NDArray

from fourd_ros.errors import InvalidCamera
from fourd_ros.geometry.camera import PinholeCamera
from fourd_ros.geometry.transforms import invert
from fourd_ros.records import RobotRendering
from fourd_ros.robot.culling import Rectangles, box_corners, rectangles
from fourd_ros.robot.description import RobotDescription
from fourd_ros.robot.shading import Shading
from fourd_ros.robot.surfaces import Surface, link_surface

FloatArray = NDArray[np.float64]
Floats = NDArray[np.float32]

PIXELS_AT_ONCE = 1 << 20
"""Frames are traced together up to this many pixels, which bounds the memory for rays."""

MISSED = 1e30
"""Embree's distance of a ray that hits nothing is greater."""


@dataclass(frozen=True, kw_only=True)
class _Hits:
    """What rays met.

    Args:
        depth: shape [N], greater than `MISSED` where nothing was met.
        face: index of the face, shape [N]; empty when only the depth was asked for, as are `u` and `v`.
        u: weight of the face's second corner, shape [N].
        v: weight of the third corner, shape [N].
    """

    depth: Floats
    face: NDArray[np.int32]
    u: Floats
    v: Floats


class _TracedLink:
    """A link's surface in its own frame, which no motion ever changes.

    Args:
        surface: its triangles.
        first_face: number of its first face among the faces of all links.
    """

    def __init__(self, surface: Surface, first_face: int) -> None:
        self.corners = box_corners(surface.corners.reshape(-1, 3))
        self._first_face = np.int32(first_face)
        self._scene = EmbreeScene()
        self._mesh = TriangleMesh(self._scene, np.ascontiguousarray(surface.corners))

    def trace(self, rays: Floats, places: Rectangles, T_link_camera: FloatArray, *, colour: bool) -> _Hits:
        """Cast the rays of one rectangle a frame, frame after frame, row after row.

        Args:
            rays: camera-frame directions with z = 1, shape [H, W, 3].
            places: the rectangles, shape [T, 4].
            T_link_camera: camera poses in the link frame, shape [T, 4, 4].
            colour: whether faces are wanted.
        """
        counts = _areas(places)
        origins = np.repeat(T_link_camera[:, :3, 3].astype(np.float32), counts, axis=0)
        directions = np.empty_like(origins)
        rotations = np.swapaxes(T_link_camera[:, :3, :3], 1, 2).astype(np.float32)
        for (top, bottom, left, right), rotation, part in zip(places.tolist(), rotations, _parts(counts), strict=True):
            if top < bottom:
                np.matmul(rays[top:bottom, left:right].reshape(-1, 3), rotation, out=directions[part])
        if not colour:
            none = np.empty(0, np.float32)
            depth = self._scene.run(origins, directions, query="DISTANCE")
            return _Hits(depth=depth, face=np.empty(0, np.int32), u=none, v=none)
        hits = self._scene.run(origins, directions, output=True)
        return _Hits(depth=hits["tfar"], face=hits["primID"] + self._first_face, u=hits["u"], v=hits["v"])


class _Nearest:
    """The nearest of everything met so far, a pixel each.

    Args:
        size: frames, rows, columns.
    """

    def __init__(self, size: tuple[int, ...]) -> None:
        self.depth = np.full(size, np.inf, np.float32)
        self._ray = np.empty(size, np.int32)
        self._hits: list[_Hits] = []
        self._rays = 0

    def merge(self, hits: _Hits, places: Rectangles) -> None:
        """Keep what is nearer than before among the rays of one rectangle a frame, shape [T, 4]."""
        numbers = np.arange(self._rays, self._rays + len(hits.depth), dtype=np.int32)
        for frame, ((top, bottom, left, right), part) in enumerate(
            zip(places.tolist(), _parts(_areas(places)), strict=True)
        ):
            if top < bottom:
                window = (frame, slice(top, bottom), slice(left, right))
                before, ray = self.depth[window], self._ray[window]
                depth = hits.depth[part].reshape(before.shape)
                nearer = depth < before
                np.copyto(before, depth, where=nearer)
                np.copyto(ray, numbers[part].reshape(before.shape), where=nearer)
        self._hits.append(hits)
        self._rays += len(hits.depth)

    def faces(self, pixels: NDArray[np.int64]) -> tuple[NDArray[np.int32], Floats, Floats]:
        """Face, u and v at the flat indices `pixels`, where something was met, shape [N] each."""
        ray = self._ray.reshape(-1)[pixels]
        face, u, v = (np.concatenate([getattr(hits, name) for hits in self._hits])[ray] for name in ("face", "u", "v"))
        return face, u, v


class RobotRenderer:
    """Renders a robot's links at any poses in any camera.

    Each link has a bounding volume hierarchy of its own that is built once; rays are moved into the link's frame
    and only those of the rectangle that its box projects to are cast; the nearest link wins.

    Args:
        description: the robot; without visuals it is invisible.

    Raises:
        MeshUnavailable: a mesh file that is missing, unreadable or too large.
    """

    def __init__(self, description: RobotDescription) -> None:
        surfaces = {link.name: link_surface(link) for link in description.links}
        visible = {name: surface for name, surface in surfaces.items() if surface is not None}
        self._names = tuple(visible)
        first_faces = np.cumsum([0, *(len(surface.corners) for surface in visible.values())])
        self._links = [_TracedLink(*pair) for pair in zip(visible.values(), first_faces, strict=False)]
        self._shading = Shading(list(visible.values()))

    def render(
        self,
        link_poses: Mapping[str, FloatArray],
        camera: PinholeCamera,
        T_root_camera: FloatArray,
        *,
        colour: bool = True,
    ) -> RobotRendering:
        """Render a trajectory.

        Args:
            link_poses: ``T_root_link`` by link name, shape [T, 4, 4] each.
            camera: calibration of every frame, distorted or not.
            T_root_camera: camera pose of every frame, shape [T, 4, 4], or one for all, shape [4, 4].
            colour: shade the robot; without it the colour stays black and rendering is quicker.

        Raises:
            InvalidCamera: camera poses and link poses of different number.
        """
        poses, T_root_camera = self._checked(link_poses, T_root_camera)
        size = (len(T_root_camera), camera.height, camera.width)
        rendering = RobotRendering(
            rgb=np.zeros((*size, 3), np.uint8),
            points=np.empty((*size, 3), np.float32),
            mask=np.empty(size, bool),
        )
        at_once = max(1, PIXELS_AT_ONCE // (camera.height * camera.width))
        for start in range(0, size[0], at_once):
            frames = slice(start, start + at_once)
            self._render_frames(rendering, frames, poses[:, frames], camera, T_root_camera[frames], colour)
        return rendering

    def _checked(
        self, link_poses: Mapping[str, FloatArray], T_root_camera: FloatArray
    ) -> tuple[FloatArray, FloatArray]:
        """Link poses, shape [L, T, 4, 4], and camera poses, shape [T, 4, 4]."""
        steps = len(next(iter(link_poses.values())))
        if T_root_camera.shape not in ((4, 4), (steps, 4, 4)):
            raise InvalidCamera(
                f"camera poses of shape {list(T_root_camera.shape)} for {steps} frames; one each or one for all"
            )
        poses = np.array([link_poses[name] for name in self._names]).reshape(len(self._names), steps, 4, 4)
        return poses, np.broadcast_to(T_root_camera, (steps, 4, 4))

    def _render_frames(
        self,
        rendering: RobotRendering,
        frames: slice,
        poses: FloatArray,
        camera: PinholeCamera,
        T_root_camera: FloatArray,
        colour: bool,
    ) -> None:
        rays = camera.rays()
        T_link_camera = invert(poses) @ T_root_camera
        nearest = _Nearest(rendering.mask[frames].shape)
        for link, places, T in zip(self._links, self._rectangles(T_link_camera, camera), T_link_camera, strict=True):
            nearest.merge(link.trace(rays, places, T, colour=colour), places)
        mask = np.less(nearest.depth, MISSED, out=rendering.mask[frames])
        pixels = np.flatnonzero(mask)
        if colour and len(pixels):
            brightness = self._shading.brightness(T_link_camera)
            frame_of_pixel = pixels // (camera.height * camera.width)
            shades = self._shading.colours(brightness, frame_of_pixel, *nearest.faces(pixels))
            rendering.rgb[frames].reshape(-1, 3)[pixels] = shades
        nearest.depth[~mask] = np.nan
        np.multiply(rays, nearest.depth[..., None], out=rendering.points[frames])

    def _rectangles(self, T_link_camera: FloatArray, camera: PinholeCamera) -> Rectangles:
        """Where each link can appear, shape [L, T, 4]."""
        T = invert(T_link_camera)
        corners = np.array([link.corners for link in self._links]).reshape(-1, 1, 8, 3)
        return rectangles(corners @ np.swapaxes(T[..., :3, :3], -1, -2) + T[..., None, :3, 3], camera)


def _areas(places: Rectangles) -> NDArray[np.int64]:
    return (places[..., 1] - places[..., 0]) * (places[..., 3] - places[..., 2])


def _parts(counts: NDArray[np.int64]) -> list[slice]:
    """Where each of several runs of `counts` elements lies, one after the other."""
    ends = np.cumsum(counts).tolist()
    return [slice(end - count, end) for end, count in zip(ends, counts.tolist(), strict=True)]
