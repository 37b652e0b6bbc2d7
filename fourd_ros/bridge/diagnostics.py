"""Counters of what happened, and their way to ``/diagnostics``."""

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from fourd_ros.errors import FourdError

UNEXPECTED = "unexpected"
RECENT = 5.0
"""An error that happened less than this ago makes the status an error [s]."""

REMEMBERED = 60.0
"""Less than this ago, a warning [s]."""


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """The counters at one instant.

    Args:
        counts: events by name.
        last_error: message of the newest error, empty if there never was one.
        error_age: steady time since it [s], infinite if there never was one.
    """

    counts: Mapping[str, int]
    last_error: str
    error_age: float


class Counters:
    """Named event counters, safe to use from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: dict[str, int] = {}
        self._last_error = ""
        self._error_time = float("-inf")

    def count(self, name: str, n: int = 1) -> None:
        """Add `n` to the counter `name`."""
        with self._lock:
            self._counts[name] = self._counts.get(name, 0) + n

    def error(self, error: BaseException) -> None:
        """Count an error under its kind and remember its message; the status is bad for a while."""
        kind = error.kind if isinstance(error, FourdError) else UNEXPECTED
        with self._lock:
            self._counts[kind] = self._counts.get(kind, 0) + 1
            self._last_error = f"{kind}: {error}" if str(error) else f"{kind}: {type(error).__name__}"
            self._error_time = time.monotonic()

    def __getitem__(self, name: str) -> int:
        with self._lock:
            return self._counts.get(name, 0)

    def snapshot(self) -> Snapshot:
        """All counters, sorted by name, and the last error."""
        with self._lock:
            counts = dict(sorted(self._counts.items()))
            return Snapshot(counts=counts, last_error=self._last_error, error_age=time.monotonic() - self._error_time)


class DiagnosticsPublisher:
    """Publishes counters on ``/diagnostics`` every `period` of steady time.

    The level is ERROR while the last error is younger than `RECENT`, WARN until it is older than `REMEMBERED` and while
    there is a warning, else OK.

    Args:
        node: rclpy node.
        counters: what to publish.
        hardware_id: what the node stands for; the node's full name when empty.
        period: between messages [s].
        values: further key-values, asked at every message.
        warning: asked at every message; a text that is not empty makes it one of level WARN.
    """

    def __init__(
        self,
        node: Any,
        counters: Counters,
        *,
        hardware_id: str = "",
        period: float = 1.0,
        values: Callable[[], Mapping[str, object]] = dict,
        warning: Callable[[], str] = str,
    ) -> None:
        from diagnostic_msgs.msg import DiagnosticArray

        from fourd_ros.bridge.clock import steady_clock

        self._node = node
        self._counters = counters
        self._hardware_id = hardware_id or node.get_fully_qualified_name()
        self._values, self._warning = values, warning
        # A plain timer and publisher: diagnostics are wanted in every lifecycle state and while the clock is paused.
        self._publisher = node.create_publisher(DiagnosticArray, "/diagnostics", 10)
        self._timer = node.create_timer(period, self.publish, clock=steady_clock())

    def publish(self) -> None:
        """Send the state of now."""
        from diagnostic_msgs.msg import DiagnosticArray

        message = DiagnosticArray(status=[self._status()])
        message.header.stamp = self._node.get_clock().now().to_msg()
        self._publisher.publish(message)

    def destroy(self) -> None:
        """Stop publishing."""
        self._node.destroy_timer(self._timer)
        self._node.destroy_publisher(self._publisher)

    def _status(self) -> Any:
        from diagnostic_msgs.msg import DiagnosticStatus, KeyValue

        snapshot = self._counters.snapshot()
        warning = self._warning()
        level, message = (DiagnosticStatus.WARN, warning) if warning else (DiagnosticStatus.OK, "ok")
        if snapshot.error_age < REMEMBERED:
            level = DiagnosticStatus.ERROR if snapshot.error_age < RECENT else DiagnosticStatus.WARN
            message = snapshot.last_error
        pairs = {**self._values(), **snapshot.counts}
        if snapshot.last_error:
            pairs["last_error"] = snapshot.last_error
        return DiagnosticStatus(
            level=level,
            name=f"{self._node.get_fully_qualified_name().lstrip('/')}: status",
            message=message,
            hardware_id=self._hardware_id,
            values=[KeyValue(key=key, value=str(value)) for key, value in pairs.items()],
        )
