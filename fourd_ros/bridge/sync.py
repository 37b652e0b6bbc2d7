"""Messages of several topics that belong to one instant."""

import threading
from bisect import insort
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from fourd_ros.bridge.times import seconds_to_ns


@dataclass(order=True)
class _Stamped:
    stamp_ns: int
    message: Any = field(compare=False)


@dataclass
class _Queue:
    """Unused messages of one topic, oldest first."""

    waiting: list[_Stamped] = field(default_factory=list)
    used_ns: int | None = None
    seen: bool = False

    def add(self, stamped: _Stamped, size: int) -> bool:
        """Keep a message unless a newer one was used already; the oldest makes room."""
        self.seen = True
        if self.used_ns is not None and stamped.stamp_ns <= self.used_ns:
            return False
        insort(self.waiting, stamped)
        del self.waiting[:-size]
        return True

    def nearest(self, stamp_ns: int) -> _Stamped | None:
        return min(self.waiting, key=lambda stamped: abs(stamped.stamp_ns - stamp_ns), default=None)

    def use(self, stamped: _Stamped) -> None:
        """Mark a message as used; older ones can never be used any more."""
        self.used_ns = stamped.stamp_ns
        self.waiting = [other for other in self.waiting if other.stamp_ns > stamped.stamp_ns]


class ApproximateSynchronizer:
    """Brings together one message of each topic whose stamps differ by at most `slop`.

    Messages may come in any order and from any thread. Each is used at most once, sets are given out with rising
    stamps, and when a newer set is complete the older leftovers are dropped. `slop` should stay below half the period
    of the quickest topic, else a neighbour may be taken for a message that was lost.

    Args:
        names: topics; the stamp of a set is that of the first.
        slop: largest difference between the stamps of a set [s].
        queue_size: unused messages kept for each topic.
        callback: called with the stamp [ns] and the messages by name, on the thread that added the last of them.
    """

    def __init__(
        self,
        names: Sequence[str],
        slop: float,
        queue_size: int,
        callback: Callable[[int, Mapping[str, Any]], None],
    ) -> None:
        self._slop_ns = seconds_to_ns(slop)
        self._queue_size = queue_size
        self._callback = callback
        self._queues = {name: _Queue() for name in names}
        self._lock = threading.Lock()

    def add(self, name: str, stamp_ns: int, message: Any) -> None:
        """Take one message; calls back when it completes a set."""
        stamped = _Stamped(stamp_ns, message)
        with self._lock:
            if not self._queues[name].add(stamped, self._queue_size):
                return
            complete = self._complete(name, stamped)
            if complete is None:
                return
            for topic, member in complete.items():
                self._queues[topic].use(member)
        first = next(iter(complete.values()))
        self._callback(first.stamp_ns, {topic: member.message for topic, member in complete.items()})

    def seen(self, name: str) -> bool:
        """Whether a message of that topic came since the start or the last `clear`."""
        with self._lock:
            return self._queues[name].seen

    def clear(self) -> None:
        """Forget everything (the clock jumped)."""
        with self._lock:
            self._queues = {name: _Queue() for name in self._queues}

    def _complete(self, name: str, newest: _Stamped) -> dict[str, _Stamped] | None:
        members = {}
        for topic, queue in self._queues.items():
            member = newest if topic == name else queue.nearest(newest.stamp_ns)
            if member is None:
                return None
            members[topic] = member
        stamps = [member.stamp_ns for member in members.values()]
        return members if max(stamps) - min(stamps) <= self._slop_ns else None
