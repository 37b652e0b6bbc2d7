"""Is everything there that a world model node listens to? Looked at from outside, on a live system."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSCompatibility, QoSProfile, qos_check_compatible
from rclpy.serialization import deserialize_message
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, JointState
from std_msgs.msg import String
from tf2_msgs.msg import TFMessage

from fourd_ros.bridge.cameras import camera_from_info
from fourd_ros.bridge.clock import CLOCK_TOPIC
from fourd_ros.bridge.qos import LATCHED, sensor_qos, static_transform_qos, transform_qos
from fourd_ros.bridge.tf import TransformBuffer
from fourd_ros.errors import FourdError, InvalidParameter
from fourd_ros.machine import Finding, Status
from fourd_ros.nodes.world_model import WorldModelParameters
from fourd_ros.robot.description import RobotDescription

SETTLE = 0.5
"""Discovery of a topic's publishers goes on for this long after the first one [s]."""


@dataclass
class Input:
    """One topic that the node needs.

    Args:
        topic: name before remapping.
        message: its type.
        qos: what the node will ask for.
    """

    topic: str
    message: Any
    qos: QoSProfile
    payloads: list[bytes] = field(default_factory=list)
    received: int = 0
    subscription: Any = None

    @property
    def latched(self) -> bool:
        return self.qos.durability == DurabilityPolicy.TRANSIENT_LOCAL

    @property
    def type_name(self) -> str:
        return f"{self.message.__module__.split('.')[0]}/msg/{self.message.__name__}"


def settings_from(params_file: Path | None, cameras: Sequence[str]) -> WorldModelParameters:
    """The parameters that decide the inputs, from a ROS parameter file and the command line.

    Raises:
        InvalidParameter: the file cannot be read.
    """
    given: dict[str, Any] = {}
    if params_file is not None:
        given = _parameters_of("world_model", params_file)
    if cameras:
        given["cameras"] = tuple(cameras)
    known = WorldModelParameters.__dataclass_fields__
    values = {
        name: tuple(value) if isinstance(value, list) else value for name, value in given.items() if name in known
    }
    return WorldModelParameters(**values)


def _parameters_of(node: str, path: Path) -> dict[str, Any]:
    try:
        sections = yaml.safe_load(path.read_text()) or {}
        merged: dict[str, Any] = {}
        for name, section in sections.items():
            if name == "/**" or name.rstrip("/").rpartition("/")[2] == node:
                merged |= section["ros__parameters"]
    except (OSError, yaml.YAMLError, AttributeError, KeyError, TypeError) as error:
        raise InvalidParameter(f"{path} is not a ROS parameter file: {type(error).__name__} {error}") from None
    return merged


def inputs_of(settings: WorldModelParameters) -> list[Input]:
    """Every topic that a world model node with these parameters listens to."""
    sensor = sensor_qos(reliability=settings.image_reliability)
    message, colour, depth = Image, "image", "depth"
    if settings.compressed:
        message, colour, depth = CompressedImage, "image/compressed", "depth/compressedDepth"
    inputs = []
    for camera in settings.cameras:
        inputs += [Input(f"{camera}/{colour}", message, sensor), Input(f"{camera}/camera_info", CameraInfo, sensor)]
        if settings.use_depth:
            inputs.append(Input(f"{camera}/{depth}", message, sensor))
    inputs.append(Input("joint_states", JointState, sensor_qos(depth=10)))
    if not settings.robot_description_file:
        inputs.append(Input("robot_description", String, LATCHED))
    inputs.append(Input("/tf", TFMessage, transform_qos()))
    inputs.append(Input("/tf_static", TFMessage, static_transform_qos()))
    return inputs


