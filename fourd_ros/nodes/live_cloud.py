"""What the cameras see now, as one cloud beside the imagined ones; made only while somebody looks."""

from collections.abc import Callable
from typing import Any

import numpy as np
from sensor_msgs.msg import PointCloud2

from fourd_ros.bridge.clouds import POINT, pack_points, packed_cloud
from fourd_ros.bridge.qos import RESULT
from fourd_ros.bridge.times import make_header
from fourd_ros.errors import FourdError
from fourd_ros.geometry.transforms import apply
from fourd_ros.nodes.base import FourdNode
from fourd_ros.records import Observation


class LiveCloud:
    """Publishes the newest observation on ``~/points`` (x y z rgb, fixed frame), each instant once.

    Args:
        node: made in its ``start``.
        observe: the newest observation; may raise while inputs are missing.
        period: look this often for a newer one [s].
        max_bytes: of one cloud; more points are left out evenly.
    """

    def __init__(
        self, node: FourdNode, *, observe: Callable[[], Observation], period: float, max_bytes: Callable[[], int]
    ) -> None:
        self._node, self._observe, self._max_bytes = node, observe, max_bytes
        self._last_stamp = 0
        self._publisher = node.advertise(PointCloud2, "~/points", RESULT)
        self._offer = node.worker("live_cloud").latest(self._publish)
        node.every(period, self._look)

    def _look(self) -> None:
        if self._publisher.get_subscription_count() > 0:
            self._offer(self._observe)

    def _publish(self, observe: Callable[[], Observation]) -> None:
        try:
            observation = observe()
        except FourdError:
            return  # what is missing is said by those who watch the inputs
        if observation.stamp_ns != self._last_stamp:
            self._last_stamp = observation.stamp_ns
            self._publisher.publish(cloud_of(observation, max_points=self._max_bytes() // POINT.itemsize))


def cloud_of(observation: Observation, *, max_points: int) -> Any:
    """``PointCloud2`` of all views of an observation in the world frame, evenly thinned to `max_points`."""
    points, colours = [], []
    for view in observation.views.values():
        known = np.isfinite(view.points[..., 2])
        points.append(apply(view.T_world_camera, view.points[known]).astype(np.float32, copy=False))
        colours.append(view.rgb[known])
    cloud, rgb = np.concatenate(points), np.concatenate(colours)
    if len(cloud) > max_points:
        kept = np.linspace(0, len(cloud) - 1, max_points).astype(np.intp)
        cloud, rgb = cloud[kept], rgb[kept]
    header = make_header(observation.stamp_ns, observation.frame)
    return packed_cloud(header, pack_points(cloud, rgb=rgb, sigma=0.0))
