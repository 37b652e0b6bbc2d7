"""A bounded queue of questions with slots; one is answered at a time."""

import threading
import time
from collections import deque
from typing import Protocol

from fourd_ros.errors import Cancelled, FourdError, QueueFull, Superseded


class Job(Protocol):
    """A question that waits for its turn."""

    slot: str

    def start(self) -> None:
        """Begin to work on it; ends with :meth:`GoalQueue.finished`."""

    def interrupt(self, error: FourdError) -> None:
        """Make the running job stop at its next step."""

    def drop(self, error: FourdError) -> None:
        """It will never start; tell its owner why."""


RESERVATION_LIFETIME = 1.0
"""A client that vanishes between the question and its acceptance gives its place back after this [s]."""


class GoalQueue:
    """Thread-safe. A newer job with the same non-empty slot replaces the older one, waiting or running.

    Args:
        max_queued: jobs that may wait beside the running one.
    """

    def __init__(self, *, max_queued: int) -> None:
        self.max_queued = max_queued
        self._waiting: deque[Job] = deque()
        self._running: Job | None = None
        self._reservations: deque[float] = deque()
        self._lock = threading.Condition()

    def __len__(self) -> int:
        with self._lock:
            return len(self._waiting)

    def reserve(self, slot: str) -> None:
        """Keep a place for a job about to be accepted.

        Raises:
            QueueFull: every place is taken, and no job would be replaced.
        """
        with self._lock:
            now = time.monotonic()
            while self._reservations and self._reservations[0] < now - RESERVATION_LIFETIME:
                self._reservations.popleft()
            replaceable = [*self._waiting, *([self._running] if self._running else [])]
            replaces = bool(slot) and any(job.slot == slot for job in replaceable)
            if len(self._waiting) + len(self._reservations) >= self.max_queued and not replaces:
                raise QueueFull(
                    f"{self.max_queued} goals wait already; raise max_queued_goals, use a slot, or ask less often"
                )
            self._reservations.append(now)

    def add(self, job: Job) -> None:
        """Take the reserved place; starts at once when nothing runs."""
        superseded = Superseded(f"a newer goal took the slot '{job.slot}'")
        with self._lock:
            if self._reservations:
                self._reservations.popleft()
            replaced = [other for other in self._waiting if job.slot and other.slot == job.slot]
            for other in replaced:
                self._waiting.remove(other)
            running = self._running
            self._waiting.append(job)
            to_start = self._next()
        for other in replaced:
            other.drop(superseded)
        if running is not None and job.slot and running.slot == job.slot:
            running.interrupt(superseded)
        if to_start is not None:
            to_start.start()

    def finished(self, job: Job) -> None:
        """The running job ended; the next one starts."""
        with self._lock:
            if self._running is job:
                self._running = None
            to_start = self._next()
            self._lock.notify_all()
        if to_start is not None:
            to_start.start()

    def cancel(self, job: Job) -> None:
        """Drop `job` if it waits, interrupt it if it runs."""
        error = Cancelled("the goal was cancelled")
        with self._lock:
            waiting = job in self._waiting
            if waiting:
                self._waiting.remove(job)
            running = self._running is job
        if waiting:
            job.drop(error)
        elif running:
            job.interrupt(error)

    def clear(self, error: FourdError) -> None:
        """End every job with `error`."""
        with self._lock:
            waiting, running = list(self._waiting), self._running
            self._waiting.clear()
            self._reservations.clear()
        for job in waiting:
            job.drop(error)
        if running is not None:
            running.interrupt(error)

    def wait_idle(self, *, timeout: float) -> bool:
        """Wait until nothing runs; False if something still does after `timeout` [s]."""
        with self._lock:
            return self._lock.wait_for(lambda: self._running is None, timeout)

    def _next(self) -> Job | None:
        if self._running is not None or not self._waiting:
            return None
        self._running = self._waiting.popleft()
        return self._running
