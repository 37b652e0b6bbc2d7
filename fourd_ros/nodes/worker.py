"""Threads for work that must not run in a subscription callback."""

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import CancelledError, Future
from typing import Any, Generic, TypeVar, cast

from fourd_ros.errors import NotActive

T = TypeVar("T")

Job = Callable[[], Any]


class LatestSlot(Generic[T]):
    """A place for one item: a newer one replaces the one that still waits. Thread-safe."""

    def __init__(self) -> None:
        self._items: deque[T] = deque(maxlen=1)
        self._lock = threading.Lock()
        self.dropped = 0

    def put(self, item: T) -> bool:
        """Leave `item` for whoever takes next; True if one that waited was dropped for it."""
        with self._lock:
            replaced = bool(self._items)
            self._items.append(item)
            self.dropped += replaced
            return replaced

    def take(self) -> T | None:
        """The waiting item, which is then gone, or None."""
        with self._lock:
            return self._items.popleft() if self._items else None

    def clear(self) -> None:
        """Forget the waiting item; it does not count as dropped."""
        with self._lock:
            self._items.clear()


class _Call:
    """A job that somebody waits for."""

    def __init__(self, function: Callable[[], Any]) -> None:
        self._function = function
        self.answer: Future[Any] = Future()

    def __call__(self) -> None:
        if not self.answer.set_running_or_notify_cancel():
            return
        try:
            self.answer.set_result(self._function())
        except Exception as error:
            self.answer.set_exception(error)


class Worker:
    """One thread that runs jobs in the order of their submission and survives their exceptions.

    Args:
        name: of the thread, for debuggers.
        on_error: called on the worker's thread with whatever a job raised.
        on_drop: called when a newer item replaced one that waited (see :meth:`latest`).
    """

    def __init__(
        self, name: str, *, on_error: Callable[[Exception], None], on_drop: Callable[[], None] = lambda: None
    ) -> None:
        self._on_error = on_error
        self._on_drop = on_drop
        self._jobs: deque[Job] = deque()
        self._changed = threading.Condition()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Start the thread (once)."""
        self._thread.start()

    def stop(self) -> None:
        """Drop the jobs that wait, let the running one end, and join the thread.

        A job that takes long looks at :attr:`stopping`, or sleeps through :meth:`wait`.
        """
        self._stopping.set()
        with self._changed:
            dropped, self._jobs = self._jobs, deque()
            self._changed.notify()
        for job in dropped:
            if isinstance(job, _Call):
                job.answer.cancel()
        if self._thread.is_alive():
            self._thread.join()

    @property
    def stopping(self) -> bool:
        """True from the moment :meth:`stop` was called."""
        return self._stopping.is_set()

    def wait(self, seconds: float) -> bool:
        """Sleep; returns True, at once, when the worker is told to stop."""
        return self._stopping.wait(seconds)

    def submit(self, job: Job) -> None:
        """Run `job` after those that wait already; ignored once the worker stops."""
        with self._changed:
            if not self._stopping.is_set():
                self._jobs.append(job)
                self._changed.notify()

    def call(self, function: Callable[[], T]) -> T:
        """Run `function` on the worker's thread and return what it returns, or raise what it raises.

        Raises:
            NotActive: the worker stopped before it came to it.
        """
        call = _Call(function)
        self.submit(call)
        if self.stopping:
            call.answer.cancel()
        try:
            return cast(T, call.answer.result())
        except CancelledError:
            raise NotActive("the worker was stopped; activate the node first") from None

    def latest(self, consume: Callable[[T], None]) -> Callable[[T], None]:
        """A function that offers items to `consume`, of which only the newest waits.

        It returns at once and is meant for subscription callbacks.
        """
        slot: LatestSlot[T] = LatestSlot()

        def consume_newest() -> None:
            item = slot.take()
            if item is not None:
                consume(item)

        def offer(item: T) -> None:
            if slot.put(item):
                self._on_drop()
            else:
                self.submit(consume_newest)

        return offer

    def _run(self) -> None:
        while (job := self._next()) is not None:
            try:
                job()
            except Exception as error:
                self._on_error(error)

    def _next(self) -> Job | None:
        with self._changed:
            self._changed.wait_for(lambda: self._jobs or self._stopping.is_set())
            return None if self._stopping.is_set() else self._jobs.popleft()
