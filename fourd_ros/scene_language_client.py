"""Asks a scene language node where things are."""

import threading
from typing import Any

from fourd_msgs.srv import QueryScene
from rclpy.node import Node

from fourd_ros.bridge.times import ns_to_stamp
from fourd_ros.errors import FourdError
from fourd_ros.node_client import NodeClient, ServerUnavailable


class QueryFailed(FourdError):
    """A question without an answer; the codes are those of ``fourd_msgs/srv/QueryScene``.

    Attributes:
        code: an error code of the service.
    """

    kind = "query_failed"

    def __init__(self, message: str, *, code: int) -> None:
        super().__init__(message)
        self.code = code


class SceneLanguageClient(NodeClient):
    """Wraps the service of one scene language node.

    Args:
        node: a node that somebody spins, in another thread than the one that waits here.
        name: name of the scene language node, with its namespace where it has one.
    """

    graph = "scene_language"

    def __init__(self, node: Node, *, name: str = "scene_language") -> None:
        super().__init__(node, name=name)
        self._query: Any = node.create_client(QueryScene, f"{name}/query", callback_group=self.group)

    def destroy(self) -> None:
        """Give the service client back."""
        self.node.destroy_client(self._query)

    def is_ready(self) -> bool:
        """Whether the service is offered."""
        return bool(self._query.service_is_ready())

    def find(
        self,
        text: str,
        *,
        threshold: float = 0.0,
        begin_ns: int = 0,
        end_ns: int = 0,
        max_objects: int = 0,
        masks: bool = False,
        points: bool = False,
        timeout: float = 30.0,
    ) -> Any:
        """Where what a text means is; a ``QueryScene.Response`` whose ``found`` is false where it is not there.

        Args:
            text: such as "red mug".
            threshold: of relevancy, 0..1; 0 for that of the model.
            begin_ns: look at nothing before [ns]; 0 for all that the node remembers.
            end_ns: look at nothing after [ns]; 0 for now.
            max_objects: 0 for the node's own limit.
            masks: fill in where each object is in the camera's image.
            points: fill in the points of each object.
            timeout: for the answer [s].

        Raises:
            QueryFailed: the node refuses the question, or has seen nothing in that time.
            ServerUnavailable: no answer.
        """
        request = QueryScene.Request(
            text=text,
            threshold=threshold,
            from_time=ns_to_stamp(begin_ns),
            to_time=ns_to_stamp(end_ns),
            max_objects=max_objects,
            masks=masks,
            points=points,
        )
        answered = threading.Event()
        future = self._query.call_async(request)
        future.add_done_callback(lambda _: answered.set())
        if not answered.wait(timeout):
            self._query.remove_pending_request(future)
            raise ServerUnavailable(f"'{self.name}' did not answer within {timeout} s")
        response: Any = future.result()
        if response.error_code != QueryScene.Response.NONE:
            raise QueryFailed(response.error_msg, code=response.error_code)
        return response
