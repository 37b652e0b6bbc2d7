"""Actions of a recording: what was asked of the robot, as named numbers, from messages of several types."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fourd_ros.bridge.held_values import HeldValues
from fourd_ros.bridge.joints import joint_positions, joint_velocities
from fourd_ros.bridge.trajectories import trajectory_from_message
from fourd_ros.data.command_series import CommandSeries
from fourd_ros.errors import InvalidInput

Values = Mapping[str, float]

MAX_VALUES = 1000
TRAJECTORY = "trajectory_msgs/msg/JointTrajectory"


def _vector(prefix: str, vector: Any) -> dict[str, float]:
    return {f"{prefix}.{axis}": float(getattr(vector, axis)) for axis in "xyz"}


def _twist(twist: Any) -> Values:
    return _vector("linear", twist.linear) | _vector("angular", twist.angular)


def _pose(pose: Any) -> Values:
    turned = pose.orientation
    return _vector("position", pose.position) | _vector("orientation", turned) | {"orientation.w": float(turned.w)}


def _array(msg: Any) -> Values:
    if len(msg.data) > MAX_VALUES:
        raise InvalidInput(f"{len(msg.data)} numbers in one action; at most {MAX_VALUES} are read")
    return {str(index): float(value) for index, value in enumerate(msg.data)}


def _joints(msg: Any) -> Values:
    return joint_positions(msg) or joint_velocities(msg)


_READERS: dict[str, Callable[[Any], Values]] = {
    "geometry_msgs/msg/Twist": _twist,
    "geometry_msgs/msg/TwistStamped": lambda msg: _twist(msg.twist),
    "geometry_msgs/msg/Pose": _pose,
    "geometry_msgs/msg/PoseStamped": lambda msg: _pose(msg.pose),
    "sensor_msgs/msg/JointState": _joints,
    "std_msgs/msg/Float64MultiArray": _array,
    "std_msgs/msg/Float32MultiArray": _array,
    "std_msgs/msg/Float64": lambda msg: {"data": float(msg.data)},
    "std_msgs/msg/Float32": lambda msg: {"data": float(msg.data)},
    "std_msgs/msg/Bool": lambda msg: {"data": float(msg.data)},
}
ACTION_TYPES = (*_READERS, TRAJECTORY)


class ActionTopic:
    """Actions of one topic; each holds until the next, a trajectory is followed along its points.

    Args:
        typename: one of `ACTION_TYPES`.
        first: the first message, which says how many numbers there are and what they are called.
        prefix: put before their names.

    Attributes:
        names: of the values.

    Raises:
        InvalidInput: another type, or a message that cannot be used.
    """

    def __init__(self, typename: str, first: Any, *, prefix: str = "") -> None:
        if typename not in ACTION_TYPES:
            raise InvalidInput(f"actions of type '{typename}'; readable: {', '.join(ACTION_TYPES)}")
        self._read = _READERS.get(typename)
        self._keys = tuple(self._read(first) if self._read else trajectory_from_message(first).joint_names)
        self.names = tuple(prefix + key for key in self._keys)
        self.restart()

    def take(self, stamp_ns: int, message: Any) -> None:
        """Take a message that holds from `stamp_ns` on.

        Raises:
            InvalidInput: numbers that are not finite, or other names than in the first message.
        """
        if self._read is None:
            self._trajectories.add(trajectory_from_message(message), stamp_ns)
            return
        values = self._read(message)
        if set(values) != set(self._keys):
            raise InvalidInput(f"an action with {sorted(values)}, the first had {sorted(self._keys)}")
        row = np.array([values[key] for key in self._keys])
        if not np.isfinite(row).all():
            raise InvalidInput(f"an action that is not finite: {row.tolist()}")
        self._held.add(stamp_ns, row)

    def at(self, stamp_ns: int) -> NDArray[np.float64] | None:
        """The values that hold at an instant, in the order of `names`; None before the first."""
        if self._read is not None:
            return self._held.at(stamp_ns)
        row = self._trajectories.at(self._keys, stamp_ns)
        return row if np.isfinite(row).all() else None

    def forget(self, before_ns: int) -> None:
        """Drop what is of no account for `before_ns` and later."""
        self._held.forget(before_ns)
        self._trajectories.forget(before_ns)

    def restart(self) -> None:
        """The clock was set back: former actions no longer hold."""
        self._held = HeldValues[NDArray[np.float64]]()
        self._trajectories = CommandSeries()
