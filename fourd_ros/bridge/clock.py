"""Watches over the ROS clock: jumps both ways, and more than one publisher of ``/clock``."""

from collections.abc import Callable
from typing import Any

from rclpy.clock import Clock, ClockType, JumpThreshold, TimeJump  # type: ignore[attr-defined]
from rclpy.duration import Duration

from fourd_ros.errors import ClockConflict

CLOCK_TOPIC = "/clock"
CHECK_PERIOD = 1.0


def steady_clock() -> Clock:
    """A clock for timers that must run on while ``/clock`` is paused or missing."""
    return Clock(clock_type=ClockType.STEADY_TIME)


class ClockWatch:
    """Tells a node when its clock jumps and when two publishers drive it.

    Args:
        node: rclpy node with ``use_sim_time`` or without (then nothing happens).
        on_jump: called with the size of a jump [s], negative backwards, on the clock's thread.
        on_conflict: called with a ClockConflict, once for each time that a second publisher appears.
        forward: a longer step forward is a jump [s]; backwards every step is one.
    """

    def __init__(
        self,
        node: Any,
        *,
        on_jump: Callable[[float], None],
        on_conflict: Callable[[ClockConflict], None],
        forward: float = 2.0,
    ) -> None:
        self._node = node
        self._on_jump = on_jump
        self._on_conflict = on_conflict
        self._conflict = False
        threshold = JumpThreshold(
            min_forward=Duration(seconds=forward), min_backward=Duration(nanoseconds=-1), on_clock_change=False
        )
        self._handle = node.get_clock().create_jump_callback(threshold, post_callback=self._jumped)
        self._timer = node.create_timer(CHECK_PERIOD, self.check, clock=steady_clock())

    def check(self) -> None:
        """Look for a second publisher of ``/clock`` now."""
        if not self._node.get_clock().ros_time_is_active:
            return
        publishers = self._node.get_publishers_info_by_topic(CLOCK_TOPIC)
        conflict = len(publishers) > 1
        if conflict and not self._conflict:
            names = sorted(f"{p.node_namespace.rstrip('/')}/{p.node_name}" for p in publishers)
            self._on_conflict(
                ClockConflict(f"{len(publishers)} publishers of {CLOCK_TOPIC}: {', '.join(names)}; stop all but one")
            )
        self._conflict = conflict

    def destroy(self) -> None:
        """Stop watching."""
        self._handle.unregister()
        self._node.destroy_timer(self._timer)

    def _jumped(self, jump: TimeJump) -> None:
        self._on_jump(jump.delta.nanoseconds * 1e-9)
