"""An action server whose goals wait in a bounded queue; one is answered at a time."""

import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

from rclpy.action import ActionServer, CancelResponse, GoalResponse
from rclpy.action.server import ServerGoalHandle
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.node import Node
from rclpy.subscription import RCLError

from fourd_ros.bridge.qos import BURST
from fourd_ros.bridge.times import duration_to_seconds
from fourd_ros.errors import Cancelled, DeadlineMissed, FourdError, NotActive, QueueFull
from fourd_ros.nodes.error_codes import error_code
from fourd_ros.nodes.goal_queue import GoalQueue

GoalHandle = ServerGoalHandle[Any, Any, Any]
T = TypeVar("T")

CANCEL_GRACE = 1.0
"""A cancelled goal becomes "canceling" within this [s]."""

CLOSE_TIMEOUT = 10.0
"""A running goal reaches its next step, and so its end, within this [s]."""


class QueuedGoal:
    """One goal on its way through the queue, from a client or of the node's own.

    Args:
        request: ``Goal`` of the action.
        begin: makes a thread answer it.
        drop: tells the asker that it will never be answered.
        feedback: takes ``Feedback`` of the action.
    """

    def __init__(
        self,
        request: Any,
        *,
        begin: Callable[[], object],
        drop: Callable[[FourdError], object],
        feedback: Callable[[Any], object],
    ) -> None:
        self.request, self.slot = request, self.slot_of(request)
        self.tell = feedback
        self._begin, self._drop = begin, drop
        self._interruption: FourdError | None = None

    @staticmethod
    def slot_of(request: Any) -> str:
        """A newer goal with the same slot replaces an older one; empty for goals that replace none."""
        return ""

    def start(self) -> None:
        """Its turn has come."""
        self._begin()

    def interrupt(self, error: FourdError) -> None:
        """Let `check_wanted` raise from now on."""
        self._interruption = error

    def drop(self, error: FourdError) -> None:
        """Its turn never comes."""
        self._drop(error)

    def check_wanted(self) -> None:
        """To be called between the steps of an answer.

        Raises:
            Cancelled, Superseded, NotActive: nobody waits for the answer any more.
        """
        if self._interruption is not None:
            raise self._interruption


class TimedGoal(QueuedGoal):
    """A goal with a ``deadline``, counted in steady time from its acceptance; zero for none."""

    def __init__(self, request: Any, **callbacks: Any) -> None:
        super().__init__(request, **callbacks)
        self.accepted = time.monotonic()
        self.deadline = self.accepted + (duration_to_seconds(request.deadline) or float("inf"))

    def check_time(self, fraction: float) -> None:
        """To be called between the steps of an answer, with the share of it that is done.

        Raises:
            DeadlineMissed: the deadline has passed.
            Cancelled, Superseded, NotActive: nobody waits for the answer any more.
        """
        self.check_wanted()
        if time.monotonic() > self.deadline:
            late = time.monotonic() - self.accepted
            raise DeadlineMissed(f"the deadline passed; {late:.3f} s after acceptance {fraction:.0%} was done")


class QueuedGoalServer:
    """Owns the action server and the queue.

    Args:
        node: needs an executor with several threads, so that a cancel request is heard while a goal is answered.
            The server starts closed.
        action_type: of the action; its ``Result`` has error constants, ``error_code`` and ``error_msg``.
        name: of the action.
        answer: fills in the result of a goal; what it raises ends the goal, with what was filled in so far.
        report: counts and logs an error.
        max_queued_goals: goals that may wait; more are rejected.
        goal_type: what goals are kept as.
    """

    def __init__(
        self,
        node: Node,
        action_type: Any,
        name: str,
        *,
        answer: Callable[[Any, Any], None],
        report: Callable[[Exception], None],
        max_queued_goals: int,
        goal_type: type[QueuedGoal] = QueuedGoal,
    ) -> None:
        self._node, self._type, self._goal_type = node, action_type, goal_type
        self._answer, self._report = answer, report
        self._queue = GoalQueue(max_queued=max_queued_goals)
        self._goals: dict[bytes, QueuedGoal] = {}
        self._open = False
        self._server = ActionServer(
            node,
            action_type,
            name,
            execute_callback=self._execute,
            goal_callback=self._on_goal,
            handle_accepted_callback=self._on_accepted,
            cancel_callback=self._on_cancel,
            callback_group=ReentrantCallbackGroup(),
            goal_service_qos_profile=BURST,
            result_service_qos_profile=BURST,
            feedback_pub_qos_profile=BURST,
        )

    def __len__(self) -> int:
        """Goals that wait."""
        return len(self._queue)

    def in_turn(self, request: Any, work: Callable[[Any], T]) -> T:
        """Wait in the queue with a goal of the node's own and do `work` with it in this thread. For worker threads.

        Raises:
            QueueFull: too many wait already.
            NotActive: the server is closed.
        """
        self._admit(request)
        turn = threading.Event()
        dropped: list[FourdError] = []

        def drop(error: FourdError) -> None:
            dropped.append(error)
            turn.set()

        goal = self._goal_type(request, begin=turn.set, drop=drop, feedback=lambda _: None)
        self._queue.add(goal)
        turn.wait()
        try:
            if dropped:
                raise dropped[0]
            return work(goal)
        finally:
            self._queue.finished(goal)

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

    def _on_goal(self, request: Any) -> GoalResponse:
        try:
            self._admit(request)
        except (QueueFull, NotActive) as error:
            self._report(error)
            return GoalResponse.REJECT
        return GoalResponse.ACCEPT

    def _admit(self, request: Any) -> None:
        if not self._open:
            raise NotActive("the node is not active; activate it first")
        self._queue.reserve(self._goal_type.slot_of(request))

    def _on_accepted(self, handle: GoalHandle) -> None:
        def drop(error: FourdError) -> None:
            handle.execute(lambda same: self._conclude(same, goal, self._type.Result(), error))

        goal = self._goal_type(handle.request, begin=handle.execute, drop=drop, feedback=handle.publish_feedback)
        self._goals[_key(handle)] = goal
        self._queue.add(goal)

    def _on_cancel(self, handle: GoalHandle) -> CancelResponse:
        goal = self._goals.get(_key(handle))
        if goal is not None:
            self._queue.cancel(goal)
        return CancelResponse.ACCEPT

    def _execute(self, handle: GoalHandle) -> Any:
        goal, result = self._goals[_key(handle)], self._type.Result()
        try:
            self._answer(goal, result)
        except Exception as error:
            return self._conclude(handle, goal, result, error)
        return self._conclude(handle, goal, result, None)

    def _conclude(self, handle: GoalHandle, goal: QueuedGoal, result: Any, error: Exception | None) -> Any:
        """Bring the goal to its final state; returns its result."""
        try:
            if error is None:
                handle.succeed()
            else:
                self._report(error)
                result.error_code, result.error_msg = error_code(self._type.Result, error), str(error)
                if isinstance(error, Cancelled) and _becomes_cancelling(handle):
                    handle.canceled()
                else:
                    handle.abort()
        except RCLError:
            if self._node.context.ok():
                raise  # else the process ends, and nobody is left to be told
        finally:
            self._goals.pop(_key(handle), None)
            self._queue.finished(goal)
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
