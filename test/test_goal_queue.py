"""The queue of questions: order, bound, slots, cancelling, clearing."""

import pytest

from fourd_ros.errors import Cancelled, FourdError, NotActive, QueueFull, Superseded
from fourd_ros.nodes.goal_queue import GoalQueue


class Recorder:
    """A job that remembers what the queue did with it."""

    def __init__(self, slot: str = "") -> None:
        self.slot = slot
        self.started = False
        self.ended: FourdError | None = None
        self.interrupted: FourdError | None = None

    def start(self) -> None:
        self.started = True

    def interrupt(self, error: FourdError) -> None:
        self.interrupted = error

    def drop(self, error: FourdError) -> None:
        self.ended = error


def enqueue(queue: GoalQueue, *slots: str) -> list[Recorder]:
    jobs = [Recorder(slot) for slot in slots]
    for job in jobs:
        queue.reserve(job.slot)
        queue.add(job)
    return jobs


def test_one_job_runs_at_a_time_in_order() -> None:
    queue = GoalQueue(max_queued=8)
    first, second, third = enqueue(queue, "", "", "")
    assert (first.started, second.started, third.started) == (True, False, False)
    queue.finished(first)
    assert (second.started, third.started) == (True, False)
    queue.finished(second)
    assert third.started


def test_a_thousand_goals_keep_the_bound() -> None:
    queue = GoalQueue(max_queued=8)
    accepted, refused = [], 0
    for _ in range(1000):
        try:
            accepted += enqueue(queue, "")
        except QueueFull as error:
            assert "max_queued_goals" in str(error)
            refused += 1
    assert len(accepted) == 9 and refused == 991
    for job in accepted:
        assert job.started
        queue.finished(job)
    enqueue(queue, "")


def test_a_newer_goal_of_the_same_slot_replaces_a_waiting_one() -> None:
    queue = GoalQueue(max_queued=1)
    enqueue(queue, "")
    old, new = enqueue(queue, "a", "a")
    assert isinstance(old.ended, Superseded) and not old.started
    assert new.ended is None and len(queue) == 1


def test_a_newer_goal_of_the_same_slot_interrupts_the_running_one() -> None:
    queue = GoalQueue(max_queued=8)
    old, new = enqueue(queue, "a", "a")
    assert isinstance(old.interrupted, Superseded) and not new.started
    queue.finished(old)
    assert new.started


def test_goals_of_different_slots_queue() -> None:
    queue = GoalQueue(max_queued=8)
    jobs = enqueue(queue, "a", "b", "c")
    assert all(job.ended is None and job.interrupted is None for job in jobs)


def test_cancelling_drops_a_waiting_goal_and_interrupts_a_running_one() -> None:
    queue = GoalQueue(max_queued=8)
    running, waiting = enqueue(queue, "", "")
    queue.cancel(waiting)
    queue.cancel(running)
    assert isinstance(waiting.ended, Cancelled)
    assert isinstance(running.interrupted, Cancelled) and running.ended is None


def test_clearing_ends_everything() -> None:
    queue = GoalQueue(max_queued=8)
    running, waiting = enqueue(queue, "", "")
    queue.clear(NotActive("off"))
    assert isinstance(waiting.ended, NotActive) and isinstance(running.interrupted, NotActive)
    assert not queue.wait_idle(timeout=0.0)
    queue.finished(running)
    assert queue.wait_idle(timeout=0.0)


def test_a_client_that_vanishes_gives_its_place_back(monkeypatch: pytest.MonkeyPatch) -> None:
    queue = GoalQueue(max_queued=1)
    now = [100.0]
    monkeypatch.setattr("fourd_ros.nodes.goal_queue.time.monotonic", lambda: now[0])
    queue.reserve("")
    with pytest.raises(QueueFull):
        queue.reserve("")
    now[0] += 2.0
    queue.reserve("")
