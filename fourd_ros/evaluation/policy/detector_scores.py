"""How right a detector of success is, told on outcomes that are known."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fourd_ros.evaluation.episode_agreement import EpisodeAgreement, episode_sums, wilson_agreement
from fourd_ros.evaluation.statistics import Interval


@dataclass(frozen=True, kw_only=True)
class DetectorScore:
    """A detector on ground truth.

    Args:
        name: of the detector.
        judged: episodes on which it said yes or no.
        unsure: share of the episodes on which it did not; NaN where there are none.
        episodes: agreement with the truth, precision and recall where it did, with Wilson's interval.
    """

    name: str
    judged: int
    unsure: float
    episodes: EpisodeAgreement[Interval]


def score_detector(
    name: str, verdicts: Sequence[tuple[bool | None, bool]], *, confidence: float = 0.95
) -> DetectorScore:
    """Judge a detector.

    Args:
        name: of the detector.
        verdicts: what it said of an episode (None: unsure) and what is true.
        confidence: coverage of the intervals, between 0 and 1.
    """
    said = np.array([[np.nan if found is None else found for found, _ in verdicts]], dtype=np.float64)
    true = np.array([[outcome for _, outcome in verdicts]], dtype=np.float64)
    judged = int(np.isfinite(said).sum())
    return DetectorScore(
        name=name,
        judged=judged,
        unsure=1 - judged / len(verdicts) if verdicts else float("nan"),
        episodes=wilson_agreement(episode_sums(said, true).sum(axis=0), confidence=confidence),
    )
