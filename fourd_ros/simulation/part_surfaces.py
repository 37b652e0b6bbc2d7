"""Points on the surface of primitives, and how deep points lie below it.

Signed distances are the exact ones of I. Quilez (iquilezles.org, "distance functions").
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from fourd_ros.geometry.transforms import rotation_from_quaternion
from fourd_ros.simulation.parts import Part

FloatArray = NDArray[np.float64]


def area(part: Part) -> float:
    """Of the surface of a primitive [m^2]."""
    if part.shape == "box":
        x, y, z = part.size
        return 8 * (x * y + y * z + z * x)
    radius = part.size[0]
    if part.shape == "sphere":
        return 4 * np.pi * radius**2
    ends = 2 * radius if part.shape == "capsule" else radius
    return 2 * np.pi * radius * (2 * part.size[1] + ends)


def points_on(part: Part, count: int, rng: np.random.Generator) -> tuple[FloatArray, FloatArray]:
    """Points drawn evenly on the surface of a primitive, and normals outwards, both [count, 3], in the body's frame."""
    draw = {"box": _on_box, "cylinder": _on_cylinder, "sphere": _on_sphere, "capsule": _on_capsule}[part.shape]
    points, normals = draw(part, count, rng)
    rotation = rotation_from_quaternion(part.rotation)
    return points @ rotation.T + part.position, normals @ rotation.T


def depth_below(parts: Sequence[Part], points: NDArray[np.floating]) -> NDArray[np.float32]:
    """How deep points lie below the surface of the union of primitives.

    Outside it is minus the distance; inside no more than the distance, since primitives overlap.

    Args:
        parts: at least one.
        points: in their body's frame, shape [Q, 3].

    Returns:
        Positive inside, 0 on the surface, negative outside, shape [Q].
    """
    rotations = np.stack([rotation_from_quaternion(part.rotation) for part in parts]).astype(np.float32)
    places = np.array([part.position for part in parts], np.float32)
    given = np.asarray(points, np.float32)
    deepest = np.full(len(given), -np.inf, np.float32)
    for part, rotation, place in zip(parts, rotations, places, strict=True):
        np.maximum(deepest, -_distance(part, (given - place) @ rotation), out=deepest)
    return deepest


def _distance(part: Part, local: NDArray[np.float32]) -> NDArray[np.float32]:
    """Signed distance in the frame of a primitive, negative inside, shape [Q]."""
    size = np.array(part.size, np.float32)
    if part.shape == "box":
        return _corner_distance(np.abs(local) - size)
    if part.shape == "cylinder":
        across = np.hypot(local[:, 0], local[:, 1]) - size[0]
        return _corner_distance(np.stack([across, np.abs(local[:, 2]) - size[1]], axis=1))
    half = size[1] if part.shape == "capsule" else np.float32(0)
    along = local[:, 2] - np.clip(local[:, 2], -half, half)
    reach: NDArray[np.float32] = np.sqrt(local[:, 0] ** 2 + local[:, 1] ** 2 + along**2) - size[0]
    return reach


def _corner_distance(beyond: NDArray[np.float32]) -> NDArray[np.float32]:
    """Of a convex corner from the distances beyond each of its faces, shape [Q, faces]."""
    outside = np.linalg.norm(np.maximum(beyond, 0), axis=1)
    distance: NDArray[np.float32] = outside + np.minimum(beyond.max(axis=1), 0)
    return distance


def _on_box(part: Part, count: int, rng: np.random.Generator) -> tuple[FloatArray, FloatArray]:
    half = np.asarray(part.size)
    faces = np.array([half[1] * half[2], half[0] * half[2], half[0] * half[1]])
    axis = rng.choice(3, count, p=faces / faces.sum())
    points = rng.uniform(-1.0, 1.0, (count, 3))
    row, side = np.arange(count), rng.choice((-1.0, 1.0), count)
    points[row, axis] = side
    normals = np.zeros((count, 3))
    normals[row, axis] = side
    return points * half, normals


def _on_cylinder(part: Part, count: int, rng: np.random.Generator) -> tuple[FloatArray, FloatArray]:
    radius, half = part.size[:2]
    angle = rng.uniform(-np.pi, np.pi, count)
    on_side = rng.random(count) < 2 * half / (2 * half + radius)
    reach = np.where(on_side, radius, radius * np.sqrt(rng.random(count)))
    z = np.where(on_side, rng.uniform(-half, half, count), half * rng.choice((-1.0, 1.0), count))
    around = np.stack([np.cos(angle), np.sin(angle)], axis=-1)
    normals = np.concatenate([np.where(on_side[:, None], around, 0), np.where(on_side, 0, np.sign(z))[:, None]], axis=1)
    return np.concatenate([reach[:, None] * around, z[:, None]], axis=1), normals


def _on_sphere(part: Part, count: int, rng: np.random.Generator) -> tuple[FloatArray, FloatArray]:
    directions = rng.normal(size=(count, 3))
    normals = directions / np.linalg.norm(directions, axis=-1, keepdims=True)
    return part.size[0] * normals, normals


def _on_capsule(part: Part, count: int, rng: np.random.Generator) -> tuple[FloatArray, FloatArray]:
    radius, half = part.size[:2]
    _, normals = _on_sphere(part, count, rng)
    on_side = rng.random(count) < half / (half + radius)
    across = normals[:, :2] / np.linalg.norm(normals[:, :2], axis=1, keepdims=True)
    normals = np.where(on_side[:, None], np.concatenate([across, np.zeros((count, 1))], axis=1), normals)
    points = radius * normals
    points[:, 2] += np.where(on_side, rng.uniform(-half, half, count), half * np.sign(normals[:, 2]))
    return points, normals
