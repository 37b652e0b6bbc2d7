"""What passes between rooms: frozen records of NumPy arrays, checked where they are made.

Conventions: SI units; camera frames are ROS optical frames (x right, y down, z forward);
``T_parent_child`` maps points of ``child`` into ``parent``; *world* is the fixed frame of the
observation (by default the robot's root link). A pointmap holds camera-frame points, one a pixel:
its z channel is the depth image, and ``T_world_camera`` of the same frame lifts it into the world.
Unknown is NaN, never 0. Absolute stamps are integer nanoseconds (floats cannot hold them);
durations are float seconds.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntFlag

import numpy as np
from numpy.typing import NDArray

from fourd_ros.errors import InvalidCamera, InvalidImage, InvalidJoints, InvalidTrajectory
from fourd_ros.geometry.camera import PinholeCamera

__all__ = [
    "ObjectMotion",
    "Observation",
    "PinholeCamera",
    "RobotRendering",
    "RobotTrajectory",
    "Rollout",
    "RolloutFlags",
    "RolloutView",
    "View",
]

FloatArray = NDArray[np.float64]
Points = NDArray[np.float32]
Pixels = NDArray[np.uint8]
Mask = NDArray[np.bool_]


def _check_shape(name: str, array: NDArray[np.generic], expected: tuple[int, ...], error: type[Exception]) -> None:
    if array.shape != expected:
        raise error(f"{name} has shape {list(array.shape)}, needed {list(expected)}")


@dataclass(frozen=True, kw_only=True)
class View:
    """What one camera saw at one instant.

    Args:
        camera: calibration of both images.
        T_world_camera: camera pose, shape [4, 4].
        rgb: colour, shape [H, W, 3], uint8.
        points: camera-frame pointmap [m], shape [H, W, 3], float32, NaN where unknown.
        mounted_on: the robot link that carries the camera, empty for a camera that stands still.
    """

    camera: PinholeCamera
    T_world_camera: FloatArray
    rgb: Pixels
    points: Points
    mounted_on: str = ""

    def __post_init__(self) -> None:
        size = (self.camera.height, self.camera.width, 3)
        _check_shape("rgb", self.rgb, size, InvalidImage)
        _check_shape("points", self.points, size, InvalidImage)
        _check_shape("T_world_camera", self.T_world_camera, (4, 4), InvalidCamera)


@dataclass(frozen=True, kw_only=True)
class Observation:
    """Everything a world model is told about now.

    Args:
        stamp_ns: acquisition time [ns], of the source clock.
        frame: name of the world frame.
        views: what each named camera saw.
        joint_positions: measured positions by joint name [rad | m].
        T_world_robot: pose of the robot's root link, shape [4, 4].
    """

    stamp_ns: int
    frame: str
    views: Mapping[str, View]
    joint_positions: Mapping[str, float]
    T_world_robot: FloatArray = field(default_factory=lambda: np.eye(4))


@dataclass(frozen=True, kw_only=True)
class RobotTrajectory:
    """A *commanded* motion; every condition is rendered from it, in training as at run time.

    Args:
        joint_names: J distinct names.
        times: seconds from the start, strictly increasing, not negative, shape [T].
        positions: commanded positions [rad | m], finite, shape [T, J].

    Raises:
        InvalidTrajectory: empty, wrong shape, or times that do not increase.
        InvalidJoints: duplicate names or positions that are not finite.
    """

    joint_names: tuple[str, ...]
    times: FloatArray
    positions: FloatArray

    def __post_init__(self) -> None:
        if len(self.times) == 0 or not self.joint_names:
            raise InvalidTrajectory("the trajectory is empty; at least one point and one joint are needed")
        _check_shape("positions", self.positions, (len(self.times), len(self.joint_names)), InvalidTrajectory)
        if len(set(self.joint_names)) != len(self.joint_names):
            raise InvalidJoints(f"duplicate joint names in {list(self.joint_names)}")
        finite: Mask = np.isfinite(self.positions)
        if not finite.all():
            bad = [name for name, column in zip(self.joint_names, finite.T, strict=True) if not column.all()]
            raise InvalidJoints(f"positions of {bad} are not finite")
        if not np.isfinite(self.times).all() or self.times[0] < 0 or (np.diff(self.times) <= 0).any():
            raise InvalidTrajectory("times must be finite, not negative and strictly increasing")

    def at(self, times: FloatArray) -> FloatArray:
        """Positions at `times` [s], linear between points and held beyond the ends, shape [len(times), J]."""
        return np.stack([np.interp(times, self.times, column) for column in self.positions.T], axis=1)


@dataclass(frozen=True, kw_only=True)
class RobotRendering:
    """What the kinematics alone predicts for one camera.

    Args:
        rgb: colour, black where there is no robot, shape [T, H, W, 3], uint8.
        points: camera-frame pointmap [m], NaN where there is no robot, shape [T, H, W, 3], float32.
        mask: True on the robot, shape [T, H, W].
    """

    rgb: Pixels
    points: Points
    mask: Mask


class RolloutFlags(IntFlag):
    """Caveats of a rollout; the values are those of ``fourd_msgs/Rollout``."""

    NONE = 0
    OUTSIDE_WORKSPACE = 1
    CAMERA_UNSEEN = 2
    TRUNCATED = 4


@dataclass(frozen=True, kw_only=True)
class RolloutView:
    """The imagined video of one camera.

    Args:
        camera: calibration of every frame.
        T_world_camera: camera pose of every frame, shape [T, 4, 4] (a wrist camera moves).
        rgb: colour, shape [T, H, W, 3], uint8.
        points: pointmap in the camera frame of its own frame [m], shape [T, H, W, 3], float32, NaN unknown.
        sigma: spread of the points over samples [m], shape [T, H, W], float32, NaN unknown.
        robot_mask: True on the robot, shape [T, H, W].
        observed_mask: False where the camera could not have seen, shape [T, H, W].
        mounted_on: the robot link that carries the camera, empty for a camera that stands still.
        labels: what the points off the robot belong to (0 unknown, 1 static, 16 and more: an object), shape
            [T, H, W]; None if the model does not tell.
    """

    camera: PinholeCamera
    T_world_camera: FloatArray
    rgb: Pixels
    points: Points
    sigma: Points
    robot_mask: Mask
    observed_mask: Mask
    mounted_on: str = ""
    labels: NDArray[np.uint32] | None = None

    def __post_init__(self) -> None:
        steps = len(self.rgb)
        size = (steps, self.camera.height, self.camera.width)
        _check_shape("T_world_camera", self.T_world_camera, (steps, 4, 4), InvalidCamera)
        for name, shape in (("rgb", (*size, 3)), ("points", (*size, 3)), ("sigma", size)):
            _check_shape(name, getattr(self, name), shape, InvalidImage)
        for name in ("robot_mask", "observed_mask"):
            _check_shape(name, getattr(self, name), size, InvalidImage)
        if self.labels is not None:
            _check_shape("labels", self.labels, size, InvalidImage)


@dataclass(frozen=True, kw_only=True)
class ObjectMotion:
    """How one thing moves as a rigid body, by the model.

    Args:
        label: of its pixels in ``RolloutView.labels``, 16 or more.
        pixels: True where it was observed, by view, shape [H, W].
        motion: from where its points were observed to where they are at each time, in the world, shape [T, 4, 4].
        sigma: standard deviation of the predicted place of its points [m], shape [T].
    """

    label: int
    pixels: Mapping[str, Mask]
    motion: FloatArray
    sigma: FloatArray


@dataclass(frozen=True, kw_only=True)
class Rollout:
    """One imagined future of one candidate.

    Args:
        stamp_ns: stamp of the observation it starts from [ns].
        frame: name of the world frame.
        times: seconds from the observation, shape [T].
        views: the imagined video of every camera asked for.
        joints: predicted joint motion at `times`.
        candidate: index of the trajectory in the question.
        sample: index of the sample of that candidate.
        backend: registry name of the model.
        model_sha256: hash of its weights, empty where there are none.
        seed: seed of this sample.
        trust: 0 (none) to 1; NaN unknown.
        flags: caveats.
        compute_time: wall time spent on it [s].
        objects: what moves besides the robot; what is in none of them stays.
        T_world_robot: pose of the robot's root link, shape [4, 4].
        preview: the model is still at work on this sample; the whole one comes later.
    """

    stamp_ns: int
    frame: str
    times: FloatArray
    views: Mapping[str, RolloutView]
    joints: RobotTrajectory
    candidate: int
    sample: int
    backend: str
    seed: int
    model_sha256: str = ""
    trust: float = float("nan")
    flags: RolloutFlags = field(default=RolloutFlags.NONE)
    compute_time: float = 0.0
    objects: tuple[ObjectMotion, ...] = ()
    T_world_robot: FloatArray = field(default_factory=lambda: np.eye(4))
    preview: bool = False
