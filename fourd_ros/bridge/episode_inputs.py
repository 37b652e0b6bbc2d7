"""Which topics of a bag become which part of an episode."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np

from fourd_ros.bridge.action_topics import ActionTopic
from fourd_ros.bridge.episode_options import EpisodeOptions
from fourd_ros.bridge.joints import joint_positions
from fourd_ros.bridge.times import NS_PER_S
from fourd_ros.data.bag_inputs import DEPTH_ENDINGS, JOINT_STATE, TRAJECTORY, CameraTopics, find_inputs, usual_names
from fourd_ros.data.bags import BagReader, RawMessage, Topic
from fourd_ros.data.cdr_stamps import header_stamp_ns
from fourd_ros.data.dropped import DropTally
from fourd_ros.data.episode_bag import OBJECTS_TOPIC
from fourd_ros.errors import InvalidBag, InvalidInput
from fourd_ros.robot.description import RobotDescription
from fourd_ros.robot.kinematics import Kinematics

CLOCK = "/clock"
COMMAND_ENDING = "/joint_trajectory"
JOINT_ENDING = "/joint_states"
IMAGINED = "/imagined/"
NAMELESS = "camera"
"""What a camera without a namespace is called."""

PEEKED = 200
"""Messages of a topic from whose stamps its rate is told."""

FAST_ENOUGH = 0.9
"""A camera whose rate is at least this share of the frames' gives each frame an image of its own."""


@dataclass(frozen=True, kw_only=True)
class CameraInput:
    """Topics of one camera, as the bag calls them.

    Args:
        name: of the view.
        image: colour.
        camera_info: calibration.
        depth: registered to the colour image, empty when there is none.
        period: time between its images [s].
    """

    name: str
    image: str
    camera_info: str
    depth: str
    period: float


@dataclass(frozen=True, kw_only=True)
class EpisodeInputs:
    """Everything of a bag that episodes are made of; names of topics are those of the bag, empty for none.

    Args:
        cameras: in the order of their names.
        reference: the camera whose images are the frames.
        rate: frames a second [Hz].
        joint_states: measured joints, which may be spread over several topics.
        joint_names: the J joints of the episodes.
        kinematics: of the robot, None where there is no description.
        robot_description: URDF, empty where there is none.
        world: the frame of the episodes.
        tf: moving transforms.
        tf_static: latched transforms.
        commands: commanded joints.
        actions: by topic.
        objects: truth about the objects.
        clock: simulated time.
    """

    cameras: tuple[CameraInput, ...]
    reference: CameraInput
    rate: float
    joint_states: tuple[str, ...]
    joint_names: tuple[str, ...]
    kinematics: Kinematics | None
    robot_description: str
    world: str
    tf: str
    tf_static: str
    commands: tuple[str, ...]
    actions: Mapping[str, ActionTopic]
    objects: str
    clock: str


def find_episode_inputs(bag: BagReader, options: EpisodeOptions, tally: DropTally) -> EpisodeInputs:
    """Look for what an episode needs.

    Args:
        bag: an open one.
        options: name topics and cameras.
        tally: told of cameras and joints that cannot be used.

    Raises:
        InvalidBag: no camera with a calibration, no joints, topics that are not there, or a rate that no camera has.
        InvalidInput: the robot description or the first action cannot be read.
    """
    _check_topics(bag, [*options.remaps, *options.command_topics, *options.action_topics])
    names = _Names(bag.topics, {**usual_names(bag.topics), **options.remaps})
    found = find_inputs(names.topics)
    cameras = tuple(_usable(bag, [names.of_camera(camera) for camera in found.cameras], options.cameras, tally))
    if not cameras:
        raise InvalidBag(f"'{bag.path}' lacks {_camera_words(options.cameras)}; see: fourd bag info {bag.path}")
    joint_states = names.ending(JOINT_ENDING, JOINT_STATE)
    if not joint_states:
        raise InvalidBag(f"'{bag.path}' lacks joint_states; see: fourd bag info {bag.path}")
    rate = options.rate or round_rate(1 / max(camera.period for camera in cameras))
    text = options.robot_description or _description(bag, names.recorded(found.robot_description))
    kinematics = Kinematics(RobotDescription.from_urdf(text, visuals=False)) if text else None
    tf, tf_static = names.recorded(found.tf), names.recorded(found.tf_static)
    return EpisodeInputs(
        cameras=cameras,
        reference=_reference(cameras, rate),
        rate=rate,
        joint_states=joint_states,
        joint_names=_joint_names(bag, joint_states, kinematics, tally),
        kinematics=kinematics,
        robot_description=text,
        world=options.frame or (kinematics.root if kinematics else _root_above(bag, cameras[0], tf, tf_static)),
        tf=tf,
        tf_static=tf_static,
        commands=options.command_topics or names.ending(COMMAND_ENDING, TRAJECTORY),
        actions=_actions(bag, options.action_topics),
        objects=OBJECTS_TOPIC if OBJECTS_TOPIC in bag.topics else "",
        clock=CLOCK if CLOCK in bag.topics else "",
    )


def first_messages(bag: BagReader, topic: str, count: int | None = PEEKED) -> Iterator[RawMessage]:
    """The first of a topic, None for all; where the bag is damaged they end, and whoever reads it through tells why."""
    with suppress(InvalidBag):
        yield from islice(bag.raw([topic]), count)


