"""How well single imagined outcomes agree with true ones, from sums by start state that a bootstrap can draw."""

from typing import Generic, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from fourd_ros.evaluation.correlation import known_pairs
from fourd_ros.evaluation.metric import Metric
from fourd_ros.evaluation.reliability import equal_bins
from fourd_ros.evaluation.statistics import Interval, share, wilson_interval

FloatArray = NDArray[np.float64]
Value = TypeVar("Value")


class EpisodeAgreement(NamedTuple, Generic[Value]):
    """What single outcomes say, over all policies and starts where both are known.

    An outcome between 0 and 1 (a mean over seeds) counts as the probability of success of an independent try.

    Args:
        agreement: share of the episodes whose imagined outcome is the true one.
        precision: share of the imagined successes that truly are.
        recall: share of the true successes that are imagined.
    """

    agreement: Value
    precision: Value
    recall: Value


EPISODE_METRICS = EpisodeAgreement(
    agreement=Metric(
        name="agreement",
        title="episode agreement",
        higher_is_better=True,
        source="share of the episodes with the true outcome",
        average="share",
    ),
    precision=Metric(
        name="precision", higher_is_better=True, source="share of the imagined successes that are true", average="share"
    ),
    recall=Metric(
        name="recall", higher_is_better=True, source="share of the true successes that are imagined", average="share"
    ),
)
CALIBRATION_ERROR = Metric(
    name="calibration_error",
    title="expected calibration error",
    source="Naeini, Cooper and Hauskrecht 2015; bins that hold equally many episodes",
)


def episode_sums(imagined: FloatArray, true: FloatArray) -> FloatArray:
    """Episodes, equal outcomes, shared, imagined and true successes at each start, shape [S, 5], from [P, S] each."""
    imagined, true = known_pairs(imagined, true)
    both = imagined * true
    equal = both + (1 - imagined) * (1 - true)
    return np.stack([np.nansum(part, axis=0) for part in (np.isfinite(both), equal, both, imagined, true)], axis=1)


def episode_agreement(sums: FloatArray) -> EpisodeAgreement[FloatArray]:
    """Shares from sums (or their means) in the order of `episode_sums`, shape [..., 5]; NaN of nothing."""
    return EpisodeAgreement(*(share(part, whole) for part, whole in _parts(sums)))


def wilson_agreement(sums: FloatArray, *, confidence: float) -> EpisodeAgreement[Interval]:
    """Wilson intervals from sums in the order of `episode_sums`, shape [5], as if all episodes were independent."""
    return EpisodeAgreement(
        *(wilson_interval(float(part), float(whole), confidence=confidence) for part, whole in _parts(sums))
    )


def calibration_sums(probabilities: FloatArray, true: FloatArray) -> FloatArray:
    """What the calibration error needs of each start: episodes, and by bin the sum of probability minus outcome.

    Args:
        probabilities: imagined ones of success, NaN unknown, shape [P, S].
        true: outcomes, NaN unknown, same shape.

    Returns:
        Shape [S, 1 + bins]; the bins are those of `reliability.equal_bins` over all episodes.
    """
    probabilities, true = known_pairs(probabilities, true)
    known = np.isfinite(true)
    start, gap = np.nonzero(known.T)[0], (probabilities - true).T[known.T]
    bins = equal_bins(probabilities.T[known.T])
    by_bin = [np.bincount(start[members], gap[members], minlength=true.shape[1]) for members in bins]
    return np.stack([known.sum(axis=0), *by_bin], axis=1)


def calibration_error(sums: FloatArray) -> FloatArray:
    """Expected calibration error from sums (or their means) of `calibration_sums`, [..., 1 + bins] -> [...]."""
    return share(np.abs(sums[..., 1:]).sum(-1), sums[..., 0])


def _parts(sums: FloatArray) -> tuple[tuple[FloatArray, FloatArray], ...]:
    episodes, equal, both, imagined, true = np.moveaxis(sums, -1, 0)
    return (equal, episodes), (both, imagined), (both, true)
