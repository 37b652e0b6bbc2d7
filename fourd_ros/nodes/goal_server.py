"""An action server whose goals run in threads of the executor and have ended before it goes."""

import threading
from collections.abc import Callable
from typing import Any

from rclpy.action import ActionServer, CancelResponse
from rclpy.action.server import ServerGoalHandle
from rclpy.callback_groups import ReentrantCallbackGroup

from fourd_ros.nodes.base import FourdNode

GoalHandle = ServerGoalHandle[Any, Any, Any]

CLOSE_TIMEOUT = 10.0


class GoalServer:
    """Accepts every goal and every cancel request; `execute` ends the goal and returns the result.

    Args:
        node: made in its ``start``; it ends with the node's ``stop``.
        action_type: of the action.
        name: of the action.
        execute: called with the goal handle on a thread of the executor.
    """

    def __init__(self, node: FourdNode, action_type: Any, name: str, execute: Callable[[GoalHandle], Any]) -> None:
        self._node, self._type, self._execute = node, action_type, execute
        self._running = 0
        self._changed = threading.Condition()
        self._server = ActionServer(
            node,
            action_type,
            name,
            execute_callback=self._run,
            cancel_callback=lambda _: CancelResponse.ACCEPT,
            callback_group=ReentrantCallbackGroup(),
        )
        node.defer(self._close)

    def _run(self, handle: GoalHandle) -> Any:
        with self._changed:
            self._running += 1
        try:
            return self._execute(handle)
        except Exception as error:
            self._node.report(error)
            handle.abort()
            return self._type.Result()
        finally:
            with self._changed:
                self._running -= 1
                self._changed.notify_all()

    def _close(self) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._running == 0, timeout=CLOSE_TIMEOUT)
        self._server.destroy()
