"""How an object moves, from shapes that were made frame by frame and have nothing in common but where they are."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from fourd_ros.compositional.similarity import motion_step, robust_weights
from fourd_ros.compositional.surface_mesh import SurfaceMesh, sampled
from fourd_ros.geometry.transforms import from_parts

__all__ = ["object_poses"]

FloatArray = NDArray[np.float64]

POINTS, DENSER = 300, 4
"""Of a shape, and so many times as many of the one that it is laid onto."""

STEPS = 20
SMALL_STEP = 1e-4
SLIDING = 0.9
"""How freely points slide along the surface (see `motion_step`)."""

TRUSTED = 0.01
"""Errors that are never doubted, as a share of the object's size."""

CLEARLY = 0.8
"""A turn has to leave so much less than a shift alone: shapes from noise would else turn without reason."""


def object_poses(meshes: Sequence[SurfaceMesh]) -> FloatArray:
    """Pose of an object in every frame; its axes are those of the frame where it is seen first.

    Each shape is laid onto the next one (iterative closest points after Chen and Medioni 1992); a turn is believed only
    where it explains clearly more than a shift. The origin is the middle of the shape's points at first.

    Args:
        meshes: its shape in each frame, all in one frame [m].

    Returns:
        ``T_frame_object``, shape [F, 4, 4]; NaN where a mesh is empty.
    """
    rng = np.random.default_rng(0)
    poses = np.full((len(meshes), 4, 4), np.nan)
    before, T_frame_before = np.zeros((0, 3)), np.eye(4)
    for frame, mesh in enumerate(meshes):
        if mesh.is_empty:
            continue
        points, normals = sampled(mesh, DENSER * POINTS, rng=rng)
        if len(before):
            poses[frame] = _laid_onto(before, points, normals) @ T_frame_before
        else:
            poses[frame] = from_parts(np.eye(3), points.mean(axis=0))
        before, T_frame_before = points[:POINTS], poses[frame]
    return poses


def _laid_onto(points: FloatArray, targets: FloatArray, normals: FloatArray) -> FloatArray:
    """``T_after_before`` [4, 4] that brings points [N, 3] onto a surface [M, 3]."""
    from scipy.spatial import cKDTree

    tree = cKDTree(targets)
    shift = from_parts(np.eye(3), targets.mean(axis=0) - points.mean(axis=0))
    least = TRUSTED * float(np.linalg.norm(np.ptp(targets, axis=0)))
    T = shift
    for _ in range(STEPS):
        moved = _carried(T, points)
        away, nearest = tree.query(moved)
        step = motion_step(
            moved,
            targets[nearest],
            normals[nearest],
            robust_weights(away, least=least),
            sliding=np.full(len(moved), SLIDING),
            scaled=False,
        )
        T = step @ T
        if np.abs(step - np.eye(4)).max() < SMALL_STEP:
            break
    left, without = (float(np.mean(tree.query(_carried(one, points))[0])) for one in (T, shift))
    return T if left < CLEARLY * without else shift


def _carried(T: FloatArray, points: FloatArray) -> FloatArray:
    return np.asarray(points @ T[:3, :3].T + T[:3, 3])
