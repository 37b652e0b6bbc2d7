"""What a bag has told so far, of which frames of episodes are made."""

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Any

import numpy as np

from fourd_ros.bridge.camera_poses import CameraPoses
from fourd_ros.bridge.cameras import camera_from_info
from fourd_ros.bridge.episode_inputs import CameraInput, EpisodeInputs, first_messages
from fourd_ros.bridge.episode_options import EpisodeOptions
from fourd_ros.bridge.held_values import HeldValues
from fourd_ros.bridge.joint_history import JointHistory
from fourd_ros.bridge.joints import joint_positions, joint_velocities
from fourd_ros.bridge.message_stream import MessageStream, Stamped
from fourd_ros.bridge.tf import TransformBuffer
from fourd_ros.bridge.timeline import Place, Timeline, follows
from fourd_ros.bridge.times import readable
from fourd_ros.bridge.trajectories import trajectory_from_message
from fourd_ros.data.bag_inputs import JOINT_STATE
from fourd_ros.data.bags import BagReader, RawMessage
from fourd_ros.data.cdr_stamps import header_stamp_ns
from fourd_ros.data.command_series import CommandSeries
from fourd_ros.data.dropped import DropTally
from fourd_ros.errors import InvalidBag, InvalidCamera, InvalidInput
from fourd_ros.geometry.camera import PinholeCamera
from fourd_ros.records import RobotTrajectory

Label = tuple[int, str | int | bool]
"""How often a topic had changed, and what it said."""

JOINT_SAMPLES = 8192
SHORTEST_MEMORY = 10.0
"""Transforms of at least this long are remembered [s]."""

_STAMP_BYTES = 12
"""A serialised message with a header begins with four bytes and its stamp."""

_LABELS = ("std_msgs/msg/String", "std_msgs/msg/Int32", "std_msgs/msg/Bool")
_TEXT = "std_msgs/msg/String"


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """Of one camera: intrinsics, the optical frame, and the bytes they were read from."""

    camera: PinholeCamera
    frame: str
    data: bytes


