"""Cameras as the network is told them: poses in OpenGL axes (y up, looking along -z) and the rays of their pixels."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

FloatArray = NDArray[np.float64]

Window = tuple[float, float, float]
"""Left, top and side of a square part of a picture, as shares of it."""

WHOLE: Window = (0.0, 0.0, 1.0)

UP = np.array([0.0, 1.0, 0.0])
LEAST_SQUARE = 1e-20
"""Of a direction before it gets unit length."""


def orbit_pose(elevation: float, azimuth: float, radius: float) -> FloatArray:
    """A camera on a sphere around the origin, which it looks at.

    Args:
        elevation: negative is above [deg].
        azimuth: from +z to +x [deg].
        radius: of the sphere [m].

    Returns:
        Camera-to-world, OpenGL axes, shape [4, 4].
    """
    e, a = np.deg2rad(elevation), np.deg2rad(azimuth)
    place = radius * np.array([np.cos(e) * np.sin(a), -np.sin(e), np.cos(e) * np.cos(a)])
    backward = place / np.linalg.norm(place)
    right = np.cross(UP, backward)
    right /= np.linalg.norm(right)
    pose = np.eye(4)
    pose[:3] = np.stack([right, np.cross(backward, right), backward, place], axis=1)
    return pose


def optical_from_opengl(pose: FloatArray) -> FloatArray:
    """A pose of optical axes (y down, looking along z), or the way back, shape [*, 4, 4]."""
    turned = pose.copy()
    turned[..., :3, 1:3] *= -1
    return turned


def ray_directions(poses: Tensor, *, size: int, fovy: float, window: Window = WHOLE) -> Tensor:
    """Unit directions of the pixels' rays in the world.

    Args:
        poses: camera-to-world, OpenGL axes, shape [*, 4, 4].
        size: rows and columns.
        fovy: vertical opening angle of the whole picture [deg].
        window: the part of it that is seen.

    Returns:
        Shape [*, size, size, 3].
    """
    focal = 0.5 * size / float(np.tan(0.5 * np.deg2rad(fovy)))
    left, top, side = window
    steps = torch.arange(size, dtype=poses.dtype, device=poses.device) * side
    first, second = ((steps + (begin - 0.5) * size + 0.5 * side) / focal for begin in (top, left))
    down, across = torch.meshgrid(first, second, indexing="ij")
    local = torch.stack([across, -down, -torch.ones_like(down)], dim=-1)
    world = local.flatten(0, 1) @ poses[..., :3, :3].transpose(-1, -2)
    length = world.square().sum(-1, keepdim=True).clamp(min=LEAST_SQUARE).sqrt()
    return torch.unflatten(world / length, -2, (size, size))


def pluecker_rays(poses: Tensor, *, size: int, fovy: float, window: Window = WHOLE) -> Tensor:
    """Rays in Plücker coordinates: moment (origin x direction), then direction.

    Args:
        poses: camera-to-world, OpenGL axes, shape [*, 4, 4].
        size: rows and columns.
        fovy: vertical opening angle of the whole picture [deg].
        window: the part of it that is seen.

    Returns:
        Shape [*, 6, size, size].
    """
    directions = ray_directions(poses, size=size, fovy=fovy, window=window)
    origins = poses[..., None, None, :3, 3].expand_as(directions)
    rays = torch.cat([torch.linalg.cross(origins, directions), directions], dim=-1)
    return rays.movedim(-1, -3)
