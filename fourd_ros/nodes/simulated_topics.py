"""What a simulated robot publishes: cameras, joints, TF, its description and the clock."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from fourd_msgs.msg import SceneObject, SceneObjectArray
from geometry_msgs.msg import Point, Quaternion, Vector3
from rclpy.publisher import Publisher
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CameraInfo, Image, JointState
from std_msgs.msg import String
from tf2_msgs.msg import TFMessage

from fourd_ros.bridge.cameras import camera_to_info
from fourd_ros.bridge.images import array_to_image
from fourd_ros.bridge.qos import LATCHED, RESULT, static_transform_qos, transform_qos
from fourd_ros.bridge.tf import make_transform
from fourd_ros.bridge.times import make_header, ns_to_stamp
from fourd_ros.data.episode_bag import OBJECTS_TOPIC
from fourd_ros.geometry.transforms import invert, to_quaternion
from fourd_ros.nodes.base import FourdNode
from fourd_ros.nodes.instants import Instant
from fourd_ros.robot.description import FIXED, Joint, RobotDescription
from fourd_ros.robot.kinematics import Kinematics
from fourd_ros.simulation.recording import describe_objects
from fourd_ros.simulation.simulator import Simulator

CLOCK_TOPIC = "/clock"


class SimulatedTopics:
    """Publishers of one simulated robot; every message of a tick carries the tick's stamp.

    Args:
        node: made in its ``start``.
        description: of the robot.
        kinematics: of the robot.
        cameras: names of the views.
    """

    def __init__(
        self, node: FourdNode, *, description: RobotDescription, kinematics: Kinematics, cameras: Sequence[str]
    ) -> None:
        self._description, self._kinematics = description, kinematics
        self._clock = node.advertise(Clock, CLOCK_TOPIC, RESULT)
        self._joints = node.advertise(JointState, "joint_states", RESULT)
        self._transforms = node.advertise(TFMessage, "/tf", transform_qos())
        self._static_transforms = node.advertise(TFMessage, "/tf_static", static_transform_qos())
        self._objects = node.advertise(SceneObjectArray, OBJECTS_TOPIC, RESULT)
        self._cameras = {camera: _CameraTopics(node, camera) for camera in cameras}
        node.advertise(String, "robot_description", LATCHED).publish(String(data=description.text))

    def publish_still(self, simulator: Simulator, stamp_ns: int) -> None:
        """The transforms that do not change until the next reset: fixed joints and camera mounts."""
        transforms = [
            make_transform(joint.parent, joint.child, stamp_ns, joint.T_parent_joint)
            for joint in self._description.joints
            if joint.kind == FIXED
        ]
        for camera in self._cameras:
            spec = simulator.camera_spec(camera)
            mount = spec.mounted_on or self._kinematics.root
            transforms.append(make_transform(mount, optical_frame(camera), stamp_ns, spec.pose))
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
                velocity=[instant.velocities[name] for name in names],
                effort=[instant.efforts[name] for name in names],
            )
        )
        self._transforms.publish(TFMessage(transforms=self._link_transforms(instant)))

    def publish_views(self, simulator: Simulator, stamp_ns: int) -> None:
        """What every camera sees now, as far as somebody listens."""
        for name, topics in self._cameras.items():
            topics.publish(simulator, name, stamp_ns)

    def publish_objects(self, simulator: Simulator, stamp_ns: int) -> None:
        """Where every object truly is, as far as somebody listens."""
        if self._objects.get_subscription_count():
            header = make_header(stamp_ns, self._kinematics.root)
            labels, sizes = describe_objects(simulator.spec)
            things = zip(simulator.object_poses().items(), labels, sizes, strict=True)
            objects = [_scene_object(header, name, pose, label, size) for (name, pose), label, size in things]
            self._objects.publish(SceneObjectArray(header=header, objects=objects))

    def _link_transforms(self, instant: Instant) -> list[Any]:
        poses = self._kinematics.link_poses(self._kinematics.positions_from(instant.positions))
        return [
            make_transform(joint.parent, joint.child, instant.stamp_ns, _relative(poses, joint))
            for joint in self._description.joints
            if joint.kind != FIXED
        ]


class _CameraTopics:
    def __init__(self, node: FourdNode, name: str) -> None:
        self._image: Publisher[Any] = node.advertise(Image, f"{name}/image", RESULT)
        self._depth: Publisher[Any] = node.advertise(Image, f"{name}/depth", RESULT)
        self._info: Publisher[Any] = node.advertise(CameraInfo, f"{name}/camera_info", RESULT)

    def publish(self, simulator: Simulator, name: str, stamp_ns: int) -> None:
        header = make_header(stamp_ns, optical_frame(name))
        self._info.publish(camera_to_info(simulator.camera(name), header))
        if self._image.get_subscription_count() or self._depth.get_subscription_count():
            picture = simulator.render(name)
            self._image.publish(array_to_image(picture.rgb, "rgb8", header))
            self._depth.publish(array_to_image(picture.depth, "32FC1", header))


def optical_frame(camera: str) -> str:
    """TF frame of a camera's images."""
    return f"{camera}_optical_frame"


def _scene_object(header: Any, name: str, pose: Any, label: str, size: Sequence[float]) -> Any:
    (x, y, z), (qx, qy, qz, qw) = (part.tolist() for part in to_quaternion(pose))
    thing = SceneObject(header=header, id=name, labels=[label], scores=[1.0], confidence=1.0, last_seen=header.stamp)
    thing.pose.pose.position = Point(x=x, y=y, z=z)
    thing.pose.pose.orientation = Quaternion(x=qx, y=qy, z=qz, w=qw)
    thing.size = Vector3(**dict(zip("xyz", map(float, size), strict=True)))
    return thing


def _relative(poses: Mapping[str, Any], joint: Joint) -> Any:
    return np.asarray(invert(poses[joint.parent]) @ poses[joint.child])
