"""``sensor_msgs/JointState`` <-> positions by joint name."""

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fourd_ros.errors import InvalidJoints

MAX_JOINTS = 1024


def check_names(names: Sequence[str]) -> None:
    """Refuse too many, empty or duplicate joint names.

    Raises:
        InvalidJoints: names which of them.
    """
    if len(names) > MAX_JOINTS:
        raise InvalidJoints(f"{len(names)} joint names; more than {MAX_JOINTS} are refused")
    repeated = [name for name, count in Counter(names).items() if count > 1]
    if repeated:
        raise InvalidJoints(f"duplicate joint names {repeated}")
    if "" in names:
        raise InvalidJoints("a joint has an empty name")


def joint_positions(msg: Any) -> dict[str, float]:
    """Positions by joint name [rad | m], in the order of the message; any order is fine.

    A message without positions (velocities or efforts only) gives an empty mapping.

    Raises:
        InvalidJoints: duplicate names, as many positions as names are needed, or positions that are not finite.
    """
    positions = _by_name(msg, msg.position, "positions")
    unusable = [name for name, position in positions.items() if not math.isfinite(position)]
    if unusable:
        raise InvalidJoints(f"positions of {unusable} are not finite")
    return positions


def joint_velocities(msg: Any) -> dict[str, float]:
    """Velocities by joint name [rad/s | m/s] of those that were measured.

    Raises:
        InvalidJoints: duplicate names, or a number of velocities that is neither none nor that of the names.
    """
    velocities = _by_name(msg, msg.velocity, "velocities")
    return {name: velocity for name, velocity in velocities.items() if math.isfinite(velocity)}


def _by_name(msg: Any, numbers: Sequence[float], what: str) -> dict[str, float]:
    names = [str(name) for name in msg.name]
    check_names(names)
    if len(numbers) not in (0, len(names)):
        raise InvalidJoints(f"{len(numbers)} {what} for {len(names)} joint names")
    return dict(zip(names, np.asarray(numbers, np.float64).tolist(), strict=False))


def make_joint_state(header: Any, names: Sequence[str], positions: NDArray[np.float64] | Sequence[float]) -> Any:
    """``sensor_msgs/JointState`` with positions only.

    Args:
        header: ``std_msgs/Header`` with the time of the measurement.
        names: J joint names.
        positions: [rad | m], shape [J].

    Raises:
        InvalidJoints: duplicate names or another number of positions.
    """
    from sensor_msgs.msg import JointState

    check_names(names)
    if len(positions) != len(names):
        raise InvalidJoints(f"{len(positions)} positions for {len(names)} joint names")
    return JointState(
        header=header,
        name=list(names),
        position=[float(position) for position in positions],
    )
