"""The commanded motion over a whole recording, put together from its command messages."""

from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from fourd_ros.errors import InvalidTrajectory
from fourd_ros.records import RobotTrajectory

NS = 1_000_000_000
MIN_SPACING = 1e-3


@dataclass
class _Setpoints:
    """Knots of one joint: absolute times [ns], increasing, and positions [rad | m]."""

    stamps: list[int] = field(default_factory=list)
    positions: list[float] = field(default_factory=list)

    def at(self, stamp_ns: int) -> float:
        """Linear between knots, held beyond them."""
        right = bisect_left(self.stamps, stamp_ns)
        if right == 0 or right == len(self.stamps) or self.stamps[right] == stamp_ns:
            return self.positions[min(right, len(self.stamps) - 1)]
        left = right - 1
        fraction = (stamp_ns - self.stamps[left]) / (self.stamps[right] - self.stamps[left])
        return self.positions[left] + fraction * (self.positions[right] - self.positions[left])

    def between(self, first_ns: int, last_ns: int) -> list[int]:
        """Knots strictly inside a range [ns]."""
        return self.stamps[bisect_right(self.stamps, first_ns) : bisect_left(self.stamps, last_ns)]

    def cut(self, stamp_ns: int) -> None:
        """Forget what would have come after `stamp_ns`; the set point reached by then becomes the last knot."""
        reached = self.at(stamp_ns)
        keep = bisect_left(self.stamps, stamp_ns)
        del self.stamps[keep:], self.positions[keep:]
        self.append(stamp_ns, reached)

    def forget(self, before_ns: int) -> None:
        """Drop the knots that say nothing about `before_ns` and later."""
        old = bisect_right(self.stamps, before_ns) - 1
        if old > 0:
            del self.stamps[:old], self.positions[:old]

    def append(self, stamp_ns: int, position: float) -> None:
        """A later knot, or another position for the last one."""
        if self.stamps and stamp_ns == self.stamps[-1]:
            self.positions[-1] = position
        elif not self.stamps or stamp_ns > self.stamps[-1]:
            self.stamps.append(stamp_ns)
            self.positions.append(position)


class CommandSeries:
    """Set points of every joint over absolute time; each added trajectory overrides what it follows.

    A trajectory starts at its stamp, as a joint trajectory controller executes it: from the set point reached by
    then, linear through its points, holding the last. Joints it does not name keep their command.
    """

    def __init__(self) -> None:
        self._joints: dict[str, _Setpoints] = {}

    def __bool__(self) -> bool:
        return bool(self._joints)

    def add(self, trajectory: RobotTrajectory, stamp_ns: int, *, measured: "CommandSeries | None" = None) -> None:
        """Take a command.

        Args:
            trajectory: what was commanded, with times from `stamp_ns`.
            stamp_ns: when it took over [ns], not before the commands added so far.
            measured: where joints were that had never been commanded before.
        """
        stamps = [stamp_ns + round(float(time) * NS) for time in trajectory.times]
        for name, positions in zip(trajectory.joint_names, trajectory.positions.T.tolist(), strict=True):
            joint = self._joints.setdefault(name, _Setpoints())
            if joint.stamps:
                joint.cut(stamp_ns)
            elif measured is not None and name in measured._joints:
                joint.append(stamp_ns, measured._joints[name].at(stamp_ns))
            for stamp, position in zip(stamps, positions, strict=True):
                joint.append(stamp, position)

    def add_sample(self, positions: Mapping[str, float], stamp_ns: int) -> None:
        """Take one point of a motion that is known point by point (measured joints, for instance)."""
        for name, position in positions.items():
            self._joints.setdefault(name, _Setpoints()).append(stamp_ns, position)

    def at(self, names: Sequence[str], stamp_ns: int) -> NDArray[np.float64]:
        """Set points of J joints at one instant [rad | m], NaN for those that have no command yet, shape [J]."""
        joints = [self._joints.get(name) for name in names]
        return np.array([joint.at(stamp_ns) if joint and joint.stamps[0] <= stamp_ns else np.nan for joint in joints])

    def forget(self, before_ns: int) -> None:
        """Drop what is of no account for `before_ns` and later, so that a long recording needs little memory."""
        for joint in self._joints.values():
            joint.forget(before_ns)

    def after(self, stamp_ns: int, horizon: float) -> RobotTrajectory:
        """What is commanded from `stamp_ns` on, times from there.

        Args:
            stamp_ns: beginning [ns].
            horizon: length [s].

        Raises:
            InvalidTrajectory: nothing was ever commanded up to the end of the horizon, or it is not positive.
        """
        end_ns = stamp_ns + round(horizon * NS)
        begun = {name: joint for name, joint in self._joints.items() if joint.stamps[0] < end_ns}
        if not begun or horizon <= 0:
            raise InvalidTrajectory(f"no command within {horizon} s; record the command topic, or use measured joints")
        knots = sorted({stamp for joint in begun.values() for stamp in joint.between(stamp_ns, end_ns)})
        stamps = _spaced([stamp_ns, *knots, end_ns])
        return RobotTrajectory(
            joint_names=tuple(begun),
            times=np.array([(stamp - stamp_ns) / NS for stamp in stamps]),
            positions=np.array([[joint.at(stamp) for joint in begun.values()] for stamp in stamps]),
        )


def _spaced(stamps: list[int]) -> list[int]:
    """Without knots closer than `MIN_SPACING` to the one before; first and last stay."""
    spaced = stamps[:1]
    for stamp in stamps[1:-1]:
        if stamp - spaced[-1] >= MIN_SPACING * NS and stamps[-1] - stamp >= MIN_SPACING * NS:
            spaced.append(stamp)
    return [*spaced, stamps[-1]]
