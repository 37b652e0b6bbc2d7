"""Pictures of meshes by ray casting, without OpenGL: coloured faces in front of white."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fourd_ros.compositional.object_colours import object_colour
from fourd_ros.compositional.surface_mesh import SurfaceMesh
from fourd_ros.geometry.camera import PinholeCamera
from fourd_ros.geometry.transforms import invert, look_at

__all__ = ["MeshPicture", "fitting_camera", "orbit", "render_mesh", "render_objects"]

FloatArray = NDArray[np.float64]

AMBIENT, HEADLIGHT = 0.35, 0.65
UP = (0.0, 1.0, 0.0)
"""Of the cube [-1, 1]^3, whose training camera is on +z."""

NEAREST = 4.0
NARROWEST, WIDEST = np.deg2rad(35.0), np.deg2rad(70.0)
MARGIN = 1.1
_SAMPLES = 2
_RAYS_AT_ONCE = 1 << 20


@dataclass(frozen=True, kw_only=True)
class MeshPicture:
    """What a camera sees of a mesh.

    Args:
        rgb: on white, shape [H, W, 3], uint8.
        mask: where anything of it shows, shape [H, W].
        depth: z-depth [units of the mesh], NaN where nothing is, shape [H, W], float32.
    """

    rgb: NDArray[np.uint8]
    mask: NDArray[np.bool_]
    depth: NDArray[np.float32]


def fitting_camera(radius: float, *, size: int) -> tuple[PinholeCamera, float]:
    """A camera that sees a ball around the origin, and its distance from there.

    Source: COM4D, section 10 of the specification this was written from: distance max(4, 2 radius), field of view
    2 atan(1.1 radius / distance) within 35 to 70 degrees.

    Args:
        radius: of the ball.
        size: width and height of the picture [px].
    """
    distance = max(NEAREST, 2 * radius)
    fov = float(np.clip(2 * np.arctan(MARGIN * radius / distance), NARROWEST, WIDEST))
    focal = size / 2 / np.tan(fov / 2)
    middle = (size - 1) / 2
    K = np.array([[focal, 0, middle], [0, focal, middle], [0, 0, 1.0]])
    return PinholeCamera(width=size, height=size, K=K), distance


def orbit(views: int, distance: float, *, elevation: float = 0.0) -> FloatArray:
    """``T_world_camera`` of cameras around the y axis that look at the origin, the first one on +z, [views, 4, 4].

    Args:
        views: how many, evenly spread.
        distance: from the origin.
        elevation: above the xz plane [rad].
    """
    azimuths = np.arange(views) * (2 * np.pi / views)
    level, height = distance * np.cos(elevation), distance * np.sin(elevation)
    eyes = ((level * np.sin(azimuth), height, level * np.cos(azimuth)) for azimuth in azimuths)
    return np.stack([look_at(eye, (0, 0, 0), UP) for eye in eyes])


def render_mesh(
    vertices: NDArray[np.floating],
    faces: NDArray[np.integer],
    colours: NDArray[np.floating],
    camera: PinholeCamera,
    T_world_camera: FloatArray,
) -> MeshPicture:
    """A mesh under a lamp at the camera, both sides of a face alike (Lambert); four rays a pixel.

    Args:
        vertices: shape [V, 3].
        faces: shape [F, 3]; none gives an empty picture.
        colours: of the faces, 0 to 1, shape [F, 3].
        camera: calibration.
        T_world_camera: its pose in the frame of the mesh, shape [4, 4].
    """
    fine = camera.scaled(_SAMPLES * camera.width, _SAMPLES * camera.height)
    colour = np.ones((fine.height * fine.width, 3))
    depth = np.full(fine.height * fine.width, np.inf, np.float32)
    if len(faces):
        corners = _in_camera(vertices, T_world_camera)[faces]
        met, depth = _cast(corners, fine)
        seen = met >= 0
        normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)
        rays = fine.rays().reshape(-1, 3)[seen]
        facing = np.abs((normals[met[seen]] * rays).sum(axis=1)) / np.linalg.norm(rays, axis=1)
        colour[seen] = colours[met[seen]] * (AMBIENT + HEADLIGHT * facing)[:, None]
    blocks = (camera.height, _SAMPLES, camera.width, _SAMPLES)
    nearest = depth.reshape(blocks).min(axis=(1, 3))
    mask = np.isfinite(depth.reshape(blocks)).mean(axis=(1, 3)) >= 0.5
    mixed = colour.reshape(*blocks, 3).mean(axis=(1, 3))
    return MeshPicture(
        rgb=np.rint(255 * mixed.clip(0, 1)).astype(np.uint8),
        mask=mask,
        depth=np.where(mask, nearest, np.float32(np.nan)).astype(np.float32),
    )


def render_objects(meshes: Mapping[int, SurfaceMesh], camera: PinholeCamera, T_world_camera: FloatArray) -> MeshPicture:
    """Several meshes of one frame, each in the colour of its object.

    Args:
        meshes: by the number of the object.
        camera: calibration.
        T_world_camera: its pose in the frame of the meshes, shape [4, 4].
    """
    ends = np.cumsum([0, *(len(mesh.vertices) for mesh in meshes.values())])
    faces = [mesh.faces + first for mesh, first in zip(meshes.values(), ends[:-1].tolist(), strict=True)]
    colours = [
        np.tile(np.array(object_colour(number), np.float64) / 255, (len(mesh.faces), 1))
        for number, mesh in meshes.items()
    ]
    vertices = [mesh.vertices for mesh in meshes.values()]
    return render_mesh(
        np.concatenate([np.zeros((0, 3), np.float32), *vertices]),
        np.concatenate([np.zeros((0, 3), np.int32), *faces]),
        np.concatenate([np.zeros((0, 3)), *colours]),
        camera,
        T_world_camera,
    )


def _in_camera(vertices: NDArray[np.floating], T_world_camera: FloatArray) -> FloatArray:
    T_camera_world = invert(T_world_camera)
    return np.asarray(vertices @ T_camera_world[:3, :3].T + T_camera_world[:3, 3], np.float64)


def _cast(corners: FloatArray, camera: PinholeCamera) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """The face that every pixel shows, -1 for none, and its z-depth, infinite for none."""
    from embreex.mesh_construction import TriangleMesh
    from embreex.rtcore_scene import EmbreeScene

    scene = EmbreeScene()
    mesh = TriangleMesh(scene, np.ascontiguousarray(corners, np.float32))
    rays = np.ascontiguousarray(camera.rays().reshape(-1, 3), np.float32)
    faces, depth = np.empty(len(rays), np.int64), np.full(len(rays), np.inf, np.float32)
    for start in range(0, len(rays), _RAYS_AT_ONCE):
        part = slice(start, start + _RAYS_AT_ONCE)
        directions = np.ascontiguousarray(rays[part])
        met = scene.run(np.zeros_like(directions), directions, output=True)
        faces[part] = met["primID"]
        depth[part] = np.where(met["primID"] >= 0, met["tfar"], np.inf)
    del mesh
    return faces, depth
