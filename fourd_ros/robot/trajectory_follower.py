"""From joint trajectories to set points in time."""

from collections.abc import Mapping

import numpy as np

from fourd_ros.records import FloatArray, RobotTrajectory


class TrajectoryFollower:
    """Set points of the newest commanded trajectory; joints it does not name keep theirs.

    Args:
        positions: commanded positions at the start [rad | m].
    """

    def __init__(self, positions: Mapping[str, float]) -> None:
        self._held = dict(positions)
        self._trajectory: RobotTrajectory | None = None
        self._velocities = np.zeros((0, 0))
        self._start = 0.0

    def follow(self, trajectory: RobotTrajectory, *, start: float, now: float) -> None:
        """Replace what is being followed; `start` is the time [s] of the trajectory's zero.

        A first point later than zero is reached from the set point of `now`.
        """
        self._held = self.setpoint(now)[0]
        if trajectory.times[0] > 0:
            here = np.array([[self._held[name] for name in trajectory.joint_names]])
            trajectory = RobotTrajectory(
                joint_names=trajectory.joint_names,
                times=np.append(max(0.0, min(now - start, trajectory.times[0] / 2)), trajectory.times),
                positions=np.concatenate([here, trajectory.positions]),
            )
        self._trajectory, self._start = trajectory, start
        self._velocities = _slopes(trajectory)

    def hold(self, *, now: float) -> None:
        """Stop where the command stands."""
        self._held = self.setpoint(now)[0]
        self._trajectory = None

    @property
    def bends(self) -> FloatArray:
        """Times of the points that are followed [s], between which set points are linear, shape [T]."""
        return np.zeros(0) if self._trajectory is None else self._start + self._trajectory.times

    @property
    def end(self) -> float:
        """Time [s] of the last point; minus infinity when nothing is being followed."""
        return -np.inf if self._trajectory is None else self._start + float(self._trajectory.times[-1])

    def setpoint(self, now: float) -> tuple[dict[str, float], dict[str, float]]:
        """Commanded positions [rad | m] and velocities [rad/s | m/s] at `now` [s]."""
        positions, velocities = dict(self._held), dict.fromkeys(self._held, 0.0)
        if self._trajectory is not None:
            names, times, elapsed = self._trajectory.joint_names, self._trajectory.times, now - self._start
            positions |= zip(names, _between(elapsed, times, self._trajectory.positions).tolist(), strict=True)
            if times[0] <= elapsed <= times[-1]:
                velocities |= zip(names, _between(elapsed, times, self._velocities).tolist(), strict=True)
        return positions, velocities


def _between(time: float, times: FloatArray, rows: FloatArray) -> FloatArray:
    """The row [J] of `rows` [T, J] at one time, linear between them and held beyond the ends."""
    index = int(np.searchsorted(times, time, side="right")) - 1
    if index < 0 or index + 1 == len(times):
        return np.asarray(rows[max(index, 0)])
    slope = (rows[index + 1] - rows[index]) / (times[index + 1] - times[index])
    return np.asarray(slope * (time - times[index]) + rows[index])


def _slopes(trajectory: RobotTrajectory) -> FloatArray:
    """Velocity at every point, shape [T, J]."""
    if len(trajectory.times) < 2:
        return np.zeros_like(trajectory.positions)
    return np.asarray(np.gradient(trajectory.positions, trajectory.times, axis=0))
