"""``sensor_msgs/JointState`` <-> positions by joint name."""

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
    names = [str(name) for name in msg.name]
    check_names(names)
    if len(msg.position) == 0:
        return {}
    if len(msg.position) != len(names):
        raise InvalidJoints(f"{len(msg.position)} positions for {len(names)} joint names")
    positions = np.asarray(msg.position, dtype=np.float64)
    finite = np.isfinite(positions)
    if not finite.all():
        raise InvalidJoints(f"positions of {[n for n, ok in zip(names, finite, strict=True) if not ok]} are not finite")
    return dict(zip(names, positions.tolist(), strict=True))


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
