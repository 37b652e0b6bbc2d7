"""The newest state of a simulation, for those who wait for the next one."""

import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Instant:
    """The robot after one tick.

    Args:
        stamp_ns: of the ROS clock [ns].
        positions: measured, by joint name [rad | m].
        velocities: measured [rad/s | m/s].
        efforts: of the servos [N m | N].
        setpoint: commanded positions [rad | m].
    """

    stamp_ns: int
    positions: Mapping[str, float]
    velocities: Mapping[str, float]
    efforts: Mapping[str, float]
    setpoint: Mapping[str, float]

    @property
    def time(self) -> float:
        """Seconds of the ROS clock."""
        return self.stamp_ns * 1e-9


class Instants:
    """A board on which one thread writes and many wait.

    Args:
        first: the state before the first tick.
    """

    def __init__(self, first: Instant) -> None:
        self._newest = first
        self._open = True
        self._changed = threading.Condition()

    @property
    def newest(self) -> Instant:
        """The state after the last tick."""
        return self._newest

    def put(self, instant: Instant) -> None:
        """Write the state of a new tick."""
        with self._changed:
            self._newest = instant
            self._changed.notify_all()

    def close(self) -> None:
        """End every `follow`."""
        with self._changed:
            self._open = False
            self._changed.notify_all()

    def follow(self) -> Iterator[Instant]:
        """The newest state, then the next ones as they come (some may be skipped), until `close`."""
        seen: Instant | None = None
        while True:
            with self._changed:
                while self._newest is seen and self._open:
                    self._changed.wait()
                if not self._open:
                    return
                seen = self._newest
            yield seen
