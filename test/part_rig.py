"""A small part network and a cabinet before cameras, for the tests of part dynamics."""

import numpy as np
import torch

from fourd_ros.data.partdrag4d_cameras import CAM_RADIUS, TRUE_FOV
from fourd_ros.geometry.transforms import invert, look_at
from fourd_ros.part_dynamics.network import PartNetwork, PartNetworkConfig
from fourd_ros.part_dynamics.splat_camera import square_pinhole
from fourd_ros.records import View

SIZE = 32
LOW, HIGH = np.array([0.4, -0.3, 0.0]), np.array([1.0, 0.3, 0.8])
"""Corners of the cabinet in the world [m]; its front is at the least x."""

FRONT = np.array([[LOW[0], 0.1, 0.5]])
"""A point of its front, shape [1, 3]."""

EYES = ((-1.0, 0.2, 1.3), (-0.8, 1.0, 1.3), (-0.8, -1.0, 1.3), (-1.2, 0.0, 1.6))


def small_network() -> PartNetwork:
    """Untrained, always the same."""
    torch.manual_seed(0)
    return PartNetwork(
        PartNetworkConfig(
            input_size=SIZE,
            down_channels=(32, 32),
            down_attention=(False, True),
            up_channels=(32,),
            up_attention=(True,),
            fovy=TRUE_FOV,
            cam_radius=CAM_RADIUS,
            transposed_drags=False,
            drag_unit=512.0,
        )
    )


def view(eye: tuple[float, float, float] = EYES[0], *, size: int = 96, with_depth: bool = True) -> View:
    """The cabinet on a floor, as a camera sees it that looks at its middle."""
    pose = look_at(eye, (LOW + HIGH) / 2)
    camera = square_pinhole(fovy=50.0, size=size)
    rays = camera.rays().astype(np.float64) @ pose[:3, :3].T
    box, floor = _enter_box(pose[:3, 3], rays), np.where(rays[..., 2] < 0, -pose[2, 3] / rays[..., 2], np.nan)
    hit = np.where(np.isfinite(box), box, np.where(floor < 6, floor, np.nan))
    world = pose[:3, 3] + rays * hit[..., None]
    local = (world - pose[:3, 3]) @ invert(pose)[:3, :3].T
    rgb = np.where(np.isfinite(box)[..., None], (200, 120, 40), (90, 90, 90)).astype(np.uint8)
    points = local.astype(np.float32) if with_depth else np.full(local.shape, np.nan, np.float32)
    return View(camera=camera, T_world_camera=pose, rgb=rgb, points=points)


def _enter_box(eye: np.ndarray, rays: np.ndarray) -> np.ndarray:
    """Distance along each ray to the cabinet, NaN past it."""
    with np.errstate(divide="ignore"):
        first, second = (LOW - eye) / rays, (HIGH - eye) / rays
    near, far = np.minimum(first, second).max(axis=-1), np.maximum(first, second).min(axis=-1)
    return np.where((near < far) & (near > 0), near, np.nan)
