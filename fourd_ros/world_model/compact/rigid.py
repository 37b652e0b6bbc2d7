"""Rigid motions of many things at once, as torch functions."""

import torch
from torch import Tensor


def inverse(T: Tensor) -> Tensor:
    """Of rigid transforms [*, 4, 4]; their upper three rows, [*, 3, 4] padded to [*, 4, 4]."""
    rotation = T[..., :3, :3].transpose(-1, -2)
    translation = -(rotation @ T[..., :3, 3:])
    return torch.cat([torch.cat([rotation, translation], dim=-1), T[..., 3:, :]], dim=-2)


def into(frame: Tensor, points: Tensor) -> Tensor:
    """World points [B, K, N, 3] in frames [B, K or 1, 4, 4]."""
    return (points - frame[..., None, :3, 3]) @ frame[..., :3, :3]


def into_all(frames: Tensor, points: Tensor) -> Tensor:
    """World points [R, N, 3] in each of M frames [R, M, 4, 4], one after the other, shape [R, N, 3 * M]."""
    axes = frames[..., :3, :3].transpose(1, 2).flatten(2)
    origin = (frames[..., None, :3, 3] @ frames[..., :3, :3]).flatten(1)
    return points @ axes - origin[:, None]


def rotate(axes: Tensor, vectors: Tensor) -> Tensor:
    """Vectors [R, 3] from axes [R, 3, 3] to the world."""
    return (axes @ vectors[..., None])[..., 0]


def rotation_vector(rotation: Tensor) -> Tensor:
    """Of small rotations [*, 3, 3] (the skew part; exact to the third order), shape [*, 3]."""
    skew = rotation - rotation.transpose(-1, -2)
    return torch.stack([skew[..., 2, 1], skew[..., 0, 2], skew[..., 1, 0]], dim=-1) / 2


def rotation_by(vector: Tensor) -> Tensor:
    """Rotation about a vector [*, 3] by its length, shape [*, 3, 3]; source: Rodrigues' formula."""
    angle_squared = (vector * vector).sum(dim=-1, keepdim=True)[..., None] + 1e-12
    angle = angle_squared.sqrt()
    x, y, z = vector.unbind(-1)
    zero = torch.zeros_like(x)
    cross = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], dim=-1).reshape(*vector.shape[:-1], 3, 3)
    identity = torch.eye(3, dtype=vector.dtype, device=vector.device)
    return identity + torch.sin(angle) / angle * cross + (1 - torch.cos(angle)) / angle_squared * (cross @ cross)
