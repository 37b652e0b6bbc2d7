"""A bag of the rig: a Panda that follows its commands with a lag, seen by two cameras."""

from pathlib import Path
from typing import Any

import numpy as np
from rclpy.serialization import serialize_message
from rig import Rig, posed
from rig_ros import RigPublisher

from fourd_ros.bridge.times import make_header
from fourd_ros.bridge.trajectories import trajectory_to_message
from fourd_ros.data.bags import BagWriter
from fourd_ros.records import RobotTrajectory

NS = 1_000_000_000
START_NS = 1_700_000_000 * NS
PERIOD = 0.2
LAG = 0.05
SPEED = 0.4
DURATION = 2.0
COMMANDED_AT = 0.4
"""When the command to turn the first joint was given [s]."""


class _Recorder:
    """Takes the place of a node: publishers that write into a bag."""

    def __init__(self, bag: BagWriter) -> None:
        self._bag = bag
        self.now_ns = START_NS

    def create_publisher(self, kind: Any, topic: str, _: Any) -> Any:
        return _BagPublisher(self, self._bag, kind, "/" + topic.lstrip("/"))


class _BagPublisher:
    def __init__(self, recorder: _Recorder, bag: BagWriter, kind: Any, topic: str) -> None:
        self._recorder, self._bag, self._topic = recorder, bag, topic
        self._typename = f"{kind.__module__.split('.')[0]}/msg/{kind.__name__}"

    def publish(self, message: Any) -> None:
        self._bag.write_raw(self._topic, self._typename, serialize_message(message), self._recorder.now_ns)


def first_joint(seconds: float) -> float:
    """Measured position of the first joint [rad]: it turns from `COMMANDED_AT` on, `LAG` behind its command."""
    return SPEED * max(seconds - COMMANDED_AT - LAG, 0.0)


def write_rig_bag(path: Path, *, size: int = 48, commands: bool = True, late: float = 0.01) -> Path:
    """Two seconds at 5 Hz.

    Args:
        path: folder to create.
        size: of the images [px].
        commands: record the commanded trajectory.
        late: images are recorded so long after their stamp [s].
    """
    with BagWriter(path) as bag:
        recorder = _Recorder(bag)
        rig = Rig(size=size)
        publisher = RigPublisher(recorder, rig)  # type: ignore[arg-type]
        for seconds in np.arange(0.0, DURATION + 1e-9, PERIOD):
            if commands and seconds - PERIOD < COMMANDED_AT <= seconds:
                recorder.now_ns = START_NS + round(COMMANDED_AT * NS)
                _BagPublisher(recorder, bag, type(command()), "/arm_controller/joint_trajectory").publish(command())
            rig.joints = posed(panda_joint1=first_joint(float(seconds)))
            stamp_ns = START_NS + round(float(seconds) * NS)
            for topic, message in publisher.messages(stamp_ns).items():
                recorder.now_ns = stamp_ns + (round(late * NS) if "/" in topic[1:] else 0)
                publisher.publisher(topic).publish(message)
    return path


def command() -> Any:
    """Turn the first joint at `SPEED`, given at `COMMANDED_AT`."""
    trajectory = RobotTrajectory(
        joint_names=("panda_joint1",), times=np.array([2.0]), positions=np.array([[2.0 * SPEED]])
    )
    return trajectory_to_message(trajectory, make_header(START_NS + round(COMMANDED_AT * NS), ""))
