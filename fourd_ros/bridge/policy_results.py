"""Outcomes of policies -> ``fourd_msgs/PolicyResult``."""

from collections.abc import Iterable, Sequence
from typing import Any

from fourd_msgs.msg import PolicyResult

from fourd_ros.evaluation.policy.task_summary import tally
from fourd_ros.evaluation.policy.units import Outcome, UnitResult
from fourd_ros.evaluation.statistics import wilson_interval


def policy_result_message(policy: str, task: str, results: Sequence[UnitResult]) -> Any:
    """How one policy did at one task.

    Args:
        policy: its name.
        task: kind of task.
        results: all of this policy and task, by one rung.
    """
    imagined = tally(result.imagined for result in results)
    true = [result.true for result in results]
    message = PolicyResult(
        policy=policy,
        task=task,
        valid=imagined.counted,
        invalid=imagined.invalid.total() + imagined.missing,
        abstained=imagined.abstained,
        has_truth=any(outcome is not None for outcome in true),
    )
    message.successes, message.rate, message.interval_low, message.interval_high = _rate(r.imagined for r in results)
    (
        message.truth_successes,
        message.truth_rate,
        message.truth_interval_low,
        message.truth_interval_high,
    ) = _rate(true)
    return message


def _rate(outcomes: Iterable[Outcome | None]) -> tuple[int, float, float, float]:
    """Successes, and their share with its interval."""
    counted = [bool(outcome.success) for outcome in outcomes if outcome is not None and outcome.counts]
    interval = wilson_interval(sum(counted), len(counted))
    return sum(counted), float(interval.estimate), float(interval.low), float(interval.high)
