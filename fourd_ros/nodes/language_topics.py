"""What scene language tells of every frame: camera pose, TF, points, and itself as a camera with depth."""

from dataclasses import dataclass

import numpy as np
from geometry_msgs.msg import PoseStamped
from sensor_msgs.msg import CameraInfo, Image, PointCloud2
from tf2_msgs.msg import TFMessage

from fourd_ros.bridge.cameras import camera_to_info
from fourd_ros.bridge.confident_clouds import CONFIDENT, confident_cloud
from fourd_ros.bridge.images import array_to_image
from fourd_ros.bridge.qos import RESULT, transform_qos
from fourd_ros.bridge.scene_objects import pose_message, transform_message
from fourd_ros.bridge.times import make_header
from fourd_ros.nodes.base import FourdNode
from fourd_ros.nodes.map_anchor import MapAnchor
from fourd_ros.scene_language.lifting import sure_pixels
from fourd_ros.scene_language.live_language import LiveFrame
from fourd_ros.scene_language.placement import Placement


@dataclass(frozen=True, kw_only=True)
class LanguageTopicSettings:
    """What is told, and how much of it.

    Args:
        publish_tf: tell TF where the map is.
        transform_timeout: wait this long for the camera's place in its tree [s].
        max_bytes: of a cloud; more points are left out evenly.
    """

    publish_tf: bool
    transform_timeout: float
    max_bytes: int


class LanguageTopics:
    """Publishers of one stream, from a node's ``start`` to its ``stop``.

    Args:
        node: that publishes.
        anchor: where the map is.
        settings: what is told.
    """

    def __init__(self, node: FourdNode, anchor: MapAnchor, settings: LanguageTopicSettings) -> None:
        self._anchor, self._settings = anchor, settings
        self._pose = node.advertise(PoseStamped, "~/pose", RESULT)
        self._points = node.advertise(PointCloud2, "~/points", RESULT)
        self._image = node.advertise(Image, "~/image", RESULT)
        self._depth = node.advertise(Image, "~/depth", RESULT)
        self._info = node.advertise(CameraInfo, "~/camera_info", RESULT)
        self._transforms = node.advertise(TFMessage, "/tf", transform_qos()) if settings.publish_tf else None

    def publish(self, frame: LiveFrame, camera_frame: str, placement: Placement) -> None:
        """Everything about a frame; depth and TF only in metres.

        Args:
            frame: what was seen.
            camera_frame: of the camera.
            placement: frame of pose and points.

        Raises:
            TransformUnavailable, InvalidTransform: TF has no place for the map; all else was published.
        """
        header = make_header(frame.stamp_ns, placement.name)
        self._pose.publish(PoseStamped(header=header, pose=pose_message(placement.camera_pose(frame))))
        if self._points.get_subscription_count():
            self._publish_points(frame, placement)
        self._publish_camera(frame, camera_frame, placement)
        if placement.is_metric:
            self._publish_transform(frame, camera_frame, placement)

    def _publish_points(self, frame: LiveFrame, placement: Placement) -> None:
        sure = sure_pixels(frame.confidence)
        points, rgb, confidence = placement.points(frame)[sure], frame.rgb[sure], frame.confidence[sure]
        step = max(1, -(-len(points) // max(1, self._settings.max_bytes // CONFIDENT.itemsize)))
        header = make_header(frame.stamp_ns, placement.name)
        self._points.publish(confident_cloud(header, points[::step], rgb=rgb[::step], confidence=confidence[::step]))

    def _publish_camera(self, frame: LiveFrame, camera_frame: str, placement: Placement) -> None:
        """What the network saw, with its calibration and depth: a camera that others can be pointed at."""
        header = make_header(frame.stamp_ns, camera_frame)
        self._info.publish(camera_to_info(frame.camera, header))
        self._image.publish(array_to_image(frame.rgb, "rgb8", header))
        if placement.is_metric:
            depth = (frame.depth * placement.unit).astype(np.float32)
            self._depth.publish(array_to_image(depth, "32FC1", header))

    def _publish_transform(self, frame: LiveFrame, camera_frame: str, placement: Placement) -> None:
        if self._transforms is None:
            return
        placed = self._anchor.place(
            camera_frame, placement.camera_pose(frame), frame.stamp_ns, timeout=self._settings.transform_timeout
        )
        if placed is not None:
            child, T_map_child = placed
            self._transforms.publish(
                transform_message(frame.stamp_ns, frame=placement.name, child=child, T_frame_child=T_map_child)
            )
