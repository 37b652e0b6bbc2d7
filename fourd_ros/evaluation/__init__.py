"""How good predictions are: metrics, intervals, reports, and policies judged in the imagination."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fourd_ros.evaluation.policy.config import PolicyEvaluationConfig
    from fourd_ros.evaluation.policy.evaluation import PolicyEvaluation

__all__ = ["PolicyEvaluation", "PolicyEvaluationConfig"]


def __getattr__(name: str) -> Any:
    """`PolicyEvaluation` and its configuration, imported when they are asked for: they need the simulator."""
    if name == "PolicyEvaluation":
        from fourd_ros.evaluation.policy.evaluation import PolicyEvaluation

        return PolicyEvaluation
    if name == "PolicyEvaluationConfig":
        from fourd_ros.evaluation.policy.config import PolicyEvaluationConfig

        return PolicyEvaluationConfig
    raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
