"""Where every object of a simulation truly is."""

from collections.abc import Sequence
from typing import Any

from fourd_msgs.msg import SceneObject, SceneObjectArray
from geometry_msgs.msg import Point, Quaternion, Vector3

from fourd_ros.bridge.qos import RESULT
from fourd_ros.bridge.times import make_header
from fourd_ros.data.episode_bag import OBJECTS_TOPIC
from fourd_ros.geometry.transforms import to_quaternion
from fourd_ros.nodes.base import FourdNode
from fourd_ros.simulation.model import ROBOT_ROOT
from fourd_ros.simulation.recording import describe_objects
from fourd_ros.simulation.simulator import Simulator


class TrueObjects:
    """Publisher of the ground truth.

    Args:
        node: made in its ``start``.
    """

    def __init__(self, node: FourdNode) -> None:
        self._objects = node.advertise(SceneObjectArray, OBJECTS_TOPIC, RESULT)

    def publish(self, simulator: Simulator, stamp_ns: int) -> None:
        """Where everything is now, as far as somebody listens."""
        if self._objects.get_subscription_count():
            header = make_header(stamp_ns, ROBOT_ROOT)
            labels, sizes = describe_objects(simulator.spec)
            things = zip(simulator.object_poses().items(), labels, sizes, strict=True)
            objects = [_scene_object(header, name, pose, label, size) for (name, pose), label, size in things]
            self._objects.publish(SceneObjectArray(header=header, objects=objects))


def _scene_object(header: Any, name: str, pose: Any, label: str, size: Sequence[float]) -> Any:
    (x, y, z), (qx, qy, qz, qw) = (part.tolist() for part in to_quaternion(pose))
    thing = SceneObject(header=header, id=name, labels=[label], scores=[1.0], confidence=1.0, last_seen=header.stamp)
    thing.pose.pose.position = Point(x=x, y=y, z=z)
    thing.pose.pose.orientation = Quaternion(x=qx, y=qy, z=qz, w=qw)
    thing.size = Vector3(**dict(zip("xyz", map(float, size), strict=True)))
    return thing
