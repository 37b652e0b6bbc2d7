"""Writes what was recorded and what was imagined side by side into one bag, in the order of time."""

import heapq
import itertools
from collections.abc import Iterable
from typing import Any

from fourd_msgs.msg import RolloutFrame
from rclpy.serialization import serialize_message
from tf2_msgs.msg import TFMessage

from fourd_ros.bridge.images import array_to_image
from fourd_ros.bridge.rollouts import IMAGINED_PREFIX, FrameContents, read_frame
from fourd_ros.bridge.tf import make_transform
from fourd_ros.bridge.times import stamp_to_ns
from fourd_ros.data.bag_qos import offered_qos
from fourd_ros.data.bags import BagReader, BagWriter
from fourd_ros.nodes.bag_loop import ImaginedInstant
from fourd_ros.robot.kinematics import Kinematics

NAMESPACE = "/world_model"


class ImaginedBag:
    """A bag under way: recorded messages are copied up to the instant that is imagined next.

    Written are ``rollout`` (at the stamp of its observation) and ``rollout_frames`` (at their own stamps) of every
    rollout; and as ordinary topics below ``imagined/`` the first rollout of every instant in one camera, with the
    imagined robot in ``/tf``. An instant's topics end where the next instant's begin.

    Args:
        reader: what was recorded.
        writer: an open bag.
        kinematics: of the robot whose links are written as transforms.
        view: camera of the ordinary topics, empty for the first.
    """

    def __init__(self, reader: BagReader, writer: BagWriter, kinematics: Kinematics, *, view: str = "") -> None:
        self._reader, self._writer, self._kinematics, self._view = reader, writer, kinematics, view
        topics = [name for name in reader.topics if not name.startswith(f"{NAMESPACE}/")]
        self._recorded = reader.raw(topics)
        self._next = next(self._recorded, None)
        self._imagined: list[tuple[int, int, str, Any]] = []
        self._order = itertools.count()

    def add(self, instant: ImaginedInstant, *, shown_until_ns: int | None = None) -> None:
        """Take an answer.

        Args:
            instant: not before the one added last.
            shown_until_ns: stamp of the next instant, where the ordinary topics change over [ns].
        """
        self._write_until(instant.stamp_ns)
        for number, (rollout, frames) in enumerate(zip(instant.rollouts, instant.frames, strict=True)):
            self._push(instant.stamp_ns, f"{NAMESPACE}/rollout", rollout)
            view = self._view or rollout.views[0]
            for frame in frames:
                stamp_ns = stamp_to_ns(frame.header.stamp)
                self._push(stamp_ns, f"{NAMESPACE}/rollout_frames", frame)
                if number == 0 and frame.view == view and (shown_until_ns is None or stamp_ns <= shown_until_ns):
                    for topic, message in self._ordinary(frame):
                        self._push(stamp_ns, topic, message)

    def finish(self) -> None:
        """Write what is left of both."""
        self._write_until(None)

    def _ordinary(self, frame: RolloutFrame) -> Iterable[tuple[str, Any]]:
        contents = read_frame(frame)
        yield f"{NAMESPACE}/imagined/points", frame.points
        if contents.rgb is not None:
            yield f"{NAMESPACE}/imagined/image", array_to_image(contents.rgb, "rgb8", frame.camera_info.header)
        yield f"{NAMESPACE}/imagined/camera_info", frame.camera_info
        yield f"{NAMESPACE}/imagined/joint_states", frame.joints
        yield "/tf", self._transforms(frame, contents)

    def _transforms(self, frame: RolloutFrame, contents: FrameContents) -> TFMessage:
        """The imagined links hang below the recorded root link, the camera in the fixed frame."""
        kinematics, stamp_ns = self._kinematics, contents.stamp_ns
        poses = kinematics.link_poses(kinematics.positions_from(contents.joints))
        transforms = [make_transform(kinematics.root, IMAGINED_PREFIX + link, stamp_ns, T) for link, T in poses.items()]
        camera = frame.camera_info.header.frame_id
        transforms.append(make_transform(contents.frame, camera, stamp_ns, contents.T_world_camera))
        return TFMessage(transforms=transforms)

    def _push(self, stamp_ns: int, topic: str, message: Any) -> None:
        package, group = type(message).__module__.split(".")[:2]
        typename = f"{package}/{group}/{type(message).__name__}"
        heapq.heappush(self._imagined, (stamp_ns, next(self._order), topic, (typename, serialize_message(message))))

    def _write_until(self, stamp_ns: int | None) -> None:
        """Merge both up to an instant, None for all."""
        while self._next is not None and (stamp_ns is None or self._next.stamp_ns <= stamp_ns):
            self._write_imagined(self._next.stamp_ns)
            topic = self._reader.topics[self._next.topic]
            self._writer.write_raw(
                topic.name, topic.typename, self._next.data, self._next.stamp_ns, qos=next(iter(topic.qos), None)
            )
            self._next = next(self._recorded, None)
        self._write_imagined(stamp_ns)

    def _write_imagined(self, stamp_ns: int | None) -> None:
        while self._imagined and (stamp_ns is None or self._imagined[0][0] <= stamp_ns):
            own_ns, _, topic, (typename, data) = heapq.heappop(self._imagined)
            self._writer.write_raw(topic, typename, data, own_ns, qos=offered_qos())
