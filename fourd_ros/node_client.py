"""What the clients of all nodes share: a node that somebody spins, or one of their own, and waiting for the server."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import ClassVar, Self

import rclpy
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.executors import MultiThreadedExecutor
from rclpy.node import Node

from fourd_ros.errors import FourdError


class ServerUnavailable(FourdError):
    """No node offers what is asked of it, or the one that worked on it is gone."""

    kind = "server_unavailable"


class NodeClient:
    """Wraps what one node offers.

    Args:
        node: a node that somebody spins, in another thread than the one that waits here.
        name: name of the node that is asked, with its namespace where it has one.
    """

    graph: ClassVar[str]
    """That starts such a node."""

    def __init__(self, node: Node, *, name: str) -> None:
        self.node, self.name = node, name
        self.group = ReentrantCallbackGroup()

    @classmethod
    @contextmanager
    def connect(cls, name: str = "", *, timeout: float = 10.0) -> Iterator[Self]:
        """A client with a node and an executor of its own, for scripts.

        Args:
            name: name of the node that is asked; empty: as its graph names it.
            timeout: for the node to be there [s].

        Raises:
            ServerUnavailable: no such node within `timeout`.
        """
        with nullcontext() if rclpy.ok() else rclpy.init():
            name = name or cls.graph
            node = Node(f"{cls.graph}_client")
            executor = MultiThreadedExecutor(num_threads=2)
            executor.add_node(node)
            client = cls(node, name=name)  # before spinning: rclpy looks into half-made action clients
            spinner = threading.Thread(target=executor.spin, daemon=True)
            spinner.start()
            try:
                client.wait(timeout=timeout)
                yield client
            finally:
                executor.shutdown()
                spinner.join()
                client.destroy()
                node.destroy_node()

    def destroy(self) -> None:
        """Give back what was made on the node."""

    def wait(self, *, timeout: float = 10.0) -> None:
        """Wait until the node offers all that is asked of it.

        Raises:
            ServerUnavailable: not within `timeout` [s].
        """
        give_up = time.monotonic() + timeout
        while not (ready := self.is_ready()) and time.monotonic() < give_up:
            time.sleep(0.01)
        if not ready:
            raise ServerUnavailable(
                f"no {self.graph.replace('_', ' ')} at '{self.name}' within {timeout} s; "
                f"start one: fourd bringup {self.graph}"
            )

    def is_ready(self) -> bool:
        """Whether everything that is asked of the node is offered."""
        raise NotImplementedError
