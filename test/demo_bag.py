"""A short bag of the rig: the arm swings as commanded, two cameras watch."""

from pathlib import Path

import numpy as np
from rclpy.node import Node
from rclpy.serialization import serialize_message
from rig import Rig, posed
from rig_ros import RigPublisher
from std_msgs.msg import Header, String

from fourd_ros.bridge.times import ns_to_stamp
from fourd_ros.bridge.trajectories import trajectory_to_message
from fourd_ros.data.bags import BagWriter
from fourd_ros.records import RobotTrajectory
from fourd_ros.robot.panda import panda_description

START_NS = 1_700_000_000_000_000_000
PERIOD = 0.1
COMMAND = "/arm_controller/joint_trajectory"
TYPES = {
    "image": "sensor_msgs/msg/Image",
    "depth": "sensor_msgs/msg/Image",
    "camera_info": "sensor_msgs/msg/CameraInfo",
    "joint_states": "sensor_msgs/msg/JointState",
    "tf": "tf2_msgs/msg/TFMessage",
}


def write_swinging_bag(path: Path, node: Node, *, seconds: float, size: int = 64) -> Path:
    """Write the bag; `node` lends its name to the publishers of the messages."""
    times = np.arange(0.0, seconds + PERIOD / 2, PERIOD)
    names = ("panda_joint1", "panda_joint4", "panda_finger_joint1")
    swing = np.stack([0.6 * np.sin(times), -2.356 + 0.3 * np.sin(1.5 * times), np.full(len(times), 0.04)], axis=1)
    command = RobotTrajectory(joint_names=names, times=times, positions=swing)
    header = Header(stamp=ns_to_stamp(START_NS))
    with BagWriter(path) as bag:
        description = String(data=panda_description().text)
        bag.write_raw(
            "/robot_description", "std_msgs/msg/String", serialize_message(description), START_NS, latched=True
        )
        bag.write_raw(
            COMMAND,
            "trajectory_msgs/msg/JointTrajectory",
            serialize_message(trajectory_to_message(command, header)),
            START_NS,
        )
        rig = Rig(size=size)
        publisher = RigPublisher(node, rig)
        for time, positions in zip(times, swing, strict=True):
            stamp_ns = START_NS + round(float(time) * 1e9)
            rig.joints = posed(**dict(zip(names, positions.tolist(), strict=True)))
            for topic, message in publisher.messages(stamp_ns).items():
                kind = TYPES[topic.rsplit("/", 1)[-1]]
                bag.write_raw(f"/{topic.lstrip('/')}", kind, serialize_message(message), stamp_ns)
    return path
