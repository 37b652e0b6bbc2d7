"""The executor that every process of this package serves its nodes with."""

import os
import traceback
from typing import Any

from rclpy.context import Context
from rclpy.exceptions import InvalidHandle
from rclpy.executors import MultiThreadedExecutor
from rclpy.logging import get_logger

MIN_THREADS = 8
"""Callbacks of actions wait in threads; the rest of a node must still be served."""

LOG_PERIOD = 1.0


class NodeExecutor(MultiThreadedExecutor):
    """A multi-threaded executor that outlives what ends the one of rclpy.

    There, `spin` ends with the exception of any callback, with an entity that another thread destroyed while
    the executor was about to wait for it (as a deactivating node does), with an action client that another thread
    has half made, and with a shutdown at the wrong moment.
    """

    def spin_once(self, timeout_sec: float | None = None) -> None:
        """Wait for work and hand it to a thread."""
        try:
            super().spin_once(timeout_sec)
        except InvalidHandle:
            pass  # The entity is gone; the next round does without it.
        except Exception:
            if self.context.ok():
                get_logger("fourd_ros").error(
                    f"a callback failed:\n{traceback.format_exc()}", throttle_duration_sec=LOG_PERIOD
                )

    def _take_waitable(self, waitable: Any) -> Any:
        """Without this, a waitable that was destroyed before its turn keeps its callback group locked for ever."""
        try:
            return super()._take_waitable(waitable)
        except InvalidHandle:
            return None


def make_executor(*, context: Context | None = None) -> NodeExecutor:
    """An executor with enough threads for the nodes of a graph, in the default context or another."""
    return NodeExecutor(num_threads=max(MIN_THREADS, os.cpu_count() or 1), context=context)
