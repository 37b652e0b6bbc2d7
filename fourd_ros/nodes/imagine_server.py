"""The ``Imagine`` action: goals wait in a bounded queue, one is answered at a time."""

import threading
import time
import uuid
from collections.abc import Callable
from typing import Any, Protocol

from fourd_msgs.action import Imagine
from rclpy.action import ActionServer, CancelResponse, GoalResponse
from rclpy.action.server import ServerGoalHandle
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.node import Node

from fourd_ros.bridge.qos import BURST
from fourd_ros.bridge.times import duration_to_seconds
from fourd_ros.errors import Cancelled, DeadlineMissed, FourdError, NotActive, QueueFull
from fourd_ros.nodes.error_codes import error_code
from fourd_ros.nodes.goal_queue import GoalQueue
from fourd_ros.records import Rollout
from fourd_ros.world_model.base import Checkpoint, Question
from fourd_ros.world_model.ladder import Ladder, Rung

Answer = list[tuple[str, Rollout]]
GoalHandle = ServerGoalHandle[Any, Any, Any]

CANCEL_GRACE = 1.0
"""A cancelled goal becomes "canceling" within this [s]."""

CLOSE_TIMEOUT = 10.0
"""A running goal reaches its next step, and so its end, within this [s]."""


class Imaginer(Protocol):
    """What the server needs to know of its node."""

    ladder: Ladder

    def report(self, error: Exception) -> None:
        """Count and log."""

    def make_question(self, goal: Any, *, checkpoint: Checkpoint) -> Question:
        """Observation and goal -> question, calling `checkpoint` while it waits; raises typed errors."""

    def remember(self, rollout_id: str, rollout: Rollout) -> None:
        """Store a rollout so that its frames can be fetched."""

    def to_message(self, rollout_id: str, rollout: Rollout) -> Any:
        """``fourd_msgs/Rollout``."""

    def present(self, answer: Answer) -> None:
        """Show finished rollouts on the topics."""


class Inquiry:
    """One question on its way through the queue, from an action goal or from the ``trajectory`` topic.

    Args:
        goal: ``Imagine.Goal``.
        begin: makes the executor call :meth:`answer`.
        drop: tells the asker that it will never be answered.
        feedback: takes ``Imagine.Feedback``.
    """

    def __init__(
        self,
        goal: Any,
        *,
        begin: Callable[["Inquiry"], None],
        drop: Callable[["Inquiry", FourdError], None],
        feedback: Callable[[Any], None],
    ) -> None:
        self.goal, self.slot = goal, str(goal.slot)
        self.accepted = time.monotonic()
        self.deadline = self.accepted + (duration_to_seconds(goal.deadline) or float("inf"))
        self._begin, self._drop, self._feedback = begin, drop, feedback
        self._interruption: FourdError | None = None

    def start(self) -> None:
        self._begin(self)

    def interrupt(self, error: FourdError) -> None:
        self._interruption = error

    def drop(self, error: FourdError) -> None:
        self._drop(self, error)

    def answer(self, imaginer: Imaginer) -> Answer:
        """Answer the question in the calling thread.

        Raises:
            FourdError: the input is bad, or somebody no longer wants the answer.
        """
        self._checkpoint(0.0)
        self._report(Imagine.Feedback.OBSERVING, 0.0)
        question = imaginer.make_question(self.goal, checkpoint=self._checkpoint)
        self._report(Imagine.Feedback.IMAGINING, 0.0)
        plan = imaginer.ladder.plan(question, backend=self.goal.backend, seconds_left=self.deadline - time.monotonic())
        named: dict[int, tuple[str, Rollout]] = {}

        def on_rollout(rung: Rung, rollout: Rollout, fraction: float) -> None:
            rollout_id = str(uuid.uuid4())
            named[id(rollout)] = rollout_id, rollout
            imaginer.remember(rollout_id, rollout)
            stage = Imagine.Feedback.FINISHING if rung is plan[-1] else Imagine.Feedback.REFINING
            self._report(stage, fraction, imaginer.to_message(rollout_id, rollout))

        rollouts = imaginer.ladder.climb(question, plan, checkpoint=self._checkpoint, on_rollout=on_rollout)
        return [named[id(rollout)] for rollout in rollouts]

    def _checkpoint(self, fraction: float) -> None:
        if self._interruption is not None:
            raise self._interruption
        if time.monotonic() > self.deadline:
            late = time.monotonic() - self.accepted
            raise DeadlineMissed(f"the deadline passed; {late:.3f} s after acceptance {fraction:.0%} was done")

    def _report(self, stage: int, fraction: float, preview: Any = None) -> None:
        feedback = Imagine.Feedback(stage=stage, progress=float(fraction))
        if preview is not None:
            feedback.preview = preview
        self._feedback(feedback)


