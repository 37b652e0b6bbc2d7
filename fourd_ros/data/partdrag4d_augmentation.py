"""Augmentations of PartRM's training: distorted pictures and shaken cameras of the input views 1 to 3.

Rules: PartRM 2025 (arXiv 2503.19913), section 9 of the specification this was written from. Everything random is drawn
first (`draw_distortion`, `draw_jitter`), and the augmentations themselves are functions of what was drawn.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fourd_ros.errors import InvalidParameter, MissingDependency
from fourd_ros.machine import pip_install

Floats = NDArray[np.float32]

KNOTS = (8, 16)
DISTORTION = 0.5
JITTER = 0.1


@dataclass(frozen=True, kw_only=True)
class Distortion:
    """What was drawn for distorted pictures.

    Args:
        uniforms: 0..1, shape [2 images, n]: for each picture n along x, then n along y; n is the same for all.
    """

    uniforms: Floats


def draw_distortion(rng: np.random.Generator, images: int) -> Distortion:
    """A distortion for each of some pictures; the number of knots is the same for all."""
    knots = int(rng.integers(KNOTS[0], KNOTS[1] + 1))
    return Distortion(uniforms=rng.random((2 * images, knots), np.float32))


def distort(images: Floats, drawn: Distortion, *, strength: float = DISTORTION) -> Floats:
    """Pictures stretched and squeezed along both axes; black comes in from outside.

    Args:
        images: colour 0..1 before it is normalised, shape [n, 3, H, W].
        drawn: for n pictures.
        strength: share of the distance between knots that they move by.

    Raises:
        InvalidParameter: drawn for another number of pictures.
        MissingDependency: torch is not installed.
    """
    if drawn.uniforms.shape[0] != 2 * len(images):
        raise InvalidParameter(
            f"a distortion drawn for {drawn.uniforms.shape[0] / 2:g} pictures, there are {len(images)}"
        )
    torch = _torch()
    height, width = images.shape[2:]
    grids = np.empty((len(images), height, width, 2), np.float32)
    for index in range(len(images)):
        grids[index, ..., 0] = 2 * _coordinates(drawn.uniforms[2 * index], width, strength)[None, :] - 1
        grids[index, ..., 1] = 2 * _coordinates(drawn.uniforms[2 * index + 1], height, strength)[:, None] - 1
    distorted: Floats = torch.nn.functional.grid_sample(
        torch.from_numpy(np.ascontiguousarray(images)),
        torch.from_numpy(grids),
        mode="bilinear",
        padding_mode="zeros",
        align_corners=False,
    ).numpy()
    return distorted


def _coordinates(uniforms: Floats, length: int, strength: float) -> Floats:
    """Where each of `length` pixels comes from, 0..1."""
    count = len(uniforms)
    even = np.linspace(0, 1, count, dtype=np.float32)
    moved = even + np.float32(strength) * (uniforms - np.float32(0.5)) / np.float32(count - 1)
    knots = np.trunc(np.float32(length) * moved.clip(0, 1)).astype(np.int64)
    knots[0], knots[-1] = 0, length
    pieces = [
        np.linspace(index / (count - 1), (index + 1) / (count - 1), knots[index + 1] - knots[index], dtype=np.float32)
        for index in range(count - 1)
    ]
    return np.concatenate(pieces)


@dataclass(frozen=True, kw_only=True)
class Jitter:
    """What was drawn for shaken cameras.

    Args:
        up: 0..1, for the turn about each camera's up axis, shape [n].
        right: for that about its right axis, shape [n].
    """

    up: Floats
    right: Floats


def draw_jitter(rng: np.random.Generator, cameras: int) -> Jitter:
    """A turn for each of some cameras."""
    up, right = rng.random(cameras, np.float32), rng.random(cameras, np.float32)
    return Jitter(up=up, right=right)


def shake(poses: NDArray[np.floating], drawn: Jitter, *, strength: float = JITTER) -> Floats:
    """Normalised poses [n, 4, 4] turned about the origin of the world by up to `strength` half turns."""
    up = strength * np.pi * (2 * np.asarray(drawn.up, np.float64).reshape(-1, 1) - 1) * poses[:, :3, 1]
    right = strength * np.pi / 2 * (2 * np.asarray(drawn.right, np.float64).reshape(-1, 1) - 1) * poses[:, :3, 0]
    shaken = np.array(poses, np.float64)
    shaken[:, :3] = _exponential(up) @ _exponential(right) @ shaken[:, :3]
    return shaken.astype(np.float32)


def _exponential(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rotations of rotation vectors [n, 3], shape [n, 3, 3] (Rodrigues)."""
    angle = np.linalg.norm(vectors, axis=-1)[:, None, None]
    x, y, z = (vectors / np.maximum(angle[:, 0], 1e-12)).T
    zero = np.zeros_like(x)
    cross = np.stack([zero, -z, y, z, zero, -x, -y, x, zero], axis=-1).reshape(-1, 3, 3)
    rotations: NDArray[np.float64] = np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * (cross @ cross)
    return rotations


def _torch() -> Any:
    try:
        import torch
    except ImportError as error:
        raise MissingDependency(f"pictures are distorted with torch: {pip_install('torch')}") from error
    return torch
