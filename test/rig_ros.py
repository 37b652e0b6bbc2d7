"""The rig on ROS topics: what a robot with two cameras publishes."""

from typing import Any

from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile
from rig import Rig
from sensor_msgs.msg import CameraInfo, Image, JointState
from std_msgs.msg import String
from tf2_msgs.msg import TFMessage

from fourd_ros.bridge.cameras import camera_to_info
from fourd_ros.bridge.images import array_to_image
from fourd_ros.bridge.joints import make_joint_state
from fourd_ros.bridge.tf import make_transform
from fourd_ros.bridge.times import make_header
from fourd_ros.geometry.transforms import invert
from fourd_ros.robot.panda import panda_description

LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)


class RigPublisher:
    """Publishes one instant at a time; every message can be changed before it leaves.

    Args:
        node: whose publishers these are.
        rig: the scene.
        cameras: ``front``, ``wrist`` or both.
    """

    def __init__(self, node: Node, rig: Rig, *, cameras: tuple[str, ...] = ("front", "wrist")) -> None:
        self.node, self.rig, self.cameras = node, rig, cameras
        self.images = {
            f"{camera}/{kind}": node.create_publisher(Image, f"{camera}/{kind}", 5)
            for camera in cameras
            for kind in ("image", "depth")
        }
        self.infos = {c: node.create_publisher(CameraInfo, f"{c}/camera_info", 5) for c in cameras}
        self.joints = node.create_publisher(JointState, "joint_states", 50)
        self.transforms = node.create_publisher(TFMessage, "/tf", 100)
        self.description = node.create_publisher(String, "robot_description", LATCHED)
        self.description.publish(String(data=panda_description().text))

    def messages(self, stamp_ns: int) -> dict[str, Any]:
        """Everything of one instant by topic."""
        out: dict[str, Any] = {"/tf": self.transform_message(stamp_ns), "joint_states": self.joint_message(stamp_ns)}
        for camera in self.cameras:
            view = self.rig.view(camera)
            header = make_header(stamp_ns, f"{camera}_optical_frame")
            out[f"{camera}/camera_info"] = camera_to_info(view.camera, header)
            out[f"{camera}/image"] = array_to_image(view.rgb, "rgb8", header)
            out[f"{camera}/depth"] = array_to_image(view.points[..., 2], "32FC1", header)
        return out

    def joint_message(self, stamp_ns: int) -> JointState:
        """``joint_states`` of the rig's posture."""
        assert self.rig.joints is not None
        return make_joint_state(make_header(stamp_ns, ""), list(self.rig.joints), list(self.rig.joints.values()))

    def transform_message(self, stamp_ns: int) -> TFMessage:
        """All links below the root, and the cameras where they are mounted."""
        root = self.rig.robot.kinematics.root
        transforms = [
            make_transform(root, link, stamp_ns, pose) for link, pose in self.rig.link_poses.items() if link != root
        ]
        for camera in self.cameras:
            mount = self.rig.mount(camera) or root
            pose = invert(self.rig.link_poses[mount]) @ self.rig.camera_pose(camera)
            transforms.append(make_transform(mount, f"{camera}_optical_frame", stamp_ns, pose))
        return TFMessage(transforms=transforms)

    def publish(self, stamp_ns: int, **changed: Any) -> None:
        """Send one instant; `changed` maps topics (``/`` written as ``__``) to other messages, None for none."""
        changes = {topic.replace("__", "/"): message for topic, message in changed.items()}
        for topic, message in {**self.messages(stamp_ns), **changes}.items():
            if message is not None:
                self.publisher(topic).publish(message)

    def publisher(self, topic: str) -> Any:
        """The publisher of a topic of :meth:`messages`."""
        if topic.endswith("/camera_info"):
            return self.infos[topic.split("/")[0]]
        return {"/tf": self.transforms, "joint_states": self.joints, **self.images}[topic]
