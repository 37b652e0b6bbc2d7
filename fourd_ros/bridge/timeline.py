"""Which time a message belongs to, when the clock of a recording is set back or a stamp is wrong."""

from enum import Enum

from fourd_ros.bridge.times import seconds_to_ns

BACKWARD_NS = seconds_to_ns(1.0)
"""Messages of one topic may come out of order by this much."""

FORWARD_NS = seconds_to_ns(10.0)
"""A stamp that is ahead of the one before by more has to be confirmed."""

ONE_CLOCK_NS = seconds_to_ns(1.0)
"""Times of recording and of headers that differ by less are of one clock."""


class Place(Enum):
    """Where a stamp belongs."""

    NOW = "the time that runs"
    RESTART = "the clock was set back; from here on this is the time that runs"
    PAST = "the time before the clock was set back"
    DOUBTFUL = "a leap that the next message of the topic has to confirm"


class Timeline:
    """Tells a clock that was set back (a bag in a loop, a restarted simulation) from single wrong stamps.

    A leap in either direction counts from the second message of the topic on that says the same; the first is in doubt.
    Once one topic has set the clock back, the others follow without doubt.
    """

    def __init__(self) -> None:
        self._last: dict[str, int] = {}
        self._era: dict[str, int] = {}
        self._doubt: dict[str, int] = {}
        self._current = 0
        self._now_ns = self._former_ns = 0
        self._offset_ns = 0

    def begin(self, stamp_ns: int, recorded_ns: int) -> None:
        """Learn from one message how stamps and times of recording differ."""
        self._offset_ns = recorded_ns - stamp_ns

    def place(self, topic: str, stamp_ns: int, recorded_ns: int) -> Place:
        """Where the next message of `topic` belongs.

        Args:
            topic: its name.
            stamp_ns: of its header [ns].
            recorded_ns: when it was recorded [ns].
        """
        place = self._place(topic, stamp_ns)
        if place in (Place.NOW, Place.RESTART):
            self._doubt.pop(topic, None)
            self._era[topic] = self._current
            self._now_ns = stamp_ns if place is Place.RESTART else max(self._now_ns, stamp_ns)
            self.begin(stamp_ns, recorded_ns)
        if place is not Place.DOUBTFUL:
            self._last[topic] = stamp_ns
        return place

    def of_recording(self, recorded_ns: int) -> int:
        """Stamp of a message without one: its time of recording, on the clock of the headers [ns]."""
        return recorded_ns if abs(self._offset_ns) < ONE_CLOCK_NS else recorded_ns - self._offset_ns

    @property
    def now_ns(self) -> int:
        """The newest stamp of the time that runs [ns]."""
        return self._now_ns

    def _place(self, topic: str, stamp_ns: int) -> Place:
        last = self._last.get(topic)
        if self._era.get(topic, self._current) != self._current:
            former = abs(stamp_ns - self._former_ns) < abs(stamp_ns - self._now_ns)
            return Place.PAST if former else Place.NOW
        if last is None or follows(stamp_ns, last):
            return Place.NOW
        doubt = self._doubt.get(topic)
        if doubt is None or not follows(stamp_ns, doubt):
            self._doubt[topic] = stamp_ns
            return Place.DOUBTFUL
        if stamp_ns > last:
            return Place.NOW
        self._current += 1
        self._former_ns = self._now_ns
        return Place.RESTART


def follows(stamp_ns: int, former_ns: int) -> bool:
    """Whether a stamp can come after another without a leap."""
    return -BACKWARD_NS <= stamp_ns - former_ns <= FORWARD_NS
