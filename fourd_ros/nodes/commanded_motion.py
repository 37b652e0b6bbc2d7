"""What a robot was last told to do; arm and gripper are told separately."""

import threading
from collections.abc import Mapping, Sequence

import numpy as np

from fourd_ros.errors import FourdError
from fourd_ros.records import RobotTrajectory
from fourd_ros.robot.trajectory_follower import TrajectoryFollower

Setpoint = tuple[dict[str, float], dict[str, float]]


class CommandedMotion:
    """Set points in time, one follower for each group of joints. Thread-safe.

    Time is reckoned from the last reset in whole nanoseconds, so that the same commands give the same set points to the
    last bit, whenever they are given.

    Args:
        groups: names of the joints that are commanded together.
        positions: commanded at the start [rad | m].
        now: time of the start [s].

    Attributes:
        changes: how often the motion to come was changed.
    """

    def __init__(self, groups: Sequence[Sequence[str]], positions: Mapping[str, float], *, now: float) -> None:
        self._groups = tuple(tuple(group) for group in groups)
        self._lock = threading.Lock()
        self._newest = dict.fromkeys(self._groups, 0)
        self._now = now
        self.changes = 0
        self.reset(positions)

    def reset(self, positions: Mapping[str, float]) -> None:
        """Hold `positions`; what was commanded before is superseded, and commands are taken again."""
        with self._lock:
            self._refusal: FourdError | None = None
            self._origin = self._now
            self._followers = {
                group: TrajectoryFollower({name: positions[name] for name in group}) for group in self._groups
            }
            self._supersede(self._groups)

    def follow(self, trajectory: RobotTrajectory, *, start: float | None = None) -> "Command":
        """Follow `trajectory`; joints of a touched group that it does not name hold.

        Args:
            trajectory: of joints that are commanded.
            start: time of its zero [s]; that of the last set point if not given.

        Raises:
            FourdError: commands are refused.
        """
        touched = [group for group in self._groups if set(group) & set(trajectory.joint_names)]
        with self._lock:
            if self._refusal is not None:
                raise self._refusal
            start = self._now if start is None else start
            for group in touched:
                self._followers[group].follow(
                    _columns(trajectory, group), start=self._since_reset(start), now=self._since_reset(self._now)
                )
            return Command(self, self._supersede(touched), start=start, given=self._now)

    def setpoint(self, now: float) -> Setpoint:
        """Time is `now` [s]: commanded positions [rad | m] and velocities [rad/s | m/s] of all joints."""
        positions: dict[str, float] = {}
        velocities: dict[str, float] = {}
        with self._lock:
            self._now = now
            for follower in self._followers.values():
                at, rate = follower.setpoint(self._since_reset(now))
                positions |= at
                velocities |= rate
        return positions, velocities

    def future(self) -> RobotTrajectory:
        """What all joints are commanded to do from the last set point on, which is its time 0; held after its end."""
        with self._lock:
            bends = np.concatenate([follower.bends for follower in self._followers.values()])
            now = self._since_reset(self._now)
            times = np.concatenate([[now], np.unique(bends[bends > now])])
            rows = [
                {name: at for follower in self._followers.values() for name, at in follower.setpoint(time)[0].items()}
                for time in times.tolist()
            ]
        return RobotTrajectory(
            joint_names=tuple(rows[0]), times=times - times[0], positions=np.array([list(row.values()) for row in rows])
        )

    def refuse(self, reason: FourdError) -> None:
        """Stop where the set points stand now, and raise `reason` for every command until the reset."""
        with self._lock:
            self._refusal = reason
            for follower in self._followers.values():
                follower.hold(now=self._since_reset(self._now))
            self._supersede(self._groups)

    def _since_reset(self, time: float) -> float:
        return round(time - self._origin, 9)

    def _supersede(self, groups: Sequence[tuple[str, ...]]) -> dict[tuple[str, ...], int]:
        self.changes += 1
        for group in groups:
            self._newest[group] += 1
        return {group: self._newest[group] for group in groups}

    def _is_current(self, numbers: Mapping[tuple[str, ...], int]) -> bool:
        return all(self._newest[group] == number for group, number in numbers.items())

    def _hold(self, numbers: Mapping[tuple[str, ...], int]) -> None:
        with self._lock:
            self.changes += 1
            for group, number in numbers.items():
                if self._newest[group] == number:
                    self._followers[group].hold(now=self._since_reset(self._now))


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
