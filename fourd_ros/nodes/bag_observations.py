"""What a bag shows at chosen instants, decoded by the same observer that the world model node uses.

Like the node, it passes over messages that mean nothing.
"""

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from functools import partial
from typing import Any

from rclpy.serialization import deserialize_message

from fourd_ros.bridge.tf import TransformBuffer, make_transform_buffer
from fourd_ros.data.bag_inputs import WorldModelInputs
from fourd_ros.data.bags import BagReader
from fourd_ros.errors import InvalidInput, NoObservation, TransformUnavailable
from fourd_ros.nodes.message_class import message_class
from fourd_ros.nodes.observer import Observer, ObserverLimits
from fourd_ros.records import Observation
from fourd_ros.robot.model import RobotModel

SETTLED = 0.1
"""An instant is decoded when the recording has gone on for this long, so that TF and joints surround it [s]."""

LOOKBACK = 2.0
"""A part of a bag is read from this long before its first instant, for transforms and joints of low rate [s]."""

WAITING = 64
"""Instants that may wait to settle."""

NS = 1_000_000_000


def observations(
    reader: BagReader,
    inputs: WorldModelInputs,
    robot: RobotModel,
    *,
    wanted: Callable[[int], bool],
    frame: str = "",
    recorded: tuple[int, int] | None = None,
) -> Iterator[Observation]:
    """Observations in the order of time; instants outside of the recorded joints and transforms are left out.

    Args:
        reader: the bag.
        inputs: its topics.
        robot: whose root is the world when `frame` is empty.
        wanted: asked once for the stamp of every instant at which all cameras see [ns]: is it to be decoded?
        frame: name of the world frame.
        recorded: when the first and the last wanted instant were recorded [ns], so that only what lies around them is
            read; None for the whole bag.
    """
    transforms = make_transform_buffer()
    observer = Observer(
        cameras=[camera.name for camera in inputs.cameras],
        use_depth=all(camera.depth for camera in inputs.cameras),
        transforms=transforms,
        limits=ObserverLimits(history=WAITING),
    )
    takers = _takers(inputs, observer, transforms)
    start_ns, stop_ns = None, None
    if recorded is not None:
        start_ns = recorded[0] - round(LOOKBACK * NS)
        stop_ns = recorded[1] + round((LOOKBACK + SETTLED) * NS)
        _take_latched(reader, inputs, observer, transforms)
    asked = 0
    waiting: deque[int] = deque()
    for message in reader.raw(list(takers), start_ns=start_ns, stop_ns=stop_ns):
        with suppress(InvalidInput):
            takers[message.topic](deserialize_message(message.data, message_class(message.typename)))
        for stamp in observer.stamps():
            if stamp > asked:
                asked = stamp
                if wanted(stamp):
                    waiting.append(stamp)
        while waiting and message.stamp_ns - waiting[0] > SETTLED * NS:
            yield from _observe(observer, robot, frame, waiting.popleft())
    for stamp in waiting:
        yield from _observe(observer, robot, frame, stamp)


def _observe(observer: Observer, robot: RobotModel, frame: str, stamp_ns: int) -> Iterator[Observation]:
    try:
        yield observer.observe(robot, frame=frame, stamp_ns=stamp_ns)
    except (InvalidInput, NoObservation, TransformUnavailable):
        return


def _take_latched(reader: BagReader, inputs: WorldModelInputs, observer: Observer, transforms: TransformBuffer) -> None:
    """What may have been recorded once, at the beginning."""
    for camera in inputs.cameras:
        with suppress(InvalidInput):
            observer.add_info(camera.name, reader.first(camera.camera_info).message)
    for message in reader.messages([inputs.tf_static]) if inputs.tf_static else ():
        _take_transforms(transforms, message.message, static=True)


def _take_transforms(transforms: TransformBuffer, message: Any, *, static: bool) -> None:
    for transform in message.transforms:
        with suppress(InvalidInput):
            transforms.add(transform, static=static)


def _takers(inputs: WorldModelInputs, observer: Observer, transforms: TransformBuffer) -> Mapping[str, Any]:
    """What takes the messages of each topic."""
    takers: dict[str, Any] = {
        inputs.joint_states: observer.add_joints,
        inputs.tf: partial(_take_transforms, transforms, static=False),
        inputs.tf_static: partial(_take_transforms, transforms, static=True),
    }
    for camera in inputs.cameras:
        takers[camera.camera_info] = partial(observer.add_info, camera.name)
        takers[camera.image] = partial(observer.add_image, camera.name, "image")
        takers[camera.depth] = partial(observer.add_image, camera.name, "depth")
    takers.pop("", None)
    return takers
