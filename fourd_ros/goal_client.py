"""What the clients of all actions share: a goal under way that any thread may wait for, and servers that may die."""

import threading
import time
from collections.abc import Callable
from typing import Any, ClassVar, Generic, TypeVar

from action_msgs.msg import GoalStatus
from rclpy.action import ActionClient
from rclpy.node import Node
from rclpy.task import Future

from fourd_ros.bridge.qos import BURST
from fourd_ros.errors import FourdError
from fourd_ros.node_client import NodeClient, ServerUnavailable

__all__ = ["GoalClient", "GoalFailed", "PendingGoal", "ServerUnavailable"]

Answer = TypeVar("Answer")

LIVENESS_PERIOD = 0.1
"""How often a waiting client looks whether its server still lives [s]."""


class GoalFailed(FourdError):
    """The node ended the goal without a full answer.

    Attributes:
        code: an error code of the action; 0 when the goal was rejected.
        status: ``action_msgs/GoalStatus`` of the goal.
        result: ``Result`` of the action, with what was known by then; None when the goal was rejected.
    """

    kind = "goal_failed"

    def __init__(self, message: str, *, code: int, status: int, result: Any = None) -> None:
        super().__init__(message)
        self.code, self.status, self.result = code, status, result


class PendingGoal(Generic[Answer]):
    """A goal under way. Any thread may wait on it while the node's executor spins elsewhere.

    Args:
        client: that sent it.
        sent: as the action client returned it.
        read: the answer from the ``Result`` of the action.
    """

    def __init__(self, client: "GoalClient", sent: Future[Any], *, read: Callable[[Any], Answer]) -> None:
        self._client, self._read = client, read
        self._answered = threading.Event()
        self._goal: Any = None
        self._response: Any = None
        self._servers: frozenset[bytes] = client.server_ids()
        self._accepted = threading.Event()
        sent.add_done_callback(self._on_accepted)

    def _on_accepted(self, future: Future[Any]) -> None:
        self._goal = future.result()
        self._accepted.set()
        if self._goal is None or not self._goal.accepted:
            self._answered.set()
            return
        self._goal.get_result_async().add_done_callback(self._on_result)

    def _on_result(self, future: Future[Any]) -> None:
        self._response = future.result()
        self._answered.set()

    def is_decided(self) -> bool:
        """Whether the server took the goal, or turned it down."""
        return self._accepted.is_set()

    def done(self) -> bool:
        """Whether an answer, good or bad, is here."""
        return self._answered.is_set()

    def result(self, timeout: float | None = None) -> Answer:
        """Wait for the answer.

        Args:
            timeout: seconds to wait, None for as long as the server lives.

        Raises:
            GoalFailed: rejected, aborted or cancelled; says why and carries the error code.
            ServerUnavailable: the server died meanwhile.
            TimeoutError: nothing after `timeout`.
        """
        client = self._client
        give_up = float("inf") if timeout is None else time.monotonic() + timeout
        while not self._answered.wait(LIVENESS_PERIOD):
            if not self._servers & client.server_ids():
                raise ServerUnavailable(f"the server of '{client.name}' is gone; ask again when it is back")
            if time.monotonic() > give_up:
                raise TimeoutError(f"no answer from '{client.name}' within {timeout} s")
        if self._response is None:
            raise client.failure(
                f"'{client.name}' rejected the goal: it is inactive or its queue is full (see /diagnostics)",
                code=0,
                status=GoalStatus.STATUS_UNKNOWN,
            )
        result, status = self._response.result, self._response.status
        if status != GoalStatus.STATUS_SUCCEEDED:
            message = result.error_msg or f"the goal ended with status {status}"
            raise client.failure(message, code=result.error_code, status=status, result=result)
        return self._read(result)

    def cancel(self, timeout: float = 5.0) -> bool:
        """Take the goal back; True when the server agreed.

        Raises:
            TimeoutError: the goal was not accepted, or the server did not answer, within `timeout` [s].
        """
        if not self._accepted.wait(timeout):
            raise TimeoutError(f"the goal was not accepted within {timeout} s")
        if self._goal is None or not self._goal.accepted:
            return False
        answered = threading.Event()
        future = self._goal.cancel_goal_async()
        future.add_done_callback(lambda _: answered.set())
        if not answered.wait(timeout):
            raise TimeoutError(f"no answer to the cancel request within {timeout} s")
        return bool(future.result().goals_canceling)


class GoalClient(NodeClient):
    """Wraps one action of one node.

    Args:
        node: a node that somebody spins, in another thread than the one that waits here.
        name: name of the node that offers the action, with its namespace where it has one.
    """

    action_type: ClassVar[Any]
    action_name: ClassVar[str]
    failure: ClassVar[type[GoalFailed]] = GoalFailed

    def __init__(self, node: Node, *, name: str) -> None:
        super().__init__(node, name=name)
        action = f"{name}/{self.action_name}"
        self._action = ActionClient(
            node,
            self.action_type,
            action,
            callback_group=self.group,
            goal_service_qos_profile=BURST,
            result_service_qos_profile=BURST,
            feedback_sub_qos_profile=BURST,
        )
        self._status_topic = node.resolve_topic_name(f"{action}/_action/status")

    def destroy(self) -> None:
        """Give back what was made on the node."""
        self._action.destroy()

    def is_ready(self) -> bool:
        """Whether everything that is asked of the node is offered."""
        return bool(self._action.server_is_ready()) and bool(self.server_ids())

    def server_ids(self) -> frozenset[bytes]:
        """Identities of the running servers; a restarted one has a new identity."""
        publishers = self.node.get_publishers_info_by_topic(self._status_topic)
        return frozenset(bytes(info.endpoint_gid) for info in publishers)

    def send(
        self, goal: Any, *, read: Callable[[Any], Answer], feedback: Callable[[Any], None] | None
    ) -> PendingGoal[Answer]:
        """Ask; returns at once.

        Args:
            goal: ``Goal`` of the action.
            read: the answer from its ``Result``.
            feedback: called with every ``Feedback``.
        """
        listener = None if feedback is None else (lambda message: feedback(message.feedback))
        return PendingGoal(self, self._action.send_goal_async(goal, feedback_callback=listener), read=read)
