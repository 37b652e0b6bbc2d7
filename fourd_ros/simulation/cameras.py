"""Cameras of a scene: where they are, and what they are called in ROS and in MuJoCo.

MuJoCo's camera looks along -z with y up; a ROS optical frame looks along +z with y down.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fourd_ros.geometry.camera import PinholeCamera
from fourd_ros.geometry.transforms import look_at

FloatArray = NDArray[np.float64]

CAMERA_NAMES = ("front", "side", "wrist")
WRIST_LINK = "panda_hand"
_OPTICAL_FROM_MUJOCO = np.diag([1.0, -1.0, -1.0, 1.0])


@dataclass(frozen=True, kw_only=True)
class CameraSpec:
    """A camera that stands in the world or rides on a link.

    Args:
        name: front, side or wrist; also the ROS namespace.
        T_mount_camera: optical frame in the mount, row by row [4][4].
        vertical_fov: opening angle over the image height [rad].
        mounted_on: the robot link that carries it, empty for the world.
    """

    name: str
    T_mount_camera: tuple[tuple[float, ...], ...]
    vertical_fov: float
    mounted_on: str = ""

    @property
    def pose(self) -> FloatArray:
        """``T_mount_camera`` as an array [4, 4]."""
        return np.array(self.T_mount_camera)


def pinhole(spec: CameraSpec, *, width: int, height: int) -> PinholeCamera:
    """The calibration of `spec` at an image size; square pixels, principal point in the middle."""
    focal = height / 2 / np.tan(spec.vertical_fov / 2)
    K = np.array([[focal, 0.0, (width - 1) / 2], [0.0, focal, (height - 1) / 2], [0.0, 0.0, 1.0]])
    return PinholeCamera(width=width, height=height, K=K)


def to_mujoco(T_optical: FloatArray) -> FloatArray:
    """The pose of MuJoCo's camera frame for an optical frame, shape [4, 4]."""
    return np.asarray(T_optical @ _OPTICAL_FROM_MUJOCO)


def from_mujoco(position: FloatArray, rotation: FloatArray) -> FloatArray:
    """``T_world_camera`` (optical) from MuJoCo's ``cam_xpos`` [3] and ``cam_xmat`` [9], shape [4, 4]."""
    pose = np.eye(4)
    pose[:3, :3] = np.asarray(rotation).reshape(3, 3)
    pose[:3, 3] = position
    return np.asarray(pose @ _OPTICAL_FROM_MUJOCO)


def sample_camera(rng: np.random.Generator, *, name: str, spread: float = 1.0) -> CameraSpec:
    """A camera near its usual place; `spread` 0 puts it exactly there, 1 moves it by several centimetres."""
    if name == "wrist":
        return _wrist(rng, spread)
    eye, target = {
        "front": (np.array([1.15, -0.35, 0.62]), np.array([0.42, 0.0, 0.16])),
        "side": (np.array([0.35, -1.05, 0.55]), np.array([0.42, 0.0, 0.16])),
    }[name]
    eye = eye + spread * rng.uniform(-1, 1, 3) * (0.12, 0.16, 0.12)
    target = target + spread * rng.uniform(-1, 1, 3) * (0.04, 0.05, 0.03)
    pose = look_at(eye, target, np.array([0.0, 0.0, 1.0]))
    return _spec(name, pose, np.deg2rad(46.0 + spread * rng.uniform(-4, 4)))


def _wrist(rng: np.random.Generator, spread: float) -> CameraSpec:
    # In front of the hand, tilted so that the finger tips come into the lower part of the picture.
    eye = np.array([0.08, 0.0, 0.03]) + spread * rng.uniform(-1, 1, 3) * (0.008, 0.008, 0.01)
    target = np.array([0.025, 0.0, 0.17]) + spread * rng.uniform(-1, 1, 3) * (0.01, 0.005, 0.0)
    pose = look_at(eye, target, np.array([1.0, 0.0, 0.0]))
    return _spec("wrist", pose, np.deg2rad(70.0 + spread * rng.uniform(-6, 6)), mounted_on=WRIST_LINK)


def _spec(name: str, pose: FloatArray, fov: float, *, mounted_on: str = "") -> CameraSpec:
    rows = tuple(tuple(float(value) for value in row) for row in pose)
    return CameraSpec(name=name, T_mount_camera=rows, vertical_fov=float(fov), mounted_on=mounted_on)
