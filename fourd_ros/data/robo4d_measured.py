"""Points of a clip as they were measured and rendered, without loss: ``pointmap_float/<name>.npz``.

What a camera sees lies on its rays, so depth and rays are kept, which is a third of the points.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fourd_ros.data.array_archive import MAX_BYTES, ArchiveKind
from fourd_ros.errors import InvalidDataset
from fourd_ros.geometry.pointmap_range import PointmapRange
from fourd_ros.geometry.transforms import apply

Floats = NDArray[np.float32]
FloatArray = NDArray[np.float64]

_FILE = ArchiveKind(
    what="the points of a clip",
    made_by="'fourd data to-robo4d' writes them",
    error=InvalidDataset,
)
_ARRAYS = ("depth", "rays", "robot_depth", "robot_rays", "T_first_camera")


@dataclass(frozen=True, kw_only=True, eq=False)
class MeasuredPoints:
    """Points of T frames; unknown is NaN.

    Args:
        depth: of the scene along the optical axis [m], shape [T, H, W].
        rays: what its pixels see at depth 1, shape [H, W, 3].
        robot_depth: of the rendered robot [m], NaN elsewhere, shape [T, H, W].
        robot_rays: what its pixels see at depth 1, shape [H, W, 3]; off `rays` by up to a pixel of the camera, since
            the robot is rendered at the size of the clip and the scene picked from the camera's pixels.
        T_first_camera: camera of every frame in that of the first, shape [T, 4, 4].

    Raises:
        InvalidDataset: shapes or types that contradict each other.
    """

    depth: Floats
    rays: Floats
    robot_depth: Floats
    robot_rays: Floats
    T_first_camera: FloatArray

    def __post_init__(self) -> None:
        if self.depth.ndim != 3:
            raise InvalidDataset(f"depth has shape {list(self.depth.shape)}, needed [T, H, W]")
        steps, *size = self.depth.shape
        images, rays = (steps, *size), (*size, 3)
        needed = {"depth": images, "rays": rays, "robot_depth": images, "robot_rays": rays}
        for name, shape in needed.items():
            found = getattr(self, name)
            if found.shape != shape or found.dtype != np.float32 or not found.size:
                raise InvalidDataset(f"'{name}' is {found.dtype}{list(found.shape)}, needed float32{list(shape)}")
        if self.T_first_camera.shape != (steps, 4, 4) or not np.isfinite(self.T_first_camera).all():
            raise InvalidDataset(f"'T_first_camera' has shape {list(self.T_first_camera.shape)} for {steps} frames")

    def points_at(self, frame: int) -> Floats:
        """Of the scene in the frame of the first camera [m], shape [H, W, 3]."""
        return self._lifted(self.rays, self.depth[frame], frame)

    def robot_points_at(self, frame: int) -> Floats:
        """Of the robot in the frame of the first camera [m], shape [H, W, 3]."""
        return self._lifted(self.robot_rays, self.robot_depth[frame], frame)

    def points(self) -> Floats:
        """Of the scene in the frame of the first camera [m], shape [T, H, W, 3]."""
        return self._all(self.points_at)

    def robot_points(self) -> Floats:
        """Of the robot in the frame of the first camera [m], shape [T, H, W, 3]."""
        return self._all(self.robot_points_at)

    def _all(self, at: Callable[[int], Floats]) -> Floats:
        return np.stack([at(frame) for frame in range(len(self.depth))])

    def _lifted(self, rays: Floats, depth: Floats, frame: int) -> Floats:
        points = rays * depth[..., None]
        T = self.T_first_camera[frame]
        return points if np.array_equal(T, np.eye(4)) else np.asarray(apply(T, points), np.float32)


def save_measured(points: MeasuredPoints, range: PointmapRange, path: Path) -> None:
    """Write the points and their range, whole or not at all."""
    arrays = {name: getattr(points, name) for name in _ARRAYS}
    _FILE.write(path, {}, {**arrays, "centre": range.centre, "scale": np.array(range.scale)})


def load_measured(path: Path, *, max_bytes: int = MAX_BYTES) -> tuple[MeasuredPoints, PointmapRange]:
    """Read the points of a clip and their range.

    Args:
        path: the file.
        max_bytes: of all arrays together; checked before anything is allocated.

    Raises:
        InvalidDataset: missing, truncated, damaged, or larger than allowed.
    """
    with _FILE.open(path, max_bytes=max_bytes) as archive:
        points = MeasuredPoints(**{name: archive.read(name) for name in _ARRAYS})
        return points, PointmapRange(centre=archive.read("centre"), scale=float(archive.read("scale")))
