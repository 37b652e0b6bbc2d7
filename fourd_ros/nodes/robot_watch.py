"""Listens to a robot: its cameras, joints, transforms and description."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from rclpy.callback_groups import ReentrantCallbackGroup
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, JointState
from std_msgs.msg import String

from fourd_ros.bridge.qos import LATCHED, InputWatch, sensor_qos
from fourd_ros.bridge.tf import TransformListener, make_transform_buffer
from fourd_ros.errors import NoObservation
from fourd_ros.nodes.base import FourdNode
from fourd_ros.nodes.observer import RETRY_PERIOD, Completion, Observer, ObserverLimits
from fourd_ros.robot.description import RobotDescription
from fourd_ros.robot.model import RobotModel
from fourd_ros.world_model.base import Checkpoint


@dataclass(frozen=True, kw_only=True)
class WatchSettings:
    """What is listened to.

    Args:
        cameras: namespaces of the cameras.
        prefix: of all topics; empty for those of the node's namespace and the global ``/tf``.
        use_depth: wait for a depth image beside every colour image.
        compressed: take ``<camera>/image/compressed`` and ``<camera>/depth/compressedDepth``.
        reliability: of the camera subscriptions.
        robot: listen to its joints and its description too.
        mesh_roots: meshes are read only below these folders; None for installed packages.
        limits: sizes, ages and histories.
    """

    cameras: tuple[str, ...]
    prefix: str = ""
    use_depth: bool = True
    compressed: bool = False
    reliability: str = "best_effort"
    robot: bool = True
    mesh_roots: Sequence[Path] | None = None
    limits: ObserverLimits = field(default_factory=ObserverLimits)


class RobotWatch:
    """Subscriptions that feed an observer, from a node's ``start`` to its ``stop``.

    Args:
        node: that listens.
        settings: what to.
        robot: the robot, if it is known; otherwise its description is listened to.
        complete: fills the holes of every depth image that is decoded, None to leave them.

    Attributes:
        observer: holds the newest inputs.
        robot: None until its description has come.
    """

    def __init__(
        self,
        node: FourdNode,
        settings: WatchSettings,
        *,
        robot: RobotModel | None = None,
        complete: Completion | None = None,
    ) -> None:
        self._node, self._settings, self.robot = node, settings, robot
        transforms = make_transform_buffer(counters=node.counters)
        self.observer = Observer(
            cameras=settings.cameras,
            use_depth=settings.use_depth,
            transforms=transforms,
            limits=settings.limits,
            complete=complete,
        )
        node.defer(TransformListener(node, transforms, prefix=settings.prefix or "/").destroy)
        self._inputs = InputWatch(node)
        node.defer(self._inputs.destroy)
        node.defer(self._forget)
        self._subscribe()

    def wait_for_robot(self, timeout: float, *, checkpoint: Checkpoint = lambda _: None) -> RobotModel:
        """The robot; its description may have arrived a moment ago and still be read.

        Args:
            timeout: wait this long for it [s].
            checkpoint: called between looks; what it raises ends the waiting.

        Raises:
            NoObservation: no robot description yet.
        """
        give_up = time.monotonic() + timeout
        while (robot := self.robot) is None:
            if time.monotonic() >= give_up:
                raise NoObservation("no robot description yet; publish robot_description or set robot_description_file")
            checkpoint(0.0)
            time.sleep(RETRY_PERIOD)
        return robot

    def take_description(self, message: String) -> None:
        """Parse the description and read its meshes."""
        self.robot = RobotModel(RobotDescription.from_urdf(message.data, allowed_roots=self._settings.mesh_roots))

    def _forget(self) -> None:
        """A robot with its meshes is large, and this outlives the time in which it listens."""
        self.robot = None
        self.observer.clear()

    def _subscribe(self) -> None:
        settings, observer = self._settings, self.observer
        sensor = sensor_qos(reliability=settings.reliability)
        for camera in settings.cameras:
            self._listen(CameraInfo, f"{camera}/camera_info", partial(observer.add_info, camera), sensor)
            for kind in ("image", "depth") if settings.use_depth else ("image",):
                message, topic = self._image_topic(camera, kind)
                self._listen(message, topic, partial(observer.add_image, camera, kind), sensor)
        if not settings.robot:
            return
        self._listen(JointState, "joint_states", self._take_joints, sensor_qos(depth=10))
        if self.robot is None:
            read = self._node.worker("robot_description").latest(self.take_description)
            self._listen(String, "robot_description", read, LATCHED)

    def _listen(self, message: Any, name: str, take: Any, qos: Any) -> None:
        """Subscribe, and complain when nothing comes."""
        topic = self._settings.prefix + name
        subscription = self._node.subscribe(
            message, topic, self._inputs.heard(topic, take), qos, group=ReentrantCallbackGroup()
        )
        self._inputs.add(topic, message, subscription)

    def _image_topic(self, camera: str, kind: str) -> tuple[Any, str]:
        if not self._settings.compressed:
            return Image, f"{camera}/{kind}"
        transport = "compressed" if kind == "image" else "compressedDepth"
        return CompressedImage, f"{camera}/{kind}/{transport}"

    def _take_joints(self, message: JointState) -> None:
        self.observer.add_joints(message, known=self.robot and self.robot.joint_names)
