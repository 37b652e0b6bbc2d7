"""Small bags for the tests of bags, player and recorder."""

from pathlib import Path
from typing import Any

import numpy as np

from fourd_ros.data.bags import BagWriter
from fourd_ros.data.message_types import MessageTypes

NS = 1_000_000_000
START_NS = 1_700_000_000 * NS
IMAGE = "sensor_msgs/msg/Image"
STRING = "std_msgs/msg/String"
JOINT_STATE = "sensor_msgs/msg/JointState"
TF = "tf2_msgs/msg/TFMessage"


def make_header(types: MessageTypes, stamp_ns: int, frame: str) -> Any:
    sec, nanosec = divmod(stamp_ns, NS)
    stamp = types["builtin_interfaces/msg/Time"](sec=sec, nanosec=nanosec)
    return types["std_msgs/msg/Header"](stamp=stamp, frame_id=frame)


def make_image(types: MessageTypes, stamp_ns: int, size: int, value: int) -> Any:
    return types[IMAGE](
        header=make_header(types, stamp_ns, "front_optical_frame"),
        height=size,
        width=size,
        encoding="rgb8",
        is_bigendian=0,
        step=3 * size,
        data=np.full(3 * size * size, value % 256, np.uint8),
    )


def make_joints(types: MessageTypes, stamp_ns: int, position: float) -> Any:
    return types[JOINT_STATE](
        header=make_header(types, stamp_ns, ""),
        name=["joint"],
        position=np.array([position]),
        velocity=np.zeros(0),
        effort=np.zeros(0),
    )


def make_transforms(types: MessageTypes, stamp_ns: int, child: str) -> Any:
    transform = types["geometry_msgs/msg/Transform"](
        translation=types["geometry_msgs/msg/Vector3"](x=1.0, y=0.0, z=0.0),
        rotation=types["geometry_msgs/msg/Quaternion"](x=0.0, y=0.0, z=0.0, w=1.0),
    )
    stamped = types["geometry_msgs/msg/TransformStamped"](
        header=make_header(types, stamp_ns, "base"), child_frame_id=child, transform=transform
    )
    return types[TF](transforms=[stamped])


def write_small_bag(
    path: Path, *, images: int = 20, period: float = 0.05, size: int = 16, compression: Any = "zstd"
) -> Path:
    """`images` images and joint states a `period` apart; description and static transforms at the beginning."""
    with BagWriter(path, compression=compression) as bag:
        types = bag.types
        bag.write("/robot_description", STRING, types[STRING](data="<robot name='r'/>"), START_NS)
        for child in ("camera", "tool"):
            bag.write("/tf_static", TF, make_transforms(types, START_NS, child), START_NS)
        for index in range(images):
            stamp_ns = START_NS + round(index * period * NS)
            bag.write("/joint_states", JOINT_STATE, make_joints(types, stamp_ns, 0.1 * index), stamp_ns)
            bag.write("/front/image", IMAGE, make_image(types, stamp_ns, size, index), stamp_ns)
    return path
