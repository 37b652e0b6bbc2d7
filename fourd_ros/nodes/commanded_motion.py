"""What the simulated robot was last told to do; arm and gripper are told separately."""

import threading
from collections.abc import Mapping, Sequence

import numpy as np

from fourd_ros.records import RobotTrajectory
from fourd_ros.robot.trajectory_follower import TrajectoryFollower

Setpoint = tuple[dict[str, float], dict[str, float]]


class CommandedMotion:
    """Set points in time, one follower for each group of joints. Thread-safe.

    Args:
        groups: names of the joints that are commanded together.
        positions: commanded at the start [rad | m].
        now: time of the start [s].
    """

    def __init__(self, groups: Sequence[Sequence[str]], positions: Mapping[str, float], *, now: float) -> None:
        self._groups = tuple(tuple(group) for group in groups)
        self._lock = threading.Lock()
        self._newest = dict.fromkeys(self._groups, 0)
        self._now = now
        self.reset(positions)

    def reset(self, positions: Mapping[str, float]) -> None:
        """Hold `positions`; what was commanded before is superseded."""
        with self._lock:
            self._followers = {
                group: TrajectoryFollower({name: positions[name] for name in group}) for group in self._groups
            }
            self._supersede(self._groups)

    def follow(self, trajectory: RobotTrajectory, *, start: float | None = None) -> "Command":
        """Follow `trajectory`; joints of a touched group that it does not name hold.

        Args:
            trajectory: of joints that are commanded.
            start: time of its zero [s]; that of the last set point if not given.
        """
        touched = [group for group in self._groups if set(group) & set(trajectory.joint_names)]
        with self._lock:
            start = self._now if start is None else start
            for group in touched:
                self._followers[group].follow(_columns(trajectory, group), start=start, now=self._now)
            return Command(self, self._supersede(touched), start=start, given=self._now)

    def setpoint(self, now: float) -> Setpoint:
        """Time is `now` [s]: commanded positions [rad | m] and velocities [rad/s | m/s] of all joints."""
        positions: dict[str, float] = {}
        velocities: dict[str, float] = {}
        with self._lock:
            self._now = now
            for follower in self._followers.values():
                at, rate = follower.setpoint(now)
                positions |= at
                velocities |= rate
        return positions, velocities

    def _supersede(self, groups: Sequence[tuple[str, ...]]) -> dict[tuple[str, ...], int]:
        for group in groups:
            self._newest[group] += 1
        return {group: self._newest[group] for group in groups}

    def _is_current(self, numbers: Mapping[tuple[str, ...], int]) -> bool:
        return all(self._newest[group] == number for group, number in numbers.items())

    def _hold(self, numbers: Mapping[tuple[str, ...], int]) -> None:
        with self._lock:
            for group, number in numbers.items():
                if self._newest[group] == number:
                    self._followers[group].hold(now=self._now)


class Command:
    """One command that was given, until a newer one takes its joints.

    Attributes:
        start: time of the trajectory's zero [s].
        given: time of the last set point before it [s]; what is measured later may follow it.
    """

    def __init__(
        self, motion: CommandedMotion, numbers: Mapping[tuple[str, ...], int], *, start: float, given: float
    ) -> None:
        self._motion, self._numbers = motion, numbers
        self.start, self.given = start, given

    @property
    def is_current(self) -> bool:
        """False once a newer command took one of its groups of joints."""
        return self._motion._is_current(self._numbers)

    def hold(self) -> None:
        """Stop where the set points stand now, if nobody else took over."""
        self._motion._hold(self._numbers)


def _columns(trajectory: RobotTrajectory, group: Sequence[str]) -> RobotTrajectory:
    names = tuple(name for name in trajectory.joint_names if name in group)
    columns = [trajectory.joint_names.index(name) for name in names]
    return RobotTrajectory(
        joint_names=names, times=trajectory.times, positions=np.array(trajectory.positions[:, columns])
    )
