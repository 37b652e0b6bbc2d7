"""Cameras of the Gaussian rasteriser: any pinhole without distortion, and those of LGM and PartRM."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fourd_ros.errors import InvalidCamera, InvalidTransform
from fourd_ros.geometry.camera import PinholeCamera
from fourd_ros.part_dynamics.splat_rules import SLOPE_MARGIN

Array = NDArray[Any]

OPENGL_TO_OPTICAL = np.diag([1.0, -1.0, -1.0, 1.0])
"""OpenGL cameras have y up and look along -z; optical frames have y down and look along z."""

ZNEAR, ZFAR = 0.5, 2.5
"""Clipping planes [m] that LGM and PartRM write into their matrices; no picture depends on them."""


@dataclass(frozen=True, kw_only=True, eq=False)
class SplatCamera:
    """A view to render: a pinhole and where it stands.

    Pixel (0, 0) has its centre at (0, 0), as in `PinholeCamera`. Depth is not clipped, except at `splat_rules.NEAR`.

    Args:
        camera: any size, any principal point, fx and fy; no distortion, no skew.
        T_world_camera: of its optical frame (x right, y down, z forward), shape [4, 4].

    Raises:
        InvalidCamera: it is distorted or skewed.
        InvalidTransform: the pose is not finite or not rigid.
    """

    camera: PinholeCamera
    T_world_camera: NDArray[np.float64]

    def __post_init__(self) -> None:
        if self.camera.distorted or self.camera.K[0, 1] != 0:
            raise InvalidCamera(
                f"a camera with distortion {self.camera.distortion.tolist()} and skew {self.camera.K[0, 1]:g}; "
                "Gaussians are rendered into pinholes only: rectify the images (image_proc), give the camera of these"
            )
        pose = self.T_world_camera
        if pose.shape != (4, 4) or not np.isfinite(pose).all() or not _is_rigid(pose):
            raise InvalidTransform(f"T_world_camera must be a finite rigid [4, 4] matrix, got {pose.tolist()}")

    @classmethod
    def from_opengl(cls, T_world_camera: Array, *, fovy: float, size: int) -> "SplatCamera":
        """The square camera of LGM and PartRM.

        Args:
            T_world_camera: OpenGL axes (x right, y up, looks along -z), shape [4, 4].
            fovy: whole field of view, of both axes [deg].
            size: of the image [px].
        """
        pose = np.asarray(T_world_camera, np.float64) @ OPENGL_TO_OPTICAL
        return cls(camera=square_pinhole(fovy=fovy, size=size), T_world_camera=pose)

    @classmethod
    def from_cam_view(cls, cam_view: Array, *, fovy: float, size: int) -> "SplatCamera":
        """The same from the transposed world-to-camera matrix `OfficialMatrices.cam_view`, shape [4, 4]."""
        pose = np.linalg.inv(np.asarray(cam_view, np.float64).T)
        return cls(camera=square_pinhole(fovy=fovy, size=size), T_world_camera=pose.astype(np.float64))

    @property
    def width(self) -> int:
        """Columns."""
        return self.camera.width

    @property
    def height(self) -> int:
        """Rows."""
        return self.camera.height

    def packed(self) -> NDArray[np.float32]:
        """What a backend computes with, shape [20].

        0-8 rotation of world to camera by rows, 9-11 its translation [m], 12-15 fx, fy, cx, cy [px], 16-19 least and
        largest x/z, then y/z, at which the projection is linearised: the borders of the image, moved out by 0.3 times
        half its width. For a centred principal point that is 1.3 tan(fov/2) on both sides.
        """
        T_camera_world = np.linalg.inv(np.asarray(self.T_world_camera, np.float64))
        fx, fy, cx, cy = (float(self.camera.K[index]) for index in ((0, 0), (1, 1), (0, 2), (1, 2)))
        limits = [*_slopes(self.width, fx, cx), *_slopes(self.height, fy, cy)]
        turn, shift = T_camera_world[:3, :3].ravel(), T_camera_world[:3, 3]
        return np.array([*turn, *shift, fx, fy, cx, cy, *limits], np.float32)


@dataclass(frozen=True, kw_only=True)
class OfficialMatrices:
    """Cameras as LGM and PartRM hand them to their rasteriser; row vectors are multiplied from the left.

    Args:
        cam_view: world to camera, transposed, float32 [V, 4, 4].
        cam_view_proj: cam_view @ projection, float32 [V, 4, 4].
        cam_pos: the negated camera position, as the original has it [m]; nothing uses it, float32 [V, 3].
        projection: of camera points to homogeneous coordinates, float32 [4, 4].
    """

    cam_view: NDArray[np.float32]
    cam_view_proj: NDArray[np.float32]
    cam_pos: NDArray[np.float32]
    projection: NDArray[np.float32]

    @classmethod
    def from_opengl(
        cls, T_world_camera: Array, *, fovy: float, znear: float = ZNEAR, zfar: float = ZFAR
    ) -> "OfficialMatrices":
        """Of poses in OpenGL axes, shape [V, 4, 4]; `fovy` [deg], clipping planes [m]."""
        poses = np.asarray(T_world_camera, np.float64) @ OPENGL_TO_OPTICAL
        cam_view = np.swapaxes(np.linalg.inv(poses), -1, -2)
        projection = np.zeros((4, 4))
        projection[0, 0] = projection[1, 1] = 1 / np.tan(np.deg2rad(fovy) / 2)
        projection[2, 2] = (zfar + znear) / (zfar - znear)
        projection[3, 2] = -zfar * znear / (zfar - znear)
        projection[2, 3] = 1
        return cls(
            cam_view=cam_view.astype(np.float32),
            cam_view_proj=(cam_view @ projection).astype(np.float32),
            cam_pos=-poses[..., :3, 3].astype(np.float32),
            projection=projection.astype(np.float32),
        )


def square_pinhole(*, fovy: float, size: int) -> PinholeCamera:
    """The camera with `size` pixels a side and `fovy` [deg] from edge to edge.

    Raises:
        InvalidCamera: the field of view is not between 0 and 180 degrees.
    """
    if not 0 < fovy < 180:
        raise InvalidCamera(f"a field of view of {fovy} deg; it must lie between 0 and 180")
    focal = size / 2 / np.tan(np.deg2rad(fovy) / 2)
    centre = (size - 1) / 2
    return PinholeCamera(width=size, height=size, K=np.array([[focal, 0, centre], [0, focal, centre], [0, 0, 1.0]]))


def _slopes(size: int, focal: float, centre: float) -> tuple[float, float]:
    margin = SLOPE_MARGIN * size / (2 * focal)
    return -(centre + 0.5) / focal - margin, (size - 0.5 - centre) / focal + margin


def _is_rigid(pose: Array) -> bool:
    turn = pose[:3, :3]
    return bool(np.allclose(turn @ turn.T, np.eye(3), atol=1e-4) and np.allclose(pose[3], [0, 0, 0, 1], atol=1e-6))
