"""Plays a bag on its topics: at a rate or as fast as it is read, once or in a loop."""

import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field

from rclpy.node import Node

from fourd_ros.data.bags import BagReader, RawMessage
from fourd_ros.errors import InvalidBag
from fourd_ros.nodes.bag_publishers import BagPublishers

CLOCK_PERIOD = 0.02
DISCOVERY_TIME = 0.5
FAREWELL_TIME = 0.2
NS = 1_000_000_000


@dataclass(frozen=True, kw_only=True)
class PlaySettings:
    """What is played, and how.

    Args:
        rate: recorded seconds per second; 0 is as fast as reliable subscribers receive it (what they do
            not take from their queues in time is theirs to lose: give them deep ones).
        loop: start over at the end; time then jumps back.
        start: seconds after the first message to start at; latched messages from before are sent too.
        duration: seconds to play, None to the end.
        topics: names, None for all.
        remaps: other names by recorded name.
        clock: publish the recorded time on ``/clock``, `CLOCK_PERIOD` apart at most.
        wait_for: topics that must have a subscriber before the first message.
        timeout: longest wait for those, and for slow subscribers when `rate` is 0 [s].
    """

    rate: float = 1.0
    loop: bool = False
    start: float = 0.0
    duration: float | None = None
    topics: Collection[str] | None = None
    remaps: Mapping[str, str] = field(default_factory=dict)
    clock: bool = True
    wait_for: Collection[str] = ()
    timeout: float = 30.0

    def __post_init__(self) -> None:
        if self.rate < 0 or self.start < 0 or (self.duration is not None and self.duration <= 0):
            raise InvalidBag(
                f"rate {self.rate}, start {self.start}, duration {self.duration}: "
                "rate and start must not be negative, duration must be positive"
            )


@dataclass(kw_only=True)
class PlayReport:
    """What was played.

    Args:
        messages: number sent.
        data_bytes: their serialised size.
        passes: times the end was reached.
        worst_lateness: longest delay of a message against its time [s]; 0 when played as fast as possible.
        skipped: types without a Python class here, by topic; their messages were left out.
    """

    messages: int = 0
    data_bytes: int = 0
    passes: int = 0
    worst_lateness: float = 0.0
    skipped: dict[str, str] = field(default_factory=dict)