class ImagineServer:
    """Owns the action server and the queue.

    Args:
        node: needs an executor with several threads, so that a cancel request is heard while a goal is answered.
            The server starts closed.
        imaginer: makes questions, answers and remembers.
        max_queued_goals: goals that may wait; more are rejected.
    """

    def __init__(self, node: Node, imaginer: Imaginer, *, max_queued_goals: int) -> None:
        self._node, self._imaginer = node, imaginer
        self._queue = GoalQueue(max_queued=max_queued_goals)
        self._inquiries: dict[bytes, Inquiry] = {}
        self._open = False
        self._server = ActionServer(
            node,
            Imagine,
            "~/imagine",
            execute_callback=self._execute,
            goal_callback=self._on_goal,
            handle_accepted_callback=self._on_accepted,
            cancel_callback=self._on_cancel,
            callback_group=ReentrantCallbackGroup(),
            goal_service_qos_profile=BURST,
            result_service_qos_profile=BURST,
        )

    def ask(self, goal: Any) -> None:
        """Answer a goal of the node's own on the topics; returns when it is done. For worker threads.

        Raises:
            QueueFull: too many wait already.
            NotActive: the server is closed.
        """
        self._admit(goal)
        turn = threading.Event()
        dropped: list[FourdError] = []

        def drop(_: Inquiry, error: FourdError) -> None:
            dropped.append(error)
            turn.set()

        inquiry = Inquiry(goal, begin=lambda _: turn.set(), drop=drop, feedback=lambda _: None)
        self._queue.add(inquiry)
        turn.wait()
        try:
            if dropped:
                raise dropped[0]
            self._imaginer.present(inquiry.answer(self._imaginer))
        finally:
            self._queue.finished(inquiry)

    def open(self) -> None:
        """Take goals from now on."""
        self._open = True

    def close(self) -> None:
        """End every goal with an error and take no more."""
        self._open = False
        self._queue.clear(NotActive("the node was deactivated"))
        self._queue.wait_idle(timeout=CLOSE_TIMEOUT)

    def destroy(self) -> None:
        """Remove the action from the graph."""
        self._server.destroy()

    def _on_goal(self, goal: Any) -> GoalResponse:
        try:
            self._admit(goal)
        except (QueueFull, NotActive) as error:
            self._imaginer.report(error)
            return GoalResponse.REJECT
        return GoalResponse.ACCEPT

    def _admit(self, goal: Any) -> None:
        if not self._open:
            raise NotActive("the node is not active; activate it first")
        self._queue.reserve(str(goal.slot))

    def _on_accepted(self, handle: GoalHandle) -> None:
        inquiry = Inquiry(
            handle.request,
            begin=lambda _: handle.execute(),
            drop=lambda dropped, error: handle.execute(lambda same: self._conclude(same, dropped, error)),
            feedback=handle.publish_feedback,
        )
        self._inquiries[_key(handle)] = inquiry
        self._queue.add(inquiry)

    def _on_cancel(self, handle: GoalHandle) -> CancelResponse:
        inquiry = self._inquiries.get(_key(handle))
        if inquiry is not None:
            self._queue.cancel(inquiry)
        return CancelResponse.ACCEPT

    def _execute(self, handle: GoalHandle) -> Any:
        inquiry = self._inquiries[_key(handle)]
        return self._conclude(handle, inquiry, self._try_to_answer(inquiry))

    def _try_to_answer(self, inquiry: Inquiry) -> Answer | Exception:
        try:
            answer = inquiry.answer(self._imaginer)
            self._imaginer.present(answer)
        except Exception as error:
            return error
        return answer

    def _conclude(self, handle: GoalHandle, inquiry: Inquiry, answer: Answer | Exception) -> Any:
        """Bring the goal to its final state; returns its result."""
        result = Imagine.Result()
        try:
            if not isinstance(answer, Exception):
                result.rollouts = [self._imaginer.to_message(rollout_id, rollout) for rollout_id, rollout in answer]
                handle.succeed()
            else:
                self._imaginer.report(answer)
                result.error_code, result.error_msg = error_code(Imagine.Result, answer), str(answer)
                if isinstance(answer, Cancelled) and _becomes_cancelling(handle):
                    handle.canceled()
                else:
                    handle.abort()
        finally:
            self._inquiries.pop(_key(handle), None)
            self._queue.finished(inquiry)
        return result


def _key(handle: GoalHandle) -> bytes:
    return bytes(handle.goal_id.uuid)


def _becomes_cancelling(handle: GoalHandle) -> bool:
    """Wait for the state that the goal gets only after the cancel callback has returned."""
    give_up = time.monotonic() + CANCEL_GRACE
    while not handle.is_cancel_requested:
        if time.monotonic() > give_up:
            return False
        time.sleep(0.001)
    return True
