"""The states of a robot, tick after tick, for those who judge what became of a command."""

import queue
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Instant:
    """The robot after one tick.

    Args:
        stamp_ns: of the ROS clock [ns].
        positions: measured, by joint name [rad | m].
        velocities: measured [rad/s | m/s]; of the joints whose velocity is known.
        efforts: of the servos [N m | N]; of the joints whose effort is known.
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
    """A board on which one thread writes and many read.

    Args:
        first: the state before the first tick.
    """

    def __init__(self, first: Instant) -> None:
        self._newest = first
        self._open = True
        self._lock = threading.Lock()
        self._readers: list[queue.SimpleQueue[Instant | None]] = []

    @property
    def newest(self) -> Instant:
        """The state after the last tick."""
        return self._newest

    def put(self, instant: Instant) -> None:
        """Write the state of a new tick."""
        with self._lock:
            self._newest = instant
            for reader in self._readers:
                reader.put(instant)

    def close(self) -> None:
        """End every `follow`."""
        with self._lock:
            self._open = False
            for reader in self._readers:
                reader.put(None)

    @contextmanager
    def follow(self) -> Iterator[Iterator[Instant]]:
        """Every state written from here on, none skipped however late it is read, until `close`."""
        reader: queue.SimpleQueue[Instant | None] = queue.SimpleQueue()
        with self._lock:
            self._readers.append(reader)
            if not self._open:
                reader.put(None)
        try:
            yield iter(reader.get, None)
        finally:
            with self._lock:
                self._readers.remove(reader)
