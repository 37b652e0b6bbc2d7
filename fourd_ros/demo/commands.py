"""The commanded motion of a bag: every trajectory holds until a newer one of the same joint begins."""

from bisect import bisect_right
from collections.abc import Iterable
from typing import Any

import numpy as np

from fourd_ros.bridge.times import stamp_to_ns
from fourd_ros.bridge.trajectories import trajectory_from_message
from fourd_ros.errors import InvalidTrajectory
from fourd_ros.records import RobotTrajectory

PERIOD = 0.05
"""Time between the points of a motion read from a timeline [s]."""


class CommandTimeline:
    """Commanded positions of every joint at any time.

    Args:
        commands: start [ns] and motion of every command, in order of time.
    """

    def __init__(self, commands: Iterable[tuple[int, RobotTrajectory]]) -> None:
        self._starts: dict[str, list[int]] = {}
        self._motions: dict[str, list[tuple[RobotTrajectory, int]]] = {}
        for start_ns, trajectory in commands:
            for column, name in enumerate(trajectory.joint_names):
                self._starts.setdefault(name, []).append(start_ns)
                self._motions.setdefault(name, []).append((trajectory, column))

    @classmethod
    def of(cls, messages: Iterable[tuple[int, Any]]) -> "CommandTimeline":
        """From ``JointTrajectory`` messages and their times of recording [ns]; stamp 0 starts at the latter."""
        return cls(
            (stamp_to_ns(message.header.stamp) or recorded_ns, trajectory_from_message(message))
            for recorded_ns, message in messages
        )

    def at(self, stamp_ns: int) -> dict[str, float]:
        """Commanded positions by joint [rad | m]; joints without a command so far are left out."""
        found = {}
        for name, starts in self._starts.items():
            place = bisect_right(starts, stamp_ns) - 1
            if place < 0:
                continue
            trajectory, column = self._motions[name][place]
            elapsed = (stamp_ns - starts[place]) * 1e-9
            found[name] = float(np.interp(elapsed, trajectory.times, trajectory.positions[:, column]))
        return found

    def over(self, start_ns: int, *, horizon: float) -> RobotTrajectory:
        """The motion commanded from `start_ns` on, for `horizon` [s].

        Raises:
            InvalidTrajectory: nothing has been commanded by then.
        """
        times = np.arange(0, horizon + PERIOD / 2, PERIOD)
        names = tuple(self.at(start_ns))
        if not names:
            raise InvalidTrajectory(f"nothing was commanded before {start_ns * 1e-9:.3f} s")
        steps = [self.at(start_ns + round(time * 1e9)) for time in times]
        positions = np.array([[step[name] for name in names] for step in steps])
        return RobotTrajectory(joint_names=names, times=times, positions=positions)
