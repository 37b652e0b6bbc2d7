"""The node at the other end of a line: whether it is there, and whether it knows of this end."""

import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any

from rcl_interfaces.srv import GetParameters
from rclpy.node import Node

from fourd_ros.bridge.clock import CLOCK_TOPIC
from fourd_ros.bridge.qos import UNDISCOVERED
from fourd_ros.errors import NoSubscriber

_QUIET = 0.2
"""Nobody new for so long: all that a node has was discovered [s]."""

_LOOK = 0.02
"""Between two looks at who is there [s]."""

_CALL = 1.0
"""A call that was not answered by then was lost, and is made again [s]."""


class Counterpart:
    """Nodes that listen to what a node publishes and command what it subscribes to.

    Args:
        node: that somebody spins, in another thread than the one that waits here.
        command_topics: on one of them somebody has to publish; the node has subscribed to them.
        family: how the names of those nodes begin that may make ROS time beside it.
    """

    def __init__(self, node: Node, command_topics: Sequence[str], *, family: str) -> None:
        self._node, self._family = node, family
        self._clock = node.resolve_topic_name(CLOCK_TOPIC)
        self.command_topics = [node.resolve_topic_name(topic) for topic in command_topics]
        self._settled: Mapping[str, int] = {}

    def wait(self, needed: Sequence[Sequence[str]], *, limit: float) -> None:
        """Wait until all ends are there and know of each other, so that no message is lost.

        Args:
            needed: of each group, somebody has to listen to one of the topics.
            limit: how long [s].

        Raises:
            NoSubscriber: nobody listens, nobody commands, they do not answer, or somebody else talks to them.
        """
        groups = [[self._node.resolve_topic_name(topic) for topic in group] for group in needed]
        since, found = time.monotonic(), self._found()
        give_up = since + limit
        while (missing := self._missing(groups, found)) or not self._is_settled(found, since):
            if missing and time.monotonic() > give_up:
                raise NoSubscriber(
                    f"no node to talk to within {limit:g} s: {'; '.join(missing)}; it has to run in the same domain, "
                    f"in the namespace '{self._node.get_namespace()}'"
                )
            time.sleep(_LOOK)
            if (now := self._found()) != found:
                since, found = time.monotonic(), now
        if found != self._settled:
            self._shake_hands(give_up)
        self._settled = found

    def call(self, kind: Any, name: str, request: Any, *, limit: float, repeat: float | None = None) -> Any:
        """What a service answers.

        Args:
            kind: of the service.
            name: of the service.
            request: to it.
            limit: how long to wait [s].
            repeat: ask again after so long without an answer [s]; None to ask once.

        Returns:
            The response; None if there is none by then.
        """
        give_up = time.monotonic() + limit
        client: Any = self._node.create_client(kind, name)
        try:
            if not client.wait_for_service(limit):
                return None
            while (left := give_up - time.monotonic()) > 0:
                answered = threading.Event()
                future = client.call_async(request)
                future.add_done_callback(lambda _, answered=answered: answered.set())
                if answered.wait(left if repeat is None else min(repeat, left)):
                    return future.result()
            return None
        finally:
            self._node.destroy_client(client)

    def _shake_hands(self, give_up: float) -> None:
        """Wait until the nodes that command know of the subscriptions here, or their first command would be lost.

        A node hears of the ends of another one in the order in which they were made, and answers only clients that it
        has heard of. One without parameter services cannot be asked.
        """
        for service in self._parameter_services():
            left = max(give_up - time.monotonic(), _CALL)
            if self.call(GetParameters, service, GetParameters.Request(), limit=left, repeat=_CALL) is None:
                raise NoSubscriber(f"the node that commands does not answer on {service} within {left:.3g} s")

    def _commanders(self) -> set[str]:
        """Full names of the nodes that command."""
        ends = [end for topic in self.command_topics for end in self._node.get_publishers_info_by_topic(topic)]
        return {f"{end.node_namespace.rstrip('/')}/{end.node_name}" for end in ends if end.node_name != UNDISCOVERED}

    def _parameter_services(self) -> list[str]:
        """Of the nodes that command, as far as they have them."""
        offered = {name for name, _ in self._node.get_service_names_and_types()}
        return sorted(offered & {f"{node}/get_parameters" for node in self._commanders()})

    def _found(self) -> dict[str, int]:
        """Who was discovered: how many listen to each topic; the nodes that command, and their services."""
        listeners = {publisher.topic_name: publisher.get_subscription_count() for publisher in self._node.publishers}
        return listeners | dict.fromkeys((*self._commanders(), *self._parameter_services()), 1)

    def _missing(self, groups: Sequence[Sequence[str]], found: Mapping[str, int]) -> list[str]:
        missing = [f"nobody listens to {' or '.join(group)}" for group in groups if not any(map(found.get, group))]
        if not self._commanders():
            missing.append(f"nobody commands on {' or '.join(self.command_topics)}")
        if strangers := self._strangers():
            missing.append(f"{strangers} must not publish {self._clock} too (has every worker its own namespace?)")
        return missing

    def _strangers(self) -> list[str]:
        ends = self._node.get_publishers_info_by_topic(self._clock)
        return sorted(end.node_name for end in ends if not end.node_name.startswith(self._family))

    def _is_settled(self, found: Mapping[str, int], since: float) -> bool:
        return found == self._settled or time.monotonic() >= since + _QUIET
