"""From points to pixels and back, differentiable, with the conventions of DynamicVerse.

A pose is the rotation and the centre of a camera, ``X_world = R X_camera + t``. No test for points behind the camera:
whoever calls looks at the depth that comes along.
"""

import torch
from torch import Tensor
from torch.nn.functional import grid_sample

__all__ = ["bilinear", "depth_of_pixel", "intrinsics", "project", "unproject", "within_image"]

_EPSILON = 1e-16


def intrinsics(focal: Tensor, *, width: int, height: int) -> Tensor:
    """K with the principal point in the middle of the image, from `focal` (fx, fy) [px], shape [2] -> [3, 3]."""
    one, none = torch.ones_like(focal[0]), torch.zeros_like(focal[0])
    rows = [focal[0], none, one * (width - 1) / 2, none, focal[1], one * (height - 1) / 2, none, none, one]
    return torch.stack(rows).reshape(3, 3)


def project(points: Tensor, R: Tensor, t: Tensor, K: Tensor) -> tuple[Tensor, Tensor]:
    """Pixels of points, and how far these are along the optical axis.

    Args:
        points: in the world [m], shape [*, N, 3].
        R: rotation of the camera in the world, shape [*, 3, 3].
        t: its centre [m], shape [*, 3].
        K: shape [3, 3].

    Returns:
        Pixels (x, y), shape [*, N, 2], and depth [m], shape [*, N]; pixels of points at or behind the plane of the
        camera mean nothing.
    """
    seen = (points - t[..., None, :]) @ R
    image = seen @ K.T
    return image[..., :2] / (image[..., 2:] + _EPSILON), seen[..., 2]


def unproject(pixels: Tensor, depth: Tensor, R: Tensor, t: Tensor, K: Tensor) -> Tensor:
    """Points in the world [m] that pixels show, shape [*, N, 3].

    Args:
        pixels: (x, y), shape [*, N, 2].
        depth: along the optical axis [m], shape [*, N].
        R: rotation of the camera in the world, shape [*, 3, 3].
        t: its centre [m], shape [*, 3].
        K: shape [3, 3].
    """
    homogeneous = torch.cat([pixels, torch.ones_like(pixels[..., :1])], dim=-1)
    rays = homogeneous @ torch.linalg.inv(K).T
    points: Tensor = (rays * depth[..., None]) @ R.transpose(-1, -2) + t[..., None, :]
    return points


def bilinear(maps: Tensor, pixels: Tensor) -> Tensor:
    """Values of maps between pixels; everything outside of a map counts as zero.

    Args:
        maps: shape [F, H, W], at least two pixels each way.
        pixels: (x, y), shape [F, N, 2].

    Returns:
        Shape [F, N].
    """
    height, width = maps.shape[-2:]
    size = torch.tensor([width - 1, height - 1], dtype=pixels.dtype, device=pixels.device)
    grid = (2 * pixels / size - 1).to(maps.dtype)
    values: Tensor = grid_sample(maps[:, None], grid[:, None], align_corners=True, padding_mode="zeros")
    return values[:, 0, 0]


def depth_of_pixel(maps: Tensor, pixels: Tensor) -> Tensor:
    """Values of maps at pixels whose fractions are cut off, and which are moved into the image, shape [F, N].

    Args:
        maps: shape [F, H, W].
        pixels: (x, y), shape [F, N, 2].
    """
    height, width = maps.shape[-2:]
    column = pixels[..., 0].long().clamp(0, width - 1)
    row = pixels[..., 1].long().clamp(0, height - 1)
    return maps.flatten(1).gather(1, row * width + column)


def within_image(pixels: Tensor, *, width: int, height: int) -> Tensor:
    """Pixels moved to the nearest place in ``[0, width - 1] x [0, height - 1]``, shape [*, 2]."""
    return torch.stack([pixels[..., 0].clamp(0, width - 1), pixels[..., 1].clamp(0, height - 1)], dim=-1)
