"""The ``Imagine`` action: questions wait in a bounded queue, one is answered at a time."""

import time
import uuid
from typing import Any, Protocol

from fourd_msgs.action import Imagine
from rclpy.node import Node

from fourd_ros.nodes.queued_goals import QueuedGoalServer, TimedGoal
from fourd_ros.records import Rollout
from fourd_ros.world_model.base import Checkpoint, Question
from fourd_ros.world_model.ladder import Ladder, Rung

Answer = list[tuple[str, Rollout]]

PROGRESS_PERIOD = 0.2
"""Between two reports of how much of a long answer is done [s]."""


class Imaginer(Protocol):
    """What the server needs to know of its node."""

    ladder: Ladder

    def report(self, error: Exception) -> None:
        """Count and log."""

    def make_question(self, goal: Any, *, checkpoint: Checkpoint) -> Question:
        """Observation and goal -> question, calling `checkpoint` while it waits; raises typed errors."""

    def remember(self, rollout_id: str, rollout: Rollout) -> None:
        """Store a rollout so that its frames can be fetched."""

    def to_message(self, rollout_id: str, rollout: Rollout) -> Any:
        """``fourd_msgs/Rollout``."""

    def present(self, answer: Answer) -> None:
        """Show finished rollouts on the topics."""


class Inquiry(TimedGoal):
    """One question on its way through the queue, from an action goal or from the ``trajectory`` topic."""

    def __init__(self, request: Any, **callbacks: Any) -> None:
        super().__init__(request, **callbacks)
        self._told = self.accepted
        self._at_work = Imagine.Feedback.OBSERVING

    @staticmethod
    def slot_of(request: Any) -> str:
        """The goal names it."""
        return str(request.slot)

    def answer(self, imaginer: Imaginer) -> Answer:
        """Answer the question in the calling thread.

        Raises:
            FourdError: the input is bad, or somebody no longer wants the answer.
        """
        self._checkpoint(0.0)
        self._report(Imagine.Feedback.OBSERVING, 0.0)
        question = imaginer.make_question(self.request, checkpoint=self._checkpoint)
        self._at_work = Imagine.Feedback.IMAGINING
        self._report(self._at_work, 0.0)
        seconds_left = self.deadline - time.monotonic()
        plan = imaginer.ladder.plan(question, backend=self.request.backend, seconds_left=seconds_left)
        named: dict[int, tuple[str, Rollout]] = {}

        def on_rollout(rung: Rung, rollout: Rollout, fraction: float) -> None:
            rollout_id = str(uuid.uuid4())
            named[id(rollout)] = rollout_id, rollout
            imaginer.remember(rollout_id, rollout)
            last = rung is plan[-1] and not rollout.preview
            stage = Imagine.Feedback.FINISHING if last else Imagine.Feedback.REFINING
            self._report(stage, fraction, imaginer.to_message(rollout_id, rollout))

        rollouts = imaginer.ladder.climb(question, plan, checkpoint=self._checkpoint, on_rollout=on_rollout)
        return [named[id(rollout)] for rollout in rollouts]

    def _checkpoint(self, fraction: float) -> None:
        self.check_time(fraction)
        if time.monotonic() - self._told > PROGRESS_PERIOD:
            self._report(self._at_work, fraction)

    def _report(self, stage: int, fraction: float, preview: Any = None) -> None:
        self._told = time.monotonic()
        feedback = Imagine.Feedback(stage=stage, progress=float(fraction))
        if preview is not None:
            feedback.preview = preview
        self.tell(feedback)


class ImagineServer(QueuedGoalServer):
    """Answers questions on ``~/imagine``; starts closed.

    Args:
        node: needs an executor with several threads, so that a cancel request is heard while a goal is answered.
        imaginer: makes questions, answers and remembers.
        max_queued_goals: goals that may wait; more are rejected.
    """

    def __init__(self, node: Node, imaginer: Imaginer, *, max_queued_goals: int) -> None:
        self._imaginer = imaginer
        super().__init__(
            node,
            Imagine,
            "~/imagine",
            answer=self._fill,
            report=imaginer.report,
            max_queued_goals=max_queued_goals,
            goal_type=Inquiry,
        )

    def ask(self, goal: Any) -> None:
        """Answer a goal of the node's own on the topics; returns when it is done. For worker threads.

        Raises:
            QueueFull: too many wait already.
            NotActive: the server is closed.
        """
        self.in_turn(goal, self._present)

    def _present(self, inquiry: Inquiry) -> Answer:
        answer = inquiry.answer(self._imaginer)
        self._imaginer.present(answer)
        return answer

    def _fill(self, inquiry: Inquiry, result: Any) -> None:
        result.rollouts = [self._imaginer.to_message(*named) for named in self._present(inquiry)]