class BagPlayer:
    """Plays one bag through one node.

    Args:
        node: owns the publishers; need not be spun.
        reader: an open bag.
        settings: what is played, and how.

    Raises:
        InvalidBag: a topic is not in the bag, or the start lies behind its end.
    """

    def __init__(self, node: Node, reader: BagReader, settings: PlaySettings) -> None:
        self._reader, self._settings = reader, settings
        self._first_ns = reader.start_ns + round(settings.start * NS)
        last_ns = reader.end_ns + 1
        self._stop_ns = last_ns if settings.duration is None else self._first_ns + round(settings.duration * NS)
        if self._first_ns >= last_ns:
            raise InvalidBag(f"start at {settings.start} s, but '{reader.path}' lasts {reader.duration:.3f} s")
        wanted = reader.topics.keys() if settings.topics is None else settings.topics
        missing = sorted({*wanted, *settings.wait_for, *settings.remaps} - reader.topics.keys())
        if missing:
            raise InvalidBag(f"'{reader.path}' has no topic {missing}; it has {sorted(reader.topics)}")
        self._publishers = BagPublishers(
            node, [reader.topics[name] for name in wanted], remaps=settings.remaps, clock=settings.clock
        )
        self._stopping = threading.Event()

    @property
    def span(self) -> float:
        """Recorded seconds of one pass."""
        return (min(self._stop_ns, self._reader.end_ns + 1) - self._first_ns) / NS

    def stop(self) -> None:
        """End `play` soon; may be called from another thread or a signal handler."""
        self._stopping.set()

    def play(self, on_progress: Callable[[float], None] = lambda _: None) -> PlayReport:
        """Play until the end, or until `stop`.

        Args:
            on_progress: called with the recorded seconds played of this pass.

        Raises:
            ClockConflict: somebody else publishes ``/clock``.
            NoSubscriber: a topic of ``wait_for`` found no subscriber.
        """
        report = PlayReport(skipped=self._publishers.skipped)
        try:
            self._meet_others()
            while not self._stopping.is_set():
                self._play_once(report, on_progress)
                report.passes += not self._stopping.is_set()
                if not self._settings.loop:
                    break
            self._see_off()
        finally:
            self._publishers.destroy()
        return report

    def _meet_others(self) -> None:
        """Wait for subscribers, and long enough to discover another clock."""
        self._publishers.wait_for_subscribers(
            self._settings.wait_for, timeout=self._settings.timeout, stopped=self._stopping.is_set
        )
        give_up = time.monotonic() + DISCOVERY_TIME
        while self._settings.clock and time.monotonic() < give_up and not self._stopping.is_set():
            self._publishers.check_clock()
            time.sleep(CLOCK_PERIOD)

    def _see_off(self) -> None:
        """Let the last messages arrive: what is under way dies with its publisher."""
        if self._settings.rate == 0 and not self._stopping.is_set():
            self._publishers.flush(timeout=self._settings.timeout)
        self._stopping.wait(FAREWELL_TIME)

    def _play_once(self, report: PlayReport, on_progress: Callable[[float], None]) -> None:
        pace = _Pace(rate=self._settings.rate, first_ns=self._first_ns, stopping=self._stopping)
        self._publishers.publish_clock(self._first_ns)
        for message in self._latched_before(self._first_ns):
            self._send(message, report)
        for message in self._messages():
            for tick_ns in pace.ticks_until(message.stamp_ns):
                self._publishers.publish_clock(tick_ns)
                on_progress((tick_ns - self._first_ns) / NS)
            if self._stopping.is_set():
                return
            report.worst_lateness = max(report.worst_lateness, pace.lateness(message.stamp_ns))
            self._send(message, report)

    def _messages(self) -> Iterator[RawMessage]:
        return self._reader.raw(self._publishers.topics, start_ns=self._first_ns, stop_ns=self._stop_ns)

    def _latched_before(self, stamp_ns: int) -> Iterator[RawMessage]:
        """What late subscribers of the recorded publishers would have got at `stamp_ns`."""
        latched = [name for name in self._publishers.topics if self._reader.topics[name].latched]
        if latched and stamp_ns > self._reader.start_ns:
            yield from self._reader.raw(latched, stop_ns=stamp_ns)

    def _send(self, message: RawMessage, report: PlayReport) -> None:
        if self._settings.rate:
            self._publishers.publish(message)
        else:
            self._publishers.publish_safely(message, timeout=self._settings.timeout)
        report.messages += 1
        report.data_bytes += len(message.data)


class _Pace:
    """Turns recorded time into waiting, with ticks of the clock on the way."""

    def __init__(self, *, rate: float, first_ns: int, stopping: threading.Event) -> None:
        self._rate, self._first_ns, self._stopping = rate, first_ns, stopping
        self._began = time.monotonic()
        self._tick_ns = first_ns

    def ticks_until(self, stamp_ns: int) -> Iterator[int]:
        """Wait for the time of a message; yields the recorded times to announce, the message's own last."""
        step_ns = max(round(CLOCK_PERIOD * self._rate * NS), 1)
        while self._rate and self._tick_ns + step_ns < stamp_ns and not self._stopping.is_set():
            self._tick_ns += step_ns
            self._sleep_until(self._tick_ns)
            yield self._tick_ns
        self._sleep_until(stamp_ns)
        if stamp_ns > self._tick_ns:
            self._tick_ns = stamp_ns
            yield stamp_ns

    def lateness(self, stamp_ns: int) -> float:
        """Seconds after its time; 0 as fast as possible."""
        return max(time.monotonic() - self._due(stamp_ns), 0.0) if self._rate else 0.0

    def _due(self, stamp_ns: int) -> float:
        return self._began + (stamp_ns - self._first_ns) / NS / self._rate

    def _sleep_until(self, stamp_ns: int) -> None:
        if self._rate:
            self._stopping.wait(max(self._due(stamp_ns) - time.monotonic(), 0.0))
