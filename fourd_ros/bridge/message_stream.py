"""Serialised messages of one topic that may still be needed, by their stamps."""

from bisect import bisect_left
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Stamped:
    """A serialised message with its stamp and the time it was recorded [ns]."""

    stamp_ns: int
    recorded_ns: int
    data: bytes


class MessageStream:
    """Kept in the order of their stamps, whatever the order they came in."""

    def __init__(self) -> None:
        self._stamps: list[int] = []
        self._messages: list[Stamped] = []
        self._forgotten_ns = -1

    def add(self, message: Stamped) -> bool:
        """Keep a message; False for one of a stamp that is there already, or that was forgotten."""
        place = bisect_left(self._stamps, message.stamp_ns)
        known = place < len(self._stamps) and self._stamps[place] == message.stamp_ns
        if known or message.stamp_ns <= self._forgotten_ns:
            return False
        self._stamps.insert(place, message.stamp_ns)
        self._messages.insert(place, message)
        return True

    @property
    def oldest(self) -> Stamped | None:
        """The message of the earliest stamp."""
        return self._messages[0] if self._messages else None

    def nearest(self, stamp_ns: int) -> Stamped | None:
        """The message nearest to an instant, the earlier of two that are equally near."""
        place = bisect_left(self._stamps, stamp_ns)
        around = self._messages[max(place - 1, 0) : place + 1]
        return min(around, key=lambda message: abs(message.stamp_ns - stamp_ns), default=None)

    def reaches(self, stamp_ns: int) -> bool:
        """Whether a message at `stamp_ns` or later is here, so that the nearest is known."""
        return bool(self._stamps) and self._stamps[-1] >= stamp_ns

    def forget(self, before_ns: int) -> None:
        """Drop what is older than `before_ns`."""
        place = bisect_left(self._stamps, before_ns)
        if place:
            self._forgotten_ns = self._stamps[place - 1]
            del self._stamps[:place], self._messages[:place]

    def forget_recorded(self, before_ns: int) -> None:
        """Drop what was recorded before `before_ns` and that nobody asked for since."""
        waiting = [message.stamp_ns for message in self._messages if message.recorded_ns >= before_ns]
        self.forget(waiting[0] if waiting else self._stamps[-1] + 1 if self._stamps else 0)
