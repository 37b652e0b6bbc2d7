"""What a bag shows and commands, decoded once by the same observer that the node uses."""

from bisect import bisect_left
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from fourd_ros.bridge.bag_motion import read_commanded, read_measured
from fourd_ros.data.bag_inputs import WorldModelInputs, find_inputs
from fourd_ros.data.bags import BagReader
from fourd_ros.errors import InvalidBag, InvalidTrajectory
from fourd_ros.nodes.bag_observations import SETTLED, observations
from fourd_ros.records import Observation
from fourd_ros.robot.description import RobotDescription
from fourd_ros.robot.model import RobotModel

SLACK = 0.005
"""Cameras are this punctual [s]."""

GRIP = 0.002
"""Fingers stopped this far before their command hold something [m | rad]."""


class Recording:
    """The observations of a bag by stamp, and the commanded motion.

    Attributes:
        inputs: topics of the bag.
        robot: the recorded robot.
        observations: by stamp [ns], in order of time.
        commands: what the robot was told.
        start_ns: first instant [ns].

    Args:
        path: the bag.
        every: time between the instants that are decoded [s]; 0 for all.

    Raises:
        InvalidBag: unreadable, or it lacks images, joints, transforms, description or commands.
    """

    def __init__(self, path: Path, *, every: float = 0.0) -> None:
        with BagReader(path) as reader:
            self.inputs = find_inputs(reader.topics)
            _check(self.inputs, path)
            self.robot = RobotModel(
                RobotDescription.from_urdf(reader.first(self.inputs.robot_description).message.data)
            )
            self.commands = read_commanded(reader, self.inputs, read_measured(reader, self.inputs))
            self.observations = _observe(reader, self.inputs, self.robot, every)
        if not self.observations:
            raise InvalidBag(f"'{path}' has no instant with images of all cameras, joints and transforms")
        self._stamps = list(self.observations)
        self.start_ns = self._stamps[0]

    @property
    def cameras(self) -> tuple[str, ...]:
        """Names of the views."""
        return tuple(camera.name for camera in self.inputs.cameras)

    @property
    def period(self) -> float:
        """Typical time between observations [s]."""
        return float(np.median(np.diff(self._stamps))) * 1e-9 if len(self._stamps) > 1 else 0.0

    @property
    def duration(self) -> float:
        """Seconds from the first to the last observation."""
        return (self._stamps[-1] - self.start_ns) * 1e-9

    def at(self, stamp_ns: int) -> Observation:
        """The observation nearest to a stamp.

        Raises:
            InvalidBag: none within half a period.
        """
        place = bisect_left(self._stamps, stamp_ns)
        nearest = min(self._stamps[max(place - 1, 0) : place + 1], key=lambda stamp: abs(stamp - stamp_ns))
        if abs(nearest - stamp_ns) * 1e-9 > max(self.period / 2, 1e-3):
            raise InvalidBag(f"no images at {(stamp_ns - self.start_ns) * 1e-9:.3f} s of the bag")
        return self.observations[nearest]

    def instants(self, count: int, *, horizon: float) -> tuple[int, ...]:
        """`count` stamps spread evenly, each with `horizon` [s] of recording behind it.

        Raises:
            InvalidBag: the bag is shorter than the horizon.
        """
        last = self._stamps[-1] - round(horizon * 1e9)
        usable = [stamp for stamp in self._stamps if stamp <= last]
        if not usable:
            raise InvalidBag(f"the bag shows {(self._stamps[-1] - self._stamps[0]) * 1e-9:.1f} s, needed {horizon} s")
        places = np.linspace(0, len(usable) - 1, min(count, len(usable))).round().astype(int)
        return tuple(usable[place] for place in places)

    def holding(self, stamp_ns: int) -> bool:
        """Whether the fingers were told to close further than they could: something is between them."""
        gripper = self.robot.gripper
        if gripper is None:
            return False
        measured, commanded = self.at(stamp_ns).joint_positions, self._commanded(stamp_ns)
        gaps = [measured[name] - commanded[name] for name in gripper.joints if name in commanded]
        return bool(gaps) and min(gaps) > GRIP

    def _commanded(self, stamp_ns: int) -> Mapping[str, float]:
        try:
            motion = self.commands.after(stamp_ns, SETTLED)
        except InvalidTrajectory:
            return {}
        return dict(zip(motion.joint_names, motion.positions[0].tolist(), strict=True))


def _check(inputs: WorldModelInputs, path: Path) -> None:
    missing = [what for what in inputs.missing if what != "tf_static" or not inputs.tf]
    if not inputs.command:
        missing.append("commanded trajectories: arm_controller/joint_trajectory")
    if missing:
        raise InvalidBag(f"'{path}' lacks: " + "; ".join(missing))


def _observe(reader: BagReader, inputs: WorldModelInputs, robot: RobotModel, every: float) -> dict[int, Observation]:
    next_ns = 0

    def wanted(stamp_ns: int) -> bool:
        nonlocal next_ns
        if stamp_ns < next_ns:
            return False
        next_ns = stamp_ns + max(1, round((every - SLACK) * 1e9))
        return True

    return {found.stamp_ns: found for found in observations(reader, inputs, robot, wanted=wanted)}
