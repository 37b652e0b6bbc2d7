"""What a live reconstruction tells: camera path, TF, the static map, and the objects."""

import time
from dataclasses import dataclass

import cv2
import numpy as np
from fourd_msgs.msg import SceneObjectArray
from nav_msgs.msg import Odometry
from numpy.typing import NDArray
from sensor_msgs.msg import PointCloud2
from tf2_msgs.msg import TFMessage

from fourd_ros.bridge.clouds import POINT, STATIC_LABEL, make_cloud
from fourd_ros.bridge.qos import LATCHED, RESULT, transform_qos
from fourd_ros.bridge.scene_objects import (
    objects_cloud,
    odometry_message,
    scene_object,
    scene_objects,
    transform_message,
)
from fourd_ros.bridge.times import make_header
from fourd_ros.geometry.transforms import invert
from fourd_ros.nodes.base import FourdNode
from fourd_ros.nodes.map_anchor import MapAnchor
from fourd_ros.reconstruction.live.live_object import LiveObject
from fourd_ros.reconstruction.live.live_reconstruction import LiveFrame
from fourd_ros.reconstruction.mapping.voxel_map import MapPoints, VoxelMap

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class SceneTopicSettings:
    """What is told, and how much of it.

    Args:
        map_frame: name of the frame of everything.
        publish_tf: tell TF where the map is.
        transform_timeout: wait this long for the camera's place in its tree [s].
        map_period: least time between two clouds of the map [s].
        map_confidence: of a voxel in the cloud, at least.
        max_bytes: of one cloud; more points are left out evenly.
    """

    map_frame: str
    publish_tf: bool
    transform_timeout: float
    map_period: float
    map_confidence: float
    max_bytes: int

    @property
    def max_points(self) -> int:
        """Of one cloud."""
        return max(1, self.max_bytes // POINT.itemsize)


class SceneTopics:
    """Publishers of one reconstruction, from a node's ``start`` to its ``stop``.

    Args:
        node: that publishes.
        anchor: where the map is.
        settings: what is told.
    """

    def __init__(self, node: FourdNode, anchor: MapAnchor, settings: SceneTopicSettings) -> None:
        self._node, self._anchor, self._settings = node, anchor, settings
        self._odometry = node.advertise(Odometry, "~/odometry", RESULT)
        self._map = node.advertise(PointCloud2, "~/static_points", LATCHED)
        self._objects = node.advertise(SceneObjectArray, "~/objects", RESULT)
        self._clouds = node.advertise(PointCloud2, "~/objects/points", RESULT)
        self._transforms = node.advertise(TFMessage, "/tf", transform_qos()) if settings.publish_tf else None
        self._offer_map = node.worker("static_points").latest(self._publish_map)
        self._map_due = 0.0
        self.forget()

    def forget(self) -> None:
        """The path is broken: what comes next says nothing about velocities."""
        self._before: tuple[int, FloatArray] | None = None

    def publish(self, frame: LiveFrame, camera_frame: str, voxels: VoxelMap) -> None:
        """Everything about a frame.

        Args:
            frame: what it says.
            camera_frame: of the camera.
            voxels: the map.

        Raises:
            TransformUnavailable, InvalidTransform: TF has no place for the map; all else was published.
        """
        header = make_header(frame.stamp_ns, self._settings.map_frame)
        self._publish_odometry(frame, camera_frame)
        self._objects.publish(scene_objects(header, [_message(header, one) for one in frame.objects]))
        if self._clouds.get_subscription_count():
            clouds = [(one.number, one.points, one.rgb) for one in frame.objects]
            self._clouds.publish(objects_cloud(header, clouds, max_points=self._settings.max_points))
        self.offer_map(frame.stamp_ns, voxels)
        self._publish_transform(frame, camera_frame)

    def offer_map(self, stamp_ns: int, voxels: VoxelMap, *, now: bool = False) -> None:
        """The map, if the last one is some time ago or it is wanted at once."""
        if now or time.monotonic() >= self._map_due:
            self._map_due = time.monotonic() + self._settings.map_period
            self._offer_map((stamp_ns, voxels.points(min_confidence=self._settings.map_confidence)))

    def _publish_map(self, offered: tuple[int, MapPoints]) -> None:
        stamp_ns, points = offered
        step = max(1, -(-len(points.points) // self._settings.max_points))
        header = make_header(stamp_ns, self._settings.map_frame)
        self._map.publish(make_cloud(header, points.points[::step], rgb=points.rgb[::step], label=STATIC_LABEL))

    def _publish_odometry(self, frame: LiveFrame, camera_frame: str) -> None:
        linear, angular = self._velocity(frame)
        self._odometry.publish(
            odometry_message(
                frame.stamp_ns,
                frame=self._settings.map_frame,
                child=camera_frame,
                T_frame_child=frame.pose.T_world_camera,
                covariance=frame.pose.covariance,
                linear=linear,
                angular=angular,
            )
        )

    def _velocity(self, frame: LiveFrame) -> tuple[FloatArray, FloatArray]:
        """In the axes of the camera, since the frame before."""
        before, self._before = self._before, (frame.stamp_ns, frame.pose.T_world_camera)
        if before is None or frame.pose.restarted:
            return np.zeros(3), np.zeros(3)
        seconds = (frame.stamp_ns - before[0]) * 1e-9
        T = invert(before[1]) @ frame.pose.T_world_camera
        turn = np.asarray(cv2.Rodrigues(T[:3, :3])[0][:, 0], np.float64)
        return T[:3, :3].T @ T[:3, 3] / seconds, turn / seconds

    def _publish_transform(self, frame: LiveFrame, camera_frame: str) -> None:
        if self._transforms is None:
            return
        placed = self._anchor.place(
            camera_frame, frame.pose.T_world_camera, frame.stamp_ns, timeout=self._settings.transform_timeout
        )
        if placed is not None:
            child, T_map_child = placed
            self._transforms.publish(
                transform_message(
                    frame.stamp_ns, frame=self._settings.map_frame, child=child, T_frame_child=T_map_child
                )
            )


def _message(header: object, one: LiveObject) -> object:
    return scene_object(
        header,
        number=one.number,
        name=one.name,
        T_frame_object=one.T_world_object,
        covariance=one.covariance,
        linear=one.twist.linear,
        angular=one.twist.angular,
        size=one.size,
        dynamic=one.dynamic,
        confidence=one.confidence,
        last_seen_ns=one.last_seen_ns,
    )
