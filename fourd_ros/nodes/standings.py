"""How policies stand while they are tried, told to whoever listens."""

import time
from collections.abc import Callable, Sequence
from typing import Any

from fourd_msgs.action import EvaluatePolicy

from fourd_ros.bridge.policy_results import policy_result_message
from fourd_ros.evaluation.policy.config import PolicyEvaluationConfig
from fourd_ros.evaluation.policy.units import UnitResult


class Standings:
    """Results so far of one evaluation, by policy and task.

    Args:
        config: of the evaluation.
        tell: takes ``EvaluatePolicy.Feedback``.
        period: shortest time between two rounds of feedback [s].
    """

    def __init__(self, config: PolicyEvaluationConfig, *, tell: Callable[[Any], object], period: float) -> None:
        cells = {(policy, task): None for task in config.tasks for policy in config.policies_for(task)}
        order = {policy: number for number, policy in enumerate(dict.fromkeys(policy for policy, _ in cells))}
        self._results: dict[tuple[str, str], list[UnitResult]] = {
            cell: [] for cell in sorted(cells, key=lambda cell: order[cell[0]])
        }
        self.done, self.total = 0, config.units
        self._tell, self._period = tell, period
        self._changed: dict[tuple[str, str], None] = {}
        self._told = float("-inf")

    def hear(self, results: Sequence[UnitResult]) -> None:
        """Take more results; tell what has changed since the last round, unless that was a moment ago."""
        for result in results:
            cell = result.unit.policy, result.unit.task
            self._results[cell].append(result)
            self._changed[cell] = None
        self.done += len(results)
        if self._changed and (self.done == self.total or time.monotonic() - self._told >= self._period):
            for cell in self._changed:
                self._tell(EvaluatePolicy.Feedback(done=self.done, total=self.total, latest=self._message(cell)))
            self._changed, self._told = {}, time.monotonic()

    def messages(self) -> list[Any]:
        """``fourd_msgs/PolicyResult``, policy by policy, task by task."""
        return [self._message(cell) for cell in self._results]

    def _message(self, cell: tuple[str, str]) -> Any:
        return policy_result_message(*cell, self._results[cell])
