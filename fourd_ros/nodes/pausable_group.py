"""A callback group whose callbacks can be held back."""

import threading
from typing import Any

from rclpy.callback_groups import CallbackGroup


class PausableGroup(CallbackGroup):
    """Callbacks that run in any number at a time, or not at all while the group is paused.

    An executor of rclpy collects all entities again for every message, which takes milliseconds in Python. Where only
    the newest message is wanted, it is cheaper to leave the others to the middleware.
    """

    def __init__(self) -> None:
        super().__init__()
        self._open = threading.Event()
        self._open.set()

    def pause(self) -> None:
        """Begin no callback; those that run end."""
        self._open.clear()

    def resume(self) -> None:
        """Go on, from the next time the executor looks (wake it)."""
        self._open.set()

    def can_execute(self, entity: Any) -> bool:
        """Whether the executor may begin the callback of an entity."""
        return self._open.is_set()

    def beginning_execution(self, entity: Any) -> bool:
        """The executor has chosen this entity."""
        return self.can_execute(entity)

    def ending_execution(self, entity: Any) -> None:
        """Nobody waits for the end of another callback here."""
