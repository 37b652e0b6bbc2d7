"""Intervals that may be looked at after every outcome, so that an evaluation can stop as soon as it knows enough."""

from dataclasses import dataclass
from math import log

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fourd_ros.evaluation.statistics import Interval, share

FloatArray = NDArray[np.float64]

LARGEST_BET = 0.5
"""Share of the capital that is lost at most in one round; the paper advises 1/2 or 3/4."""
STEPS = 1000
"""Candidate means between 0 and 1 lie 1 / STEPS apart; even, so that 1/2 is one of them."""
ROWS_AT_ONCE = 1000
"""Outcomes whose capital is held at the same time, for all candidates."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Comparison:
    """Two policies on the same start states, as seen after each of them.

    Args:
        difference: success of the first minus that of the second with its confidence sequence, -1 to 1, shape [N].
        decided_at: number of start states after which the sequence did not hold 0 any more; None: it still does.
    """

    difference: Interval
    decided_at: int | None

    @property
    def first_is_better(self) -> bool | None:
        """None as long as it is undecided."""
        return None if self.decided_at is None else bool(self.difference.low[self.decided_at - 1] >= 0)


def confidence_sequence(outcomes: ArrayLike, *, confidence: float = 0.95) -> Interval:
    """Intervals of a mean that hold at all times at once, however the time to stop is chosen.

    The hedged capital process with predictable plug-in bets (Waudby-Smith and Ramdas 2024, JRSS B 86, 1-27, theorem 3):
    for each candidate mean m one gambler bets that the outcomes lie above it, one that they lie below it, each at fair
    odds, so m is refused once either has multiplied the stake of 1/2 to 1 / (1 - confidence). The probability that the
    true mean is ever refused is at most 1 - confidence. Bets of round t are known before it,

    ``sqrt(2 log(2 / alpha) / (variance_{t-1} t log(1 + t)))``, cut at `LARGEST_BET` / m and `LARGEST_BET` / (1 - m),

    with a running mean and variance that begin at 1/2 and 1/4. Intervals are those of all rounds so far intersected.

    Args:
        outcomes: between 0 and 1 in the order in which they came, all with the same mean given those before (start
            states in random order), NaN for a round that does not count, shape [N].
        confidence: probability that all intervals hold, between 0 and 1.

    Returns:
        After each outcome, shape [N]: the mean of those so far with its interval and their number. All intervals
        together may contradict each other (low above high), with the same small probability.

    Raises:
        ValueError: an outcome is not between 0 and 1, or `confidence` is not.
    """
    given = np.asarray(outcomes, dtype=np.float64)
    if given.ndim != 1 or (given < 0).any() or (given > 1).any():
        raise ValueError("needed are outcomes between 0 and 1 (NaN where unknown) in one row")
    if not 0 < confidence < 1:
        raise ValueError(f"confidence {confidence}; needed a value between 0 and 1")
    known = ~np.isnan(given)
    low, high = _refused(given[known], 1 - confidence)
    rounds = np.cumsum(known)
    return Interval(
        estimate=share(np.cumsum(np.where(known, given, 0.0)), rounds),
        low=np.concatenate([[0.0], np.maximum.accumulate(low)])[rounds],
        high=np.concatenate([[1.0], np.minimum.accumulate(high)])[rounds],
        count=rounds.astype(np.int64),
    )


def compare_paired(first: ArrayLike, second: ArrayLike, *, confidence: float = 0.95) -> Comparison:
    """Test two policies against each other on the same start states, as far as these were tried.

    It may be asked again after every start state and the evaluation stopped once `decided_at` is set: if both are
    equally good, that ever happens with a probability of at most 1 - confidence. Differences of paired outcomes, moved
    to 0 ... 1, go through `confidence_sequence`.

    Args:
        first: outcomes of one policy between 0 and 1 by start state in random order, NaN invalid, shape [N].
        second: those of the other on the same start states; only starts known for both count.
        confidence: 1 - probability of a wrong decision, ever.

    Raises:
        ValueError: an outcome or `confidence` is not between 0 and 1, or the shapes differ.
    """
    pair = [np.asarray(outcomes, dtype=np.float64) for outcomes in (first, second)]
    if pair[0].shape != pair[1].shape:
        raise ValueError(f"outcomes of shapes {[list(p.shape) for p in pair]}; needed is one for each start state")
    if any(((outcomes < 0) | (outcomes > 1)).any() for outcomes in pair):
        raise ValueError("needed are outcomes between 0 and 1, NaN where unknown")
    half = confidence_sequence((pair[0] - pair[1] + 1) / 2, confidence=confidence)
    estimate, low, high = (2 * part - 1 for part in (half.estimate, half.low, half.high))
    apart = np.flatnonzero((low >= 0) | (high <= 0))  # the ends themselves are refused, see `_refused`
    return Comparison(
        difference=Interval(estimate=estimate, low=low, high=high, count=half.count),
        decided_at=int(apart[0]) + 1 if apart.size else None,
    )


def _refused(outcomes: FloatArray, alpha: float) -> tuple[FloatArray, FloatArray]:
    """After each outcome the highest candidate refused from below and the lowest refused from above, shape [N] each.

    The capital of a gambler falls (rises) steadily with the candidate, so all candidates beyond these are refused, too.
    """
    candidates = np.arange(STEPS + 1) / STEPS
    bets = _bets(outcomes, alpha)
    wanted = log(2 / alpha)
    low, high = np.zeros(len(outcomes)), np.ones(len(outcomes))
    upwards, downwards = np.zeros(STEPS + 1), np.zeros(STEPS + 1)
    with np.errstate(divide="ignore"):
        largest_up, largest_down = LARGEST_BET / candidates, LARGEST_BET / candidates[::-1]
    for start in range(0, len(outcomes), ROWS_AT_ONCE):
        rows = slice(start, start + ROWS_AT_ONCE)
        above, bet = outcomes[rows, None] - candidates, bets[rows, None]
        up = upwards + np.cumsum(np.log1p(np.minimum(bet, largest_up) * above), axis=0)
        down = downwards + np.cumsum(np.log1p(-np.minimum(bet, largest_down) * above), axis=0)
        low[rows] = np.where(up >= wanted, candidates, 0.0).max(axis=1)
        high[rows] = np.where(down >= wanted, candidates, 1.0).min(axis=1)
        upwards, downwards = up[-1], down[-1]
    return low, high


def _bets(outcomes: FloatArray, alpha: float) -> FloatArray:
    """What is staked in each round, from the rounds before it alone, shape [N]."""
    rounds = np.arange(1, len(outcomes) + 1)
    means = (0.5 + np.cumsum(outcomes)) / (rounds + 1)
    variances = (0.25 + np.cumsum((outcomes - means) ** 2)) / (rounds + 1)
    before = np.concatenate([[0.25], variances])[: len(outcomes)]
    return np.asarray(np.sqrt(2 * log(2 / alpha) / (before * rounds * np.log1p(rounds))))
