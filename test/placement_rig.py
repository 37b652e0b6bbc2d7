"""Shapes in a cube, seen by a depth camera: what placing them back is tested on."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import trimesh
from numpy.typing import NDArray

from fourd_ros.compositional.field_extraction import extract_surface
from fourd_ros.compositional.placed_cube import SeenObject
from fourd_ros.compositional.surface_mesh import SurfaceMesh
from fourd_ros.geometry.camera import PinholeCamera

CAMERA = PinholeCamera(width=96, height=72, K=np.array([[90.0, 0, 47.5], [0, 90.0, 35.5], [0, 0, 1]]))
BACKGROUND = 4.0
"""A wall behind everything [m]."""


def shape(mesh: trimesh.Trimesh, place: Sequence[float] = (0.0, 0.0, 0.0)) -> SurfaceMesh:
    return SurfaceMesh(vertices=(mesh.vertices + np.array(place)).astype(np.float32), faces=mesh.faces.astype(np.int32))


def corner() -> SurfaceMesh:
    """A thing that looks different from every side, and has no faces within."""
    boxes = np.array(
        [
            ((-0.35, -0.2, 0.1), (0.35, 0.1, 0.15)),
            ((-0.6, 0.05, 0.1), (0.1, 0.35, 0.15)),
            ((-0.1, 0.0, 0.2), (0.1, 0.1, 0.35)),
        ]
    )

    def field(queries: torch.Tensor) -> torch.Tensor:
        centres, halves = torch.tensor(boxes, dtype=torch.float32).unbind(dim=1)
        return -((queries[:, None] - centres).abs() - halves).amax(dim=2).amin(dim=1)

    return extract_surface(field, resolution=32)


def ball() -> SurfaceMesh:
    return shape(trimesh.creation.icosphere(subdivisions=3, radius=0.3), (0.5, -0.1, -0.2))


def render(
    meshes: Sequence[SurfaceMesh], T_camera_cube: NDArray[np.float64], camera: PinholeCamera = CAMERA
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Depth [m] and the number of the mesh (-1: none) at every pixel, both [H, W]."""
    placed = [mesh.carried(T_camera_cube) for mesh in meshes]
    whole: Any = trimesh.util.concatenate([trimesh.Trimesh(one.vertices, one.faces, process=False) for one in placed])
    owner = np.repeat(np.arange(len(meshes)), [len(one.faces) for one in placed])
    rays = camera.rays().reshape(-1, 3).astype(np.float64)
    hits, ray, face = whole.ray.intersects_location(np.zeros_like(rays), rays, multiple_hits=False)
    depth, number = np.full(len(rays), BACKGROUND), np.full(len(rays), -1)
    depth[ray], number[ray] = hits[:, 2], owner[face]
    return depth.reshape(camera.height, camera.width), number.reshape(camera.height, camera.width)


def seen(
    meshes: Sequence[SurfaceMesh], T_camera_cube: NDArray[np.float64], *, with_depth: bool = True
) -> list[SeenObject]:
    depth, number = render(meshes, T_camera_cube)
    return [
        SeenObject(mesh=mesh, mask=number == place, depth=depth if with_depth else None)
        for place, mesh in enumerate(meshes)
    ]