class LiveInputs:
    """Listens for a while and says what is missing, mismatched or silent.

    Args:
        node: rclpy node in the namespace, and with the remappings, of the world model.
        settings: parameters of the world model.
    """

    def __init__(self, node: Node, settings: WorldModelParameters) -> None:
        self._node = node
        self._settings = settings
        self._inputs = inputs_of(settings)
        for wanted in self._inputs:
            wanted.subscription = node.create_subscription(
                wanted.message, wanted.topic, lambda data, one=wanted: _keep(one, data), wanted.qos, raw=True
            )

    def listen(self, executor: Any, seconds: float) -> list[Finding]:
        """Spin for `seconds`, less when everything has come, and report.

        Args:
            executor: rclpy executor that holds the node.
            seconds: patience [s].
        """
        begin = time.monotonic()
        settled = begin + SETTLE
        while (now := time.monotonic()) < begin + seconds:
            executor.spin_once(timeout_sec=0.05)
            if not all(wanted.received > 1 or (wanted.latched and wanted.received) for wanted in self._inputs):
                settled = now + SETTLE
            elif now > settled:
                break
        elapsed = time.monotonic() - begin
        return [*(self._judge(wanted, elapsed) for wanted in self._inputs), *self._clock(), *self._geometry()]

    def _judge(self, wanted: Input, elapsed: float) -> Finding:
        topic = wanted.subscription.topic_name
        bad = Status.NOTE if self._is_spare(wanted) else Status.MISSING
        if wanted.received:
            rate = "latched" if wanted.latched else f"{wanted.received / elapsed:.0f} Hz"
            return Finding(subject=topic, status=Status.OK, detail=f"{wanted.type_name}, {rate}")
        publishers = self._node.get_publishers_info_by_topic(topic)
        if not publishers:
            detail, remedy = f"nobody publishes {wanted.type_name} here", self._suggestion(wanted)
            return Finding(subject=topic, status=bad, detail=detail, remedy=remedy)
        problems = [problem for endpoint in publishers if (problem := _mismatch(endpoint, wanted))]
        if problems:
            return Finding(subject=topic, status=bad, detail="; ".join(problems), remedy=self._adaptation(wanted))
        names = ", ".join(sorted({endpoint.node_name for endpoint in publishers}))
        return Finding(
            subject=topic,
            status=bad,
            detail=f"{names} publishes, nothing arrived in {elapsed:.1f} s",
            remedy="is the publisher active? are large messages lost (see transport)?",
        )

    def _is_spare(self, wanted: Input) -> bool:
        """One of the two TF topics is enough."""
        return wanted.message is TFMessage and any(one.received for one in self._inputs if one.message is TFMessage)

    def _suggestion(self, wanted: Input) -> str:
        """Topics of the right type that nothing else listens to here, the likeliest first."""
        words = set(wanted.subscription.topic_name.split("/"))
        taken = {one.subscription.topic_name for one in self._inputs}
        offered = [name for name, types in self._node.get_topic_names_and_types() if wanted.type_name in types]
        others = [name for name in offered if name not in taken and self._node.count_publishers(name)]
        others.sort(key=lambda name: (-len(words & set(name.split("/"))), name))
        if others:
            return f"remap one of that type: {wanted.topic}:={others[0]}" + "".join(f" | {one}" for one in others[1:4])
        return "start its driver"

    def _adaptation(self, wanted: Input) -> str:
        adjustable = wanted.message in (Image, CompressedImage, CameraInfo)
        return "set image_reliability: best_effort" if adjustable else "change the publisher's QoS or type"

    def _clock(self) -> Iterator[Finding]:
        publishers = self._node.get_publishers_info_by_topic(CLOCK_TOPIC)
        if len(publishers) > 1:
            names = ", ".join(sorted(f"{one.node_namespace.rstrip('/')}/{one.node_name}" for one in publishers))
            yield Finding(
                subject=CLOCK_TOPIC,
                status=Status.MISSING,
                detail=f"{len(publishers)} publishers: {names}",
                remedy="stop all but one",
            )
        elif publishers:
            detail = f"from {publishers[0].node_name}; nodes need use_sim_time"
            yield Finding(subject=CLOCK_TOPIC, status=Status.OK, detail=detail)

    def _geometry(self) -> Iterator[Finding]:
        """Cameras that can be used, a robot that can be read, and TF between them."""
        root, finding = self._robot()
        if finding is not None:
            yield finding
        transforms = self._transforms()
        target = self._settings.fixed_frame or root
        for wanted in self._inputs:
            if wanted.message is CameraInfo and wanted.payloads:
                yield _camera(wanted, transforms, target)

    def _robot(self) -> tuple[str, Finding | None]:
        texts = [one.payloads[-1] for one in self._inputs if one.message is String and one.payloads]
        if not texts:
            return "", None
        roots = [Path(root) for root in self._settings.mesh_roots]
        try:
            urdf = deserialize_message(texts[0], String).data
            description = RobotDescription.from_urdf(urdf, allowed_roots=roots or None)
        except FourdError as error:
            return "", Finding(subject="robot", status=Status.MISSING, detail=str(error), remedy="see mesh_roots")
        detail = f"{description.name}: {len(description.joints)} joints, root {description.root}"
        return description.root, Finding(subject="robot", status=Status.OK, detail=detail)

    def _transforms(self) -> TransformBuffer:
        buffer = TransformBuffer()
        for wanted in self._inputs:
            if wanted.message is TFMessage:
                for payload in wanted.payloads:
                    _fill(buffer, deserialize_message(payload, TFMessage), static=wanted.topic == "/tf_static")
        return buffer


def _keep(wanted: Input, data: bytes) -> None:
    """Count every message; keep the last one, of TF all of them, since each may hold other frames."""
    wanted.received += 1
    if wanted.message is TFMessage:
        wanted.payloads = [*wanted.payloads[-999:], data]
    elif wanted.message in (CameraInfo, String):
        wanted.payloads = [data]


def _mismatch(endpoint: Any, wanted: Input) -> str:
    if endpoint.topic_type != wanted.type_name:
        return f"{endpoint.node_name} publishes {endpoint.topic_type}, needed is {wanted.type_name}"
    compatibility, reason = qos_check_compatible(endpoint.qos_profile, wanted.qos)
    return f"QoS of {endpoint.node_name}: {reason.strip()}" if compatibility == QoSCompatibility.ERROR else ""


def _fill(buffer: TransformBuffer, message: TFMessage, *, static: bool) -> None:
    for transform in message.transforms:
        try:
            buffer.add(transform, static=static)
        except FourdError:
            continue  # reported by the node that uses it


def _camera(wanted: Input, transforms: TransformBuffer, target: str) -> Finding:
    info = deserialize_message(wanted.payloads[-1], CameraInfo)
    frame, subject = info.header.frame_id, f"camera {wanted.topic.rpartition('/')[0]}"
    try:
        camera = camera_from_info(info)
        if target:
            transforms.lookup(target, frame)
    except FourdError as error:
        return Finding(subject=subject, status=Status.MISSING, detail=str(error), remedy="see its driver, or add TF")
    detail = f"{camera.width} x {camera.height}, frame {frame}" + (f", connected to {target}" if target else "")
    return Finding(subject=subject, status=Status.OK, detail=detail)
