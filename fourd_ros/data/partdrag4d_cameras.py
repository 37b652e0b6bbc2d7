"""Cameras of PartDrag-4D: where they stand, their files, how poses are normalised and points projected.

Rules: PartRM 2025 (arXiv 2503.19913), sections 2.3, 3.1 and 8.5 of the specification this was written from.
*Blender* poses are camera-to-world with x right, y up, the camera looking along -z, world z-up. *Raw* poses have the
axes of OpenCV (x right, y down, z forward) in the same world. *Normalised* poses have OpenGL axes in a world that
hangs on view 0.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fourd_ros.errors import InvalidDataset
from fourd_ros.strict_json import read_object
from fourd_ros.whole_file import write_whole

FloatArray = NDArray[np.float64]
Poses = NDArray[np.float32]

VIEWS = 12
INPUT_VIEWS = 4
DRAG_GRID = 512
"""Pixels of the square grid that drags are given in, whatever the size of pictures."""

OBJECT_SCALE = 0.42995866893870127
OBJECT_OFFSET = (-0.0121, -0.0070, 0.0120)
"""From points of an object (z-up) to the world that cameras stand in."""

DISTANCE, HEIGHT = 2.4, 1.5
TARGET = (-0.0016886, -0.0071193, -0.3899882)
FOCAL_PER_HALF = 2.777777671813965
"""Focal length in halves of the picture: a lens of 50 mm before a sensor of 36 mm."""

TRUE_FOV = 39.6
"""Of the pictures [degrees], rounded as everywhere; released networks were trained with rays of `RELEASED_FOV`."""

RELEASED_FOV = 49.1
CAM_RADIUS = 2.4

_DEPTH_SCALE, _DEPTH_OFFSET = -1.0001999139785767, -0.20002000033855438


def orbit_poses(count: int = VIEWS) -> FloatArray:
    """Blender poses of `count` cameras around the object, shape [count, 4, 4]; the last stands where the first does."""
    angles = np.linspace(0.0, 2 * np.pi, count)
    radius = np.sqrt(DISTANCE**2 - HEIGHT**2)
    poses = np.tile(np.eye(4), (count, 1, 1))
    places = np.stack([radius * np.cos(angles), radius * np.sin(angles), np.full(count, HEIGHT)], axis=-1)
    back = places - np.asarray(TARGET)
    back /= np.linalg.norm(back, axis=-1, keepdims=True)
    right = np.cross((0.0, 0.0, 1.0), back)
    right /= np.linalg.norm(right, axis=-1, keepdims=True)
    poses[:, :3, :] = np.stack([right, np.cross(back, right), back, places], axis=-1)
    return poses


def view_numbers(count: int) -> tuple[int, ...]:
    """Which of the 12 views a data set of fewer has: those that networks see, then others spread evenly; never one
    that shows what another does, unless it has all."""
    if count >= VIEWS:
        return tuple(range(VIEWS))
    further = np.linspace(INPUT_VIEWS, VIEWS - 2, max(count - INPUT_VIEWS, 0)).round().astype(int)
    return (*range(min(count, INPUT_VIEWS)), *further.tolist())


def write_camera(path: Path, pose: FloatArray) -> None:
    """Write a Blender pose [4, 4] as the original's JSON, whole or not at all."""
    columns = {name: pose[:3, index].tolist() for index, name in enumerate(("x", "y", "z"))}
    write_whole(path, json.dumps({"origin": pose[:3, 3].tolist(), **columns}, indent=1) + "\n")


def read_camera(path: Path) -> FloatArray:
    """Raw pose of a camera file, shape [4, 4].

    Raises:
        InvalidDataset: missing, no JSON, or without four vectors of finite numbers.
    """
    values = read_object(path, error=InvalidDataset)
    try:
        x, y, z, origin = (np.array(values[name], np.float64) for name in ("x", "y", "z", "origin"))
        pose = np.eye(4)
        pose[:3] = np.stack([x, -y, -z, origin], axis=-1)
    except (KeyError, TypeError, ValueError) as error:
        raise InvalidDataset(f"'{path}' is no camera ({error}); needed are origin, x, y and z of 3 numbers") from error
    if not np.isfinite(pose).all() or abs(np.linalg.det(pose[:3, :3])) < 0.1:
        raise InvalidDataset(f"'{path}' is no camera: its axes are not finite or not independent")
    return pose


def raw_poses(blender: FloatArray) -> FloatArray:
    """Blender poses in the axes of OpenCV, shape [*, 4, 4]."""
    raw: FloatArray = blender * np.array([1.0, -1.0, -1.0, 1.0])
    return raw


