"""The robot as a camera would see it, from kinematics alone: ray casting on the CPU."""

from collections.abc import Mapping

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


class _Frames:
    """What was met so far in every pixel of some frames; `face`, `u` and `v` mean nothing where `depth` is infinite.

    Args:
        camera: of the frames.
        count: how many they are.
    """

    def __init__(self, camera: PinholeCamera, count: int) -> None:
        self.rays = camera.rays()
        pixels = camera.height * camera.width
        self.numbers = np.arange(pixels).reshape(camera.height, camera.width)
        self.depth = np.full(count * pixels, np.inf, np.float32)
        self.face = np.empty(count * pixels, np.int32)
        self.u = np.empty(count * pixels, np.float32)
        self.v = np.empty(count * pixels, np.float32)


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

    def trace(self, frames: _Frames, places: Rectangles, T_link_camera: FloatArray, *, colour: bool) -> None:
        """Cast the rays of one rectangle a frame, and keep what lies before everything met so far.

        Args:
            frames: taken on from there.
            places: the rectangles, shape [T, 4].
            T_link_camera: camera poses in the link frame, shape [T, 4, 4].
            colour: keep the faces too, not only the depth.
        """
        counts = (places[:, 1] - places[:, 0]) * (places[:, 3] - places[:, 2])
        ends = np.cumsum(counts)
        if ends[-1] == 0:
            return
        origins = np.repeat(T_link_camera[:, :3, 3].astype(np.float32), counts, axis=0)
        directions, pixels = np.empty_like(origins), np.empty(len(origins), np.intp)
        rotations = np.swapaxes(T_link_camera[:, :3, :3], 1, 2).astype(np.float32)
        for frame in np.flatnonzero(counts).tolist():
            top, bottom, left, right = places[frame].tolist()
            part = slice(ends[frame] - counts[frame], ends[frame])
            np.matmul(frames.rays[top:bottom, left:right].reshape(-1, 3), rotations[frame], out=directions[part])
            numbers = frames.numbers[top:bottom, left:right]
            np.add(numbers, frame * frames.numbers.size, out=pixels[part].reshape(numbers.shape))
        limits = frames.depth[pixels]
        if colour:
            met = self._scene.run(origins, directions, limits, output=True)
            nearer = np.flatnonzero(met["primID"] >= 0)
            pixels = pixels[nearer]
            frames.depth[pixels] = met["tfar"][nearer]
            frames.face[pixels] = met["primID"][nearer] + self._first_face
            frames.u[pixels], frames.v[pixels] = met["u"][nearer], met["v"][nearer]
        else:
            frames.depth[pixels] = self._scene.run(origins, directions, limits, query="DISTANCE")


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
            points=np.full((*size, 3), np.nan, np.float32),
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
        T_link_camera = invert(poses) @ T_root_camera
        places = self._rectangles(T_link_camera, camera)
        met = _Frames(camera, len(T_root_camera))
        for index in self._near_to_far(T_link_camera):
            self._links[index].trace(met, places[index], T_link_camera[index], colour=colour)
        seen = np.flatnonzero(np.less(met.depth, np.inf, out=rendering.mask[frames].reshape(-1)))
        frame, pixel = np.divmod(seen, camera.height * camera.width)
        rendering.points[frames].reshape(-1, 3)[seen] = (
            met.rays.reshape(-1, 3).take(pixel, axis=0) * met.depth[seen, None]
        )
        if colour and len(seen):
            brightness = self._shading.brightness(T_link_camera)
            shades = self._shading.colours(brightness, frame, met.face[seen], met.u[seen], met.v[seen])
            rendering.rgb[frames].reshape(-1, 3)[seen] = shades

    def _near_to_far(self, T_link_camera: FloatArray) -> list[int]:
        """Indices of the links by their distance to the camera, since what lies before shortens the rays behind."""
        centres = np.array([link.corners.mean(axis=0) for link in self._links]).reshape(-1, 1, 3)
        distance = np.linalg.norm(T_link_camera[..., :3, 3] - centres, axis=-1).mean(axis=1)
        return [int(index) for index in np.argsort(distance)]

    def _rectangles(self, T_link_camera: FloatArray, camera: PinholeCamera) -> Rectangles:
        """Where each link can appear, shape [L, T, 4]."""
        T = invert(T_link_camera)
        corners = np.array([link.corners for link in self._links]).reshape(-1, 1, 8, 3)
        return rectangles(corners @ np.swapaxes(T[..., :3, :3], -1, -2) + T[..., None, :3, 3], camera)
