"""What a robot publishes: cameras, joints, TF, its description and the clock."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from rclpy.publisher import Publisher
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CameraInfo, Image, JointState
from std_msgs.msg import String
from tf2_msgs.msg import TFMessage

from fourd_ros.bridge.cameras import camera_to_info
from fourd_ros.bridge.clock import CLOCK_TOPIC
from fourd_ros.bridge.images import array_to_image
from fourd_ros.bridge.qos import LATCHED, RESULT, static_transform_qos, transform_qos
from fourd_ros.bridge.tf import make_transform
from fourd_ros.bridge.times import make_header, ns_to_stamp
from fourd_ros.geometry.transforms import invert
from fourd_ros.nodes.base import FourdNode
from fourd_ros.nodes.instants import Instant
from fourd_ros.records import FloatArray, Observation, PinholeCamera, Pixels, Points, View
from fourd_ros.robot.description import FIXED, Joint, RobotDescription
from fourd_ros.robot.kinematics import Kinematics
from fourd_ros.robot.model import RobotModel


@dataclass(frozen=True, kw_only=True)
class MountedCamera:
    """Where a camera is.

    Args:
        camera: its calibration.
        T_mount_camera: optical frame in its mount, shape [4, 4].
        mounted_on: the link that carries it, empty for the robot's root.
    """

    camera: PinholeCamera
    T_mount_camera: FloatArray
    mounted_on: str = ""


@dataclass(frozen=True, kw_only=True)
class Picture:
    """What a camera sees.

    Args:
        rgb: colour, shape [H, W, 3], uint8.
        depth: along the optical axis [m], NaN where unknown, shape [H, W], float32.
    """

    rgb: Pixels
    depth: Points


class RobotTopics:
    """Publishers of one robot; every message of a tick carries the tick's stamp.

    Args:
        node: made while it is active.
        description: of the robot.
        kinematics: of the robot.
    """

    def __init__(self, node: FourdNode, *, description: RobotDescription, kinematics: Kinematics) -> None:
        self._node, self._description, self._kinematics = node, description, kinematics
        self._clock = node.advertise(Clock, CLOCK_TOPIC, RESULT)
        self._joints = node.advertise(JointState, "joint_states", RESULT)
        self._transforms = node.advertise(TFMessage, "/tf", transform_qos())
        self._static_transforms = node.advertise(TFMessage, "/tf_static", static_transform_qos())
        self._topics: dict[str, _CameraTopics] = {}
        self._cameras: Mapping[str, MountedCamera] = {}
        node.advertise(String, "robot_description", LATCHED).publish(String(data=description.text))

    def advertise_cameras(self, names: Iterable[str]) -> None:
        """Topics of cameras, before anything is published there; of those that have some already nothing changes."""
        self._topics |= {name: _CameraTopics(self._node, name) for name in names if name not in self._topics}

    def publish_still(self, cameras: Mapping[str, MountedCamera], stamp_ns: int) -> None:
        """What does not change until the next reset: fixed joints, and the cameras of which there are pictures."""
        self._cameras = cameras
        self.advertise_cameras(cameras)
        transforms = [
            make_transform(joint.parent, joint.child, stamp_ns, joint.T_parent_joint)
            for joint in self._description.joints
            if joint.kind == FIXED
        ]
        for name, camera in cameras.items():
            mount = camera.mounted_on or self._kinematics.root
            transforms.append(make_transform(mount, optical_frame(name), stamp_ns, camera.T_mount_camera))
        self._static_transforms.publish(TFMessage(transforms=transforms))

    def publish_state(self, instant: Instant) -> None:
        """Clock, joints and TF."""
        self._clock.publish(Clock(clock=ns_to_stamp(instant.stamp_ns)))
        names = self._kinematics.joint_names
        self._joints.publish(
            JointState(
                header=make_header(instant.stamp_ns, ""),
                name=list(names),
                position=[instant.positions[name] for name in names],
                velocity=[instant.velocities[name] for name in names if name in instant.velocities],
                effort=[instant.efforts[name] for name in names if name in instant.efforts],
            )
        )
        self._transforms.publish(TFMessage(transforms=self._link_transforms(instant)))

    def publish_views(self, look: Callable[[str], Picture], stamp_ns: int) -> None:
        """What every camera sees now, as far as somebody listens."""
        for name, mounted in self._cameras.items():
            self._topics[name].publish(mounted.camera, partial(look, name), stamp_ns)

    def _link_transforms(self, instant: Instant) -> list[Any]:
        poses = self._kinematics.link_poses(self._kinematics.positions_from(instant.positions))
        return [
            make_transform(joint.parent, joint.child, instant.stamp_ns, _relative(poses, joint))
            for joint in self._description.joints
            if joint.kind != FIXED
        ]


class _CameraTopics:
    def __init__(self, node: FourdNode, name: str) -> None:
        self._frame = optical_frame(name)
        self._image: Publisher[Any] = node.advertise(Image, f"{name}/image", RESULT)
        self._depth: Publisher[Any] = node.advertise(Image, f"{name}/depth", RESULT)
        self._info: Publisher[Any] = node.advertise(CameraInfo, f"{name}/camera_info", RESULT)

    def publish(self, camera: PinholeCamera, look: Callable[[], Picture], stamp_ns: int) -> None:
        header = make_header(stamp_ns, self._frame)
        self._info.publish(camera_to_info(camera, header))
        if self._image.get_subscription_count() or self._depth.get_subscription_count():
            picture = look()
            self._image.publish(array_to_image(picture.rgb, "rgb8", header))
            self._depth.publish(array_to_image(picture.depth, "32FC1", header))


def optical_frame(camera: str) -> str:
    """TF frame of a camera's images."""
    return f"{camera}_optical_frame"


def mounted_cameras(robot: RobotModel, observation: Observation) -> dict[str, MountedCamera]:
    """Where the cameras of an observation are, by name."""
    poses = robot.kinematics.link_poses(robot.kinematics.positions_from(observation.joint_positions))
    return {
        name: MountedCamera(
            camera=view.camera, T_mount_camera=_in_mount(view, observation, poses), mounted_on=view.mounted_on
        )
        for name, view in observation.views.items()
    }


def _in_mount(view: View, observation: Observation, link_poses: Mapping[str, FloatArray]) -> FloatArray:
    T_root_camera = invert(observation.T_world_robot) @ view.T_world_camera
    return np.asarray(invert(link_poses[view.mounted_on]) @ T_root_camera if view.mounted_on else T_root_camera)


def _relative(poses: Mapping[str, Any], joint: Joint) -> Any:
    return np.asarray(invert(poses[joint.parent]) @ poses[joint.child])