def normalise_poses(raw: FloatArray, *, cam_radius: float = CAM_RADIUS, first: FloatArray | None = None) -> Poses:
    """OpenGL poses in the world of view 0, whose camera comes to lie at (0, 0, cam_radius) without rotation.

    Args:
        raw: shape [V, 4, 4].
        cam_radius: distance of view 0 from the origin of that world.
        first: raw pose of view 0, shape [4, 4]; the first of `raw` by default.

    Raises:
        InvalidDataset: view 0 stands at the origin, so nothing tells the scale.
    """
    poses, origin = _to_opengl(raw), _to_opengl(raw[0] if first is None else first)
    distance = np.linalg.norm(origin[:3, 3])
    if distance < 1e-9:
        raise InvalidDataset("the camera of view 0 stands at the origin; its distance is needed for the scale")
    for placed in (poses, origin):
        placed[..., :3, 3] *= cam_radius / distance
    anchor = np.eye(4)
    anchor[2, 3] = cam_radius
    normalised: Poses = (anchor @ np.linalg.inv(origin) @ poses).astype(np.float32)
    return normalised


def _to_opengl(raw: FloatArray) -> FloatArray:
    """Raw poses in the axes of OpenGL, in a world that is y-up, shape [*, 4, 4]."""
    poses = np.array(raw, np.float64)
    poses[..., 1, :] *= -1
    poses[..., [1, 2], :] = poses[..., [2, 1], :]
    poses[..., :3, 1:3] *= -1
    return poses


def normalise_points(points: NDArray[np.floating], raw_first: FloatArray, *, cam_radius: float = CAM_RADIUS) -> Poses:
    """Points of an object (z-up) in the world of `normalise_poses`, where Gaussians live, shape [*, 3].

    Args:
        points: shape [*, 3].
        raw_first: raw pose of view 0, shape [4, 4].
        cam_radius: see `normalise_poses`.
    """
    camera = (to_world(points) - raw_first[:3, 3]) @ np.linalg.inv(raw_first[:3, :3]).T
    scale = cam_radius / np.linalg.norm(raw_first[:3, 3])
    normalised: Poses = (camera * (scale * np.array([1.0, -1.0, -1.0])) + (0.0, 0.0, cam_radius)).astype(np.float32)
    return normalised


def from_world(points: NDArray[np.floating]) -> FloatArray:
    """Points of the world that cameras stand in on the object (z-up), shape [*, 3]."""
    return (np.asarray(points, np.float64) - OBJECT_OFFSET) / OBJECT_SCALE


def to_world(points: NDArray[np.floating]) -> FloatArray:
    """Points of an object (z-up) in the world that cameras stand in, shape [*, 3]."""
    return OBJECT_SCALE * np.asarray(points, np.float64) + OBJECT_OFFSET


def project(points: NDArray[np.floating], raw: FloatArray, *, size: int = DRAG_GRID) -> FloatArray:
    """Pixels of points of an object, by the original's rule: half a pixel right of and below where its picture has
    them where centres of pixels are halves, one where they are whole numbers.

    Args:
        points: z-up, shape [N, 3].
        raw: raw pose of the view, shape [4, 4].
        size: of the square grid [pixels].

    Returns:
        x and y, shape [N, 2]; what lies behind the camera has no useful pixel.
    """
    return project_with_depth(points, raw, size=size)[0]


def project_with_depth(
    points: NDArray[np.floating], raw: FloatArray, *, size: int = DRAG_GRID
) -> tuple[FloatArray, FloatArray]:
    """As `project`, and the third normalised device coordinate [N], which grows towards the camera."""
    rotation, origin = raw[:3, :3], raw[:3, 3]
    camera = (to_world(points) - origin) @ np.linalg.inv(rotation).T
    z = camera[:, 2:]
    # The poses have the axes of OpenCV and the projection those of OpenGL: both signs flip, and the rule undoes it.
    device = FOCAL_PER_HALF * camera[:, :2] / -z
    depth = (_DEPTH_SCALE * camera[:, 2] + _DEPTH_OFFSET) / -camera[:, 2]
    return size - ((device + 1) * size - 1) / 2, depth


def clamp(pixels: NDArray[Any], *, size: int = DRAG_GRID) -> NDArray[Any]:
    """Pixels within 0 .. size - 1, of the same type, shape [*, 2]."""
    clamped: NDArray[Any] = np.clip(pixels, 0, size - 1)
    return clamped
