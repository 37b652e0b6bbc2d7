"""Objects and camera poses of a reconstructed scene -> ROS messages."""

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fourd_ros.bridge.clouds import FIRST_OBJECT_LABEL, make_cloud
from fourd_ros.bridge.tf import make_transform
from fourd_ros.bridge.times import make_header, ns_to_stamp
from fourd_ros.geometry.transforms import to_quaternion

__all__ = [
    "object_id",
    "objects_cloud",
    "odometry_message",
    "pose_message",
    "scene_object",
    "scene_objects",
    "transform_message",
]

FloatArray = NDArray[np.float64]


def object_id(number: int) -> str:
    """``SceneObject.id`` of a numbered object."""
    return f"object_{number}"


def scene_object(
    header: Any,
    *,
    number: int,
    name: str,
    T_frame_object: FloatArray,
    covariance: FloatArray,
    linear: FloatArray,
    angular: FloatArray,
    size: FloatArray,
    dynamic: bool,
    confidence: float,
    last_seen_ns: int,
) -> Any:
    """``fourd_msgs/SceneObject`` without points.

    Args:
        header: stamp of the frame, and the frame of everything.
        number: of the object.
        name: its only label.
        T_frame_object: pose, shape [4, 4].
        covariance: of its move and turn in the axes of the frame [m^2, rad^2], shape [6, 6].
        linear: velocity in the axes of the frame [m/s], shape [3].
        angular: how it turns [rad/s], shape [3].
        size: extent along its axes [m], shape [3].
        dynamic: it moves, or did a moment ago.
        confidence: 0 to 1.
        last_seen_ns: when it was seen last [ns].
    """
    from fourd_msgs.msg import SceneObject
    from geometry_msgs.msg import Vector3

    thing = SceneObject(
        header=header,
        id=object_id(number),
        labels=[name],
        scores=[confidence],
        dynamic=dynamic,
        confidence=confidence,
        last_seen=ns_to_stamp(last_seen_ns),
    )
    thing.pose.pose = pose_message(T_frame_object)
    thing.pose.covariance = covariance.ravel()
    thing.twist.twist = _twist(linear, angular)
    thing.size = Vector3(**dict(zip("xyz", size.tolist(), strict=True)))
    return thing


def scene_objects(header: Any, objects: Iterable[Any]) -> Any:
    """``fourd_msgs/SceneObjectArray`` of objects of one instant."""
    from fourd_msgs.msg import SceneObjectArray

    return SceneObjectArray(header=header, objects=list(objects))


def objects_cloud(
    header: Any, clouds: Iterable[tuple[int, NDArray[np.float32], NDArray[np.uint8]]], *, max_points: int
) -> Any:
    """``PointCloud2`` of all objects, evenly thinned; ``label`` is 16 and the number of the object.

    Args:
        header: of it.
        clouds: number of an object, its points [n, 3] and their colours [n, 3].
        max_points: of the cloud.
    """
    numbers, points, colours = [np.zeros(0, np.uint32)], [np.zeros((0, 3), np.float32)], [np.zeros((0, 3), np.uint8)]
    for number, places, rgb in clouds:
        numbers.append(np.full(len(places), FIRST_OBJECT_LABEL + number, np.uint32))
        points.append(places)
        colours.append(rgb)
    label, place, rgb = np.concatenate(numbers), np.concatenate(points), np.concatenate(colours)
    step = max(1, -(-len(label) // max_points))
    return make_cloud(header, place[::step], rgb=rgb[::step], label=label[::step])


def odometry_message(
    stamp_ns: int,
    *,
    frame: str,
    child: str,
    T_frame_child: FloatArray,
    covariance: FloatArray,
    linear: FloatArray,
    angular: FloatArray,
) -> Any:
    """``nav_msgs/Odometry``.

    Args:
        stamp_ns: of the picture [ns].
        frame: in which the pose is given.
        child: frame of the camera, in which the twist is given.
        T_frame_child: pose, shape [4, 4].
        covariance: of its move and turn in the axes of the camera [m^2, rad^2], shape [6, 6]; turned into those of
            the frame, as the message has it.
        linear: velocity in the axes of the camera [m/s], shape [3].
        angular: how it turns [rad/s], shape [3].
    """
    from nav_msgs.msg import Odometry

    turn = np.kron(np.eye(2), T_frame_child[:3, :3])
    message = Odometry(header=make_header(stamp_ns, frame), child_frame_id=child)
    message.pose.pose = pose_message(T_frame_child)
    message.pose.covariance = (turn @ covariance @ turn.T).ravel()
    message.twist.twist = _twist(linear, angular)
    return message


def transform_message(stamp_ns: int, *, frame: str, child: str, T_frame_child: FloatArray) -> Any:
    """``tf2_msgs/TFMessage`` of one transform."""
    from tf2_msgs.msg import TFMessage

    return TFMessage(transforms=[make_transform(frame, child, stamp_ns, T_frame_child)])


def pose_message(T: FloatArray) -> Any:
    """``geometry_msgs/Pose`` of a transform [4, 4]."""
    from geometry_msgs.msg import Point, Pose, Quaternion

    (x, y, z), (qx, qy, qz, qw) = (part.tolist() for part in to_quaternion(T))
    return Pose(position=Point(x=x, y=y, z=z), orientation=Quaternion(x=qx, y=qy, z=qz, w=qw))


def _twist(linear: FloatArray, angular: FloatArray) -> Any:
    from geometry_msgs.msg import Twist, Vector3

    return Twist(
        linear=Vector3(**dict(zip("xyz", linear.tolist(), strict=True))),
        angular=Vector3(**dict(zip("xyz", angular.tolist(), strict=True))),
    )
