"""Shows the newest answer frame by frame on latched topics, so that a viewer never gets a burst."""

import threading
from collections.abc import Sequence
from typing import Any

from fourd_msgs.msg import SceneObjectArray
from visualization_msgs.msg import MarkerArray

from fourd_ros.bridge.qos import LATCHED
from fourd_ros.nodes.base import FourdNode

__all__ = ["ObjectPlayback"]


class ObjectPlayback:
    """Publishes ``~/objects`` and ``~/markers``, from a node's ``start`` to its ``stop``.

    Args:
        node: that publishes.
    """

    def __init__(self, node: FourdNode) -> None:
        self._node = node
        self._frames: list[tuple[Any, Any]] = []
        self._next = 0
        self._lock = threading.Lock()
        self._objects = node.advertise(SceneObjectArray, "~/objects", LATCHED)
        self._markers = node.advertise(MarkerArray, "~/markers", LATCHED)
        node.every(node.parameters.playback_period, self._show)

    def play(self, arrays: Sequence[Any], markers: Sequence[Any]) -> None:
        """Show an answer from its first frame on.

        Args:
            arrays: ``SceneObjectArray`` of every frame.
            markers: ``MarkerArray`` of every frame.
        """
        with self._lock:
            self._frames, self._next = list(zip(arrays, markers, strict=True)), 0

    def _show(self) -> None:
        with self._lock:
            if self._next == len(self._frames):
                if not self._node.parameters.loop or len(self._frames) < 2:
                    return
                self._next = 0
            objects, markers = self._frames[self._next]
            self._next += 1
        self._objects.publish(objects)
        self._markers.publish(markers)
