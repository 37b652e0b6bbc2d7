"""A Panda at a table, seen by two cameras, with everything a world model is told about it.

The robot in the images is ray-cast, the table and a box on it are intersected analytically, so every
pixel's truth is known in closed form.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fourd_ros.geometry.camera import PinholeCamera
from fourd_ros.geometry.transforms import look_at
from fourd_ros.records import Observation, View
from fourd_ros.robot.model import RobotModel
from fourd_ros.robot.panda import PANDA_READY, panda_description

TABLE_COLOUR = (180, 150, 110)
BOX_COLOUR = (200, 30, 30)
BOX_MIN, BOX_MAX = np.array([0.5, -0.25, 0.0]), np.array([0.58, -0.17, 0.08])
WRIST_LINK = "panda_hand"
T_HAND_WRIST = np.array([[0.0, -1, 0, 0.07], [1, 0, 0, 0], [0, 0, 1, 0.02], [0, 0, 0, 1]])
"""The wrist camera looks along the fingers (optical z = hand z)."""


def make_camera(height: int = 128, width: int = 0, *, focal: float = 1.1) -> PinholeCamera:
    """A camera without distortion; `width` 0 for a square one, `focal` in image heights."""
    width = width or height
    K = np.array([[focal * height, 0, (width - 1) / 2], [0, focal * height, (height - 1) / 2], [0, 0, 1]])
    return PinholeCamera(width=width, height=height, K=K)


def front_pose() -> NDArray[np.float64]:
    """Pose of the fixed camera in the robot's root frame, shape [4, 4]."""
    return look_at(np.array([1.5, -0.6, 0.8]), np.array([0.35, 0.0, 0.25]), np.array([0.0, 0, 1]))


@dataclass
class Rig:
    """The scene at one posture.

    Args:
        size: rows of the images [px].
        joints: positions by joint name [rad | m].
        width: columns of the images [px], 0 for as many as rows.
    """

    size: int = 128
    joints: dict[str, float] | None = None
    width: int = 0

    def __post_init__(self) -> None:
        self.robot = RobotModel(panda_description())
        self.joints = dict(PANDA_READY if self.joints is None else self.joints)
        self.camera = make_camera(self.size, self.width)

    @property
    def link_poses(self) -> dict[str, NDArray[np.float64]]:
        """Link poses in the root frame, shape [4, 4] each."""
        kinematics = self.robot.kinematics
        return kinematics.link_poses(kinematics.positions_from(self.joints))

    def camera_pose(self, name: str) -> NDArray[np.float64]:
        """Pose of ``front`` or ``wrist`` in the root frame, shape [4, 4]."""
        return front_pose() if name == "front" else self.link_poses[WRIST_LINK] @ T_HAND_WRIST

    def mount(self, name: str) -> str:
        """The link a camera is mounted on, empty for the fixed one."""
        return WRIST_LINK if name == "wrist" else ""

    def view(self, name: str) -> View:
        """What one camera sees now."""
        pose = self.camera_pose(name)
        depth, rgb = _scene(self.camera, pose)
        poses = {link: T[None] for link, T in self.link_poses.items()}
        robot = self.robot.renderer.render(poses, self.camera, pose[None])
        nearer = robot.mask[0] & ~(depth <= robot.points[0, ..., 2])
        points = (self.camera.rays() * depth[..., None]).astype(np.float32)
        points[nearer] = robot.points[0][nearer]
        rgb[nearer] = robot.rgb[0][nearer]
        return View(
            camera=self.camera,
            T_world_camera=pose,
            rgb=rgb,
            points=points,
            mounted_on=self.mount(name),
        )

    def observation(self, *, stamp_ns: int = 1_000_000_000, views: tuple[str, ...] = ("front", "wrist")) -> Observation:
        """Everything at once."""
        assert self.joints is not None
        return Observation(
            stamp_ns=stamp_ns,
            frame=self.robot.kinematics.root,
            views={name: self.view(name) for name in views},
            joint_positions=self.joints,
        )


def _scene(camera: PinholeCamera, pose: NDArray[np.float64]) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """Depth [m] (NaN: nothing) and colour of the table plane z = 0 and the box, seen from `pose`."""
    directions = camera.rays() @ pose[:3, :3].T
    origin = pose[:3, 3]
    with np.errstate(divide="ignore", invalid="ignore"):
        table = np.where(directions[..., 2] < 0, -origin[2] / directions[..., 2], np.inf)
        near = (BOX_MIN - origin) / directions
        far = (BOX_MAX - origin) / directions
    enter, leave = np.minimum(near, far).max(-1), np.maximum(near, far).min(-1)
    box = np.where((enter <= leave) & (enter > 0), enter, np.inf)
    depth = np.minimum(table, box)
    rgb = np.zeros((*depth.shape, 3), np.uint8)
    rgb[np.isfinite(table)] = TABLE_COLOUR
    rgb[box < table] = BOX_COLOUR
    return np.where(np.isfinite(depth), depth, np.nan).astype(np.float32), rgb


def posed(**changes: float) -> dict[str, float]:
    """The ready posture with some joints changed (``panda_joint1=0.3``)."""
    return {**PANDA_READY, **changes}
