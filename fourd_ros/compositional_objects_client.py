"""Asks a compositional objects node for the complete shapes of what its camera has seen."""

from collections.abc import Callable
from typing import Any

from fourd_msgs.action import ReconstructObjects
from rclpy.node import Node

from fourd_ros.bridge.times import ns_to_stamp, seconds_to_duration
from fourd_ros.goal_client import GoalClient, GoalFailed, PendingGoal


class ReconstructionFailed(GoalFailed):
    """A clip without an answer; the codes are those of ``fourd_msgs/action/ReconstructObjects``."""

    kind = "reconstruction_failed"


class CompositionalObjectsClient(GoalClient):
    """Wraps the action of one compositional objects node.

    Args:
        node: a node that somebody spins, in another thread than the one that waits here.
        name: name of the compositional objects node, with its namespace where it has one.
    """

    action_type, action_name, graph, failure = (
        ReconstructObjects,
        "reconstruct_objects",
        "compositional_objects",
        ReconstructionFailed,
    )

    def __init__(self, node: Node, *, name: str = "compositional_objects") -> None:
        super().__init__(node, name=name)

    def reconstruct(
        self,
        *,
        last_frames: int = 0,
        begin_ns: int = 0,
        end_ns: int = 0,
        deadline: float = 0.0,
        feedback: Callable[[Any], None] | None = None,
    ) -> PendingGoal[list[Any]]:
        """Ask for the objects of a clip; returns at once. The answer has a ``SceneObjectArray`` for every frame.

        Args:
            last_frames: the newest frames that the node keeps, where no time is given.
            begin_ns: first instant [ns].
            end_ns: last instant [ns]; 0 for now.
            deadline: the answer has to be there so long after acceptance [s]; 0 for none.
            feedback: called with every ``ReconstructObjects.Feedback``.
        """
        goal = ReconstructObjects.Goal(
            from_time=ns_to_stamp(begin_ns),
            to_time=ns_to_stamp(end_ns),
            last_frames=last_frames,
            deadline=seconds_to_duration(deadline),
        )
        return self.send(goal, read=lambda result: list(result.frames), feedback=feedback)
