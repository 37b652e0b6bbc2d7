"""A process that publishes what a robot publishes: well under ``/good``, badly under ``/bad``."""

from typing import Any

import rclpy
from geometry_msgs.msg import Transform, TransformStamped, Vector3
from rclpy.node import Node
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CameraInfo, Image, JointState
from std_msgs.msg import Header, String
from tf2_msgs.msg import TFMessage

from fourd_ros.bridge.qos import LATCHED, SENSOR, static_transform_qos, transform_qos

URDF = """<robot name="stick"><link name="base"/><link name="tip"/>
<joint name="turn" type="revolute"><parent link="base"/><child link="tip"/><axis xyz="0 0 1"/>
<limit lower="-1" upper="1" velocity="1" effort="1"/></joint></robot>"""


def _info(frame: str) -> CameraInfo:
    k = [50.0, 0, 32, 0, 50, 24, 0, 0, 1]
    return CameraInfo(header=Header(frame_id=frame), width=64, height=48, k=k, distortion_model="plumb_bob")


def _transform(parent: str, child: str) -> TFMessage:
    pose = Transform(translation=Vector3(z=1.0))
    return TFMessage(
        transforms=[TransformStamped(header=Header(frame_id=parent), child_frame_id=child, transform=pose)]
    )


def main() -> None:
    rclpy.init()
    node = Node("live_robot")
    topics: list[tuple[Any, str, Any]] = [
        (Image(), "/good/front/image", SENSOR),
        (_info("front_optical"), "/good/front/camera_info", SENSOR),
        (Image(), "/good/front/depth", SENSOR),
        (JointState(name=["turn"], position=[0.0]), "/good/joint_states", 10),
        (Image(), "/bad/cam/color/image_raw", SENSOR),
        (Image(), "/bad/front/depth", SENSOR),
        (String(), "/bad/joint_states", 10),
        (_info("nowhere"), "/bad/front/camera_info", 10),
        (_transform("base", "tip"), "/tf", transform_qos()),
    ]
    publishers = [(node.create_publisher(type(message), topic, qos), message) for message, topic, qos in topics]
    kept = []
    for message, topic, qos in (
        (String(data=URDF), "/good/robot_description", LATCHED),
        (String(data="<robot"), "/bad/robot_description", LATCHED),
        (_transform("base", "front_optical"), "/tf_static", static_transform_qos()),
    ):
        kept.append(node.create_publisher(type(message), topic, qos))
        kept[-1].publish(message)
    clocks = [Node(name).create_publisher(Clock, "/clock", 1) for name in ("one_clock", "other_clock")]

    def publish() -> None:
        for publisher, message in publishers:
            publisher.publish(message)

    node.create_timer(0.05, publish)
    print("ready", len(kept) + len(clocks), flush=True)
    rclpy.spin(node)


if __name__ == "__main__":
    main()