class EpisodeStreams:
    """Takes the messages of a bag in the order of recording.

    Args:
        bag: an open one.
        inputs: its topics.
        options: name further topics.
        tally: told of messages that cannot be used.

    Attributes:
        timeline: places stamps.
        joints: measured.
        poses: of the cameras.
        streams: of images, depth and the truth about objects, by topic.
        calibrations: by the name of the camera, by time.
        commands: set points.
        instructions: by time.
        labels: of the topic that splits episodes, by time.
    """

    def __init__(self, bag: BagReader, inputs: EpisodeInputs, options: EpisodeOptions, tally: DropTally) -> None:
        self._bag, self._inputs, self._tally = bag, inputs, tally
        self.timeline = Timeline()
        self.joints = JointHistory(samples=JOINT_SAMPLES)
        self.streams = {topic: MessageStream() for topic in _streamed(inputs)}
        self.calibrations = {camera.name: HeldValues[Calibration]() for camera in inputs.cameras}
        self.commands = CommandSeries()
        self.instructions = HeldValues[str]()
        self.labels = HeldValues[Label]()
        self._owners: dict[str, str] = {}
        self._doubtful: dict[str, tuple[RawMessage, int]] = {}
        memory = max(SHORTEST_MEMORY, 4 * options.patience)
        self._moving, self._still = TransformBuffer(duration=memory), TransformBuffer()
        self.poses = CameraPoses(
            moving=self._moving, still=self._still, kinematics=inputs.kinematics, world=inputs.world
        )
        self._takers: dict[str, list[Callable[[RawMessage], bool]]] = defaultdict(list)
        self._choose_takers(options)
        self._read_ahead(options)

    @property
    def topics(self) -> list[str]:
        """Those that `take` wants."""
        return list(self._takers)

    def take(self, raw: RawMessage) -> bool:
        """Take the next message; what cannot be used is counted.

        Returns:
            True where the clock was set back: then it was not taken yet, and `restart` has to come before.
        """
        return self._told(raw, lambda raw: any(take(raw) for take in self._takers[raw.topic]))

    def _told(self, raw: RawMessage, take: Callable[[RawMessage], bool]) -> bool:
        try:
            return take(raw)
        except InvalidInput as error:
            self._tally.add(error.kind, raw.topic, raw.stamp_ns, str(error))
            return False

    def decoded(self, topic: str, data: bytes) -> Any:
        """The message in serialised bytes of a topic."""
        return self._bag.types.deserialize(data, self._bag.topics[topic].typename)

    def restart(self) -> None:
        """Forget the time before the clock was set back."""
        self.joints.clear()
        self._moving.clear()
        self.commands = CommandSeries()
        self.streams = {topic: MessageStream() for topic in self.streams}
        for held in self._held():
            held.restart()
        for action in self._inputs.actions.values():
            action.restart()

    def close(self) -> None:
        """The bag is over: what is still in doubt is not confirmed any more."""
        for former in self._doubtful.values():
            self._refuse(*former, Place.DOUBTFUL)

    def forget(self, before_ns: int) -> None:
        """Drop what is of no account for `before_ns` and later."""
        for stream in self.streams.values():
            stream.forget(before_ns)
        self.commands.forget(before_ns)
        for held in self._held():
            held.forget(before_ns)
        for action in self._inputs.actions.values():
            action.forget(before_ns)

    def forget_recorded(self, before_ns: int) -> None:
        """Drop images that were recorded before `before_ns` and never used."""
        for stream in self.streams.values():
            stream.forget_recorded(before_ns)

    def _held(self) -> list[HeldValues[Any]]:
        return [self.instructions, self.labels, *self.calibrations.values()]

    def _choose_takers(self, options: EpisodeOptions) -> None:
        """What takes the messages of each topic; one may have several uses, those that place it in time come first."""
        inputs = self._inputs
        for topic in self.streams:
            self._takers[topic].append(partial(self._take_timed, use=self._use_image))
        for topic in inputs.joint_states:
            self._takers[topic].append(partial(self._take_timed, use=self._use_joints))
        if inputs.clock:
            self._takers[inputs.clock].append(partial(self._take_timed, use=lambda raw, stamp_ns: None))
        for camera in inputs.cameras:
            self._takers[camera.camera_info].append(partial(self._take_info, camera))
        if inputs.tf:
            self._takers[inputs.tf].append(partial(self._take_transforms, static=False))
        for topic in inputs.commands:
            self._takers[topic].append(self._take_command)
        for topic in inputs.actions:
            self._takers[topic].append(self._take_action)
        if options.instruction_topic:
            self._check_type(options.instruction_topic, _TEXT)
            self._takers[options.instruction_topic].append(self._take_instruction)
        if options.split_topic:
            self._check_type(options.split_topic, *_LABELS)
            self._takers[options.split_topic].append(self._take_label)

    def _check_type(self, topic: str, *types: str) -> None:
        known = self._bag.topics.get(topic)
        if known is None or known.typename not in types:
            found = f"of type {known.typename}" if known else "not in the bag"
            raise InvalidBag(f"'{topic}' of '{self._bag.path}' is {found}; needed: {' or '.join(types)}")

    def _read_ahead(self, options: EpisodeOptions) -> None:
        """What holds from the beginning, wherever it was recorded: fixed transforms, calibrations, one instruction."""
        for raw in islice(self._bag.raw(self._inputs.joint_states), 1):
            self.timeline.begin(header_stamp_ns(raw.data) or raw.stamp_ns, raw.stamp_ns)
        if self._inputs.tf_static:
            for raw in first_messages(self._bag, self._inputs.tf_static, None):
                self._told(raw, partial(self._take_transforms, static=True))
        for camera in self._inputs.cameras:
            for raw in islice(self._bag.raw([camera.camera_info]), 1):
                self.take(raw)
            self.calibrations[camera.name].restart()
        topic = options.instruction_topic
        if topic and self._bag.topics[topic].count == 1:
            self.instructions.add(0, str(self._bag.first(topic).message.data))

    def _stamp(self, raw: RawMessage) -> int:
        return header_stamp_ns(raw.data) or self.timeline.of_recording(raw.stamp_ns)

    def _take_timed(self, raw: RawMessage, *, use: Callable[[RawMessage, int], None]) -> bool:
        """Use a message of the time that runs, and before it one that was in doubt and that it confirms."""
        stamp_ns = self._stamp(raw)
        place = self.timeline.place(raw.topic, stamp_ns, raw.stamp_ns)
        if place is Place.RESTART:
            return True
        former = self._doubtful.pop(raw.topic, None)
        if former is not None and place is Place.NOW and follows(stamp_ns, former[1]):
            use(*former)
        elif former is not None:
            self._refuse(*former, Place.DOUBTFUL)
        if place is Place.NOW:
            use(raw, stamp_ns)
        elif place is Place.DOUBTFUL:
            self._doubtful[raw.topic] = (raw, stamp_ns)
        else:
            self._refuse(raw, stamp_ns, place)
        return False

    def _refuse(self, raw: RawMessage, stamp_ns: int, place: Place) -> None:
        why = f"stamp {readable(stamp_ns)}: {place.value}"
        self._tally.add("wrong_stamp", raw.topic, stamp_ns, why, about=place.name)

    def _use_image(self, raw: RawMessage, stamp_ns: int) -> None:
        if not self.streams[raw.topic].add(Stamped(stamp_ns, raw.stamp_ns, raw.data)):
            why = f"stamp {readable(stamp_ns)} came already, or when its frame was done"
            self._tally.add("wrong_stamp", raw.topic, stamp_ns, why, about="late")

    def _use_joints(self, raw: RawMessage, stamp_ns: int) -> None:
        message = self.decoded(raw.topic, raw.data)
        positions = joint_positions(message)
        own = {name: at for name, at in positions.items() if self._owners.setdefault(name, raw.topic) == raw.topic}
        self.joints.add(stamp_ns, own, joint_velocities(message))

    def _take_info(self, camera: CameraInput, raw: RawMessage) -> bool:
        data, held = raw.data[_STAMP_BYTES:], self.calibrations[camera.name]
        if held.newest is None or held.newest.data != data:
            message = self.decoded(raw.topic, raw.data)
            calibration = camera_from_info(message)
            frame = str(message.header.frame_id)
            if not frame:
                raise InvalidCamera(f"'{raw.topic}' names no frame; its header.frame_id must be in TF")
            held.add(self._stamp(raw), Calibration(camera=calibration, frame=frame, data=data))
        return False

    def _take_transforms(self, raw: RawMessage, *, static: bool) -> bool:
        message = self.decoded(raw.topic, raw.data)
        for error in self._moving.add_all(message.transforms, static=static):
            self._tally.add(error.kind, "transforms", self.timeline.now_ns, str(error))
        if static:
            self._still.add_all(message.transforms, static=True)
        return False

    def _take_command(self, raw: RawMessage) -> bool:
        message, stamp_ns = self.decoded(raw.topic, raw.data), self._stamp(raw)
        if self._bag.topics[raw.topic].typename == JOINT_STATE:
            positions = joint_positions(message)
            row = np.array([list(positions.values())])
            command = RobotTrajectory(joint_names=tuple(positions), times=np.zeros(1), positions=row)
        else:
            command = trajectory_from_message(message)
        self.commands.add(command, stamp_ns, measured=self._measured(command, stamp_ns))
        return False

    def _measured(self, command: RobotTrajectory, stamp_ns: int) -> CommandSeries:
        """Where the joints of a command are when it begins."""
        measured = CommandSeries()
        measured.add_sample(self.joints.known(command.joint_names, stamp_ns), stamp_ns)
        return measured

    def _take_action(self, raw: RawMessage) -> bool:
        message = self.decoded(raw.topic, raw.data)
        stamp_ns = self._stamp(raw) if hasattr(message, "header") else self.timeline.of_recording(raw.stamp_ns)
        self._inputs.actions[raw.topic].take(stamp_ns, message)
        return False

    def _take_instruction(self, raw: RawMessage) -> bool:
        self.instructions.add(self.timeline.of_recording(raw.stamp_ns), str(self.decoded(raw.topic, raw.data).data))
        return False

    def _take_label(self, raw: RawMessage) -> bool:
        value, newest = self.decoded(raw.topic, raw.data).data, self.labels.newest
        if newest is None or newest[1] != value:
            changes = newest[0] + 1 if newest else 0
            self.labels.add(self.timeline.of_recording(raw.stamp_ns), (changes, value))
        return False


def _streamed(inputs: EpisodeInputs) -> list[str]:
    topics = [topic for camera in inputs.cameras for topic in (camera.image, camera.depth) if topic]
    return [*topics, inputs.objects] if inputs.objects else topics
