"""What a user of imagined futures should know, counted on ``/diagnostics``."""

from fourd_ros.bridge.diagnostics import Counters
from fourd_ros.records import Rollout, RolloutFlags


def count_caveats(
    counters: Counters, rollout: Rollout, *, low_trust: float, besides: RolloutFlags = RolloutFlags.NONE
) -> None:
    """So that a robot whose questions leave what the models know is seen.

    Args:
        counters: of the node.
        rollout: what was imagined.
        low_trust: rollouts that are trusted less are counted.
        besides: flags that mean nothing here.
    """
    if rollout.trust < low_trust:
        counters.count("low_trust")
    for flag in rollout.flags & ~besides:
        counters.count(str(flag.name).lower())