class _Names:
    """Topics of a bag under other names.

    Args:
        topics: of the bag.
        remaps: new names by those in the bag.
    """

    def __init__(self, topics: Mapping[str, Topic], remaps: Mapping[str, str]) -> None:
        self.topics = {remaps.get(name, name): topic for name, topic in topics.items()}
        self._recorded = {new: old for old, new in remaps.items()}

    def recorded(self, name: str) -> str:
        """What the bag calls a topic."""
        return self._recorded.get(name, name)

    def of_camera(self, camera: CameraTopics) -> CameraTopics:
        """A camera with its topics as the bag calls them."""
        depths = (camera.depth, *(f"/{camera.name}{ending}" for ending in DEPTH_ENDINGS))
        depth = next((name for name in depths if name in self.topics and self.topics[name].count), "")
        image, info, depth = map(self.recorded, (camera.image, camera.camera_info, depth))
        return replace(camera, image=image, camera_info=info, depth=depth)

    def ending(self, ending: str, typename: str) -> tuple[str, ...]:
        """Topics with that last part as the bag calls them, the shortest first; imagined ones are passed over."""
        names = [
            name
            for name, topic in self.topics.items()
            if topic.typename == typename and topic.count and name.endswith(ending) and IMAGINED not in name
        ]
        return tuple(self.recorded(name) for name in sorted(names, key=lambda name: (len(name), name)))


def _check_topics(bag: BagReader, wanted: Iterable[str]) -> None:
    missing = sorted(set(wanted) - bag.topics.keys())
    if missing:
        raise InvalidBag(f"'{bag.path}' has no topic {missing}; it has {sorted(bag.topics)}")


def _usable(
    bag: BagReader, cameras: Sequence[CameraTopics], wanted: Collection[str], tally: DropTally
) -> Iterable[CameraInput]:
    named = {camera.name.replace("/", "_") or NAMELESS: camera for camera in cameras if bag.topics[camera.image].count}
    unknown = sorted(set(wanted) - named.keys())
    if unknown:
        raise InvalidBag(f"'{bag.path}' has no camera {unknown}; it has {sorted(named)} (others need --remap)")
    for name, camera in sorted(named.items()):
        if wanted and name not in wanted:
            continue
        if not camera.camera_info:
            why = f"camera '{name}' has no calibration: {camera.image.rsplit('/', 1)[0]}/camera_info is not in the bag"
            tally.add("missing_camera", camera.image, bag.start_ns, why, count=bag.topics[camera.image].count)
            continue
        yield CameraInput(
            name=name,
            image=camera.image,
            camera_info=camera.camera_info,
            depth=camera.depth,
            period=_period(bag, camera.image),
        )


def _camera_words(wanted: Collection[str]) -> str:
    return f"the calibration of {sorted(wanted)}" if wanted else "a camera with images and camera_info"


def _period(bag: BagReader, topic: str) -> float:
    """Typical time between the first images [s]; pauses and lost images do not count."""
    stamps = [header_stamp_ns(raw.data) or raw.stamp_ns for raw in first_messages(bag, topic)]
    steps = np.diff(np.array(stamps, np.int64))
    steps = steps[steps > 0]
    if not len(steps):
        raise InvalidBag(f"'{topic}' has {len(stamps)} images, whose stamps do not rise; no rate can be told from them")
    return float(steps[steps < 1.5 * np.median(steps)].mean()) / NS_PER_S


def round_rate(rate: float) -> float:
    """A measured rate in four digits [Hz]."""
    return float(f"{rate:.4g}")


def _reference(cameras: Sequence[CameraInput], rate: float) -> CameraInput:
    """The slowest of the cameras that are fast enough."""
    fast = [camera for camera in cameras if 1 / camera.period >= FAST_ENOUGH * rate]
    if not fast:
        rates = {camera.name: round_rate(1 / camera.period) for camera in cameras}
        raise InvalidBag(f"no camera gives {rate} images a second; they give {rates}")
    return max(fast, key=lambda camera: camera.period)


def _description(bag: BagReader, topic: str) -> str:
    return str(bag.first(topic).message.data) if topic else ""


def _joint_names(
    bag: BagReader, topics: Sequence[str], kinematics: Kinematics | None, tally: DropTally
) -> tuple[str, ...]:
    """The robot's joints that are measured, or without a robot all that are, by the first messages of each topic."""
    seen: dict[str, None] = {}
    for topic in topics:
        for raw in first_messages(bag, topic):
            try:
                seen |= dict.fromkeys(joint_positions(bag.types.deserialize(raw.data, JOINT_STATE)))
            except InvalidInput:
                continue
    if kinematics is None:
        names = tuple(seen)
    else:
        names = tuple(name for name in kinematics.joint_names if name in seen)
        absent = [name for name in kinematics.joint_names if name not in seen]
        if absent:
            tally.add("invalid_joints", "joints", bag.start_ns, f"never measured: {absent}", count=len(absent))
    if not names:
        raise InvalidBag(f"{list(topics)} of '{bag.path}' measure none of the robot's joints; they have {list(seen)}")
    return names


def _root_above(bag: BagReader, camera: CameraInput, tf: str, tf_static: str) -> str:
    """The root of the TF tree that a camera hangs in, by the first transforms."""
    parents: dict[str, str] = {}
    for topic in filter(None, (tf_static, tf)):
        for raw in first_messages(bag, topic):
            try:
                message = bag.types.deserialize(raw.data, raw.typename)
            except InvalidInput:
                continue
            parents |= {str(one.child_frame_id): str(one.header.frame_id) for one in message.transforms}
    frame = str(bag.first(camera.camera_info).message.header.frame_id)
    for _ in parents:
        frame = parents.get(frame, frame)
    return frame


def _actions(bag: BagReader, topics: Sequence[str]) -> dict[str, ActionTopic]:
    prefixed = len(topics) > 1
    return {
        topic: ActionTopic(
            bag.topics[topic].typename, bag.first(topic).message, prefix=f"{topic.lstrip('/')}:" if prefixed else ""
        )
        for topic in topics
    }
