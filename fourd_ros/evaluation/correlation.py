"""Correlation of two columns of rates, and how far so few policies can carry it."""

from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import rankdata

from fourd_ros.evaluation.statistics import Interval, mean_of_known, share

FloatArray = NDArray[np.float64]

FEWEST = 4
"""Pairs below which Fisher's interval does not exist: its variance is 1 / (pairs - 3)."""


def known_pairs(first: ArrayLike, second: ArrayLike) -> tuple[FloatArray, FloatArray]:
    """Both arrays in their common shape, NaN in both where either is not known."""
    both = np.stack(np.broadcast_arrays(np.asarray(first, np.float64), np.asarray(second, np.float64)))
    known = np.where(np.isfinite(both).all(axis=0), both, np.nan)
    return known[0], known[1]


def pearson(first: ArrayLike, second: ArrayLike) -> FloatArray:
    """Pearson's r along the last axis over the entries known in both.

    Args:
        first: NaN unknown, shape [..., P].
        second: same shape.

    Returns:
        Shape [...]; NaN where a side does not vary or fewer than two pairs are known.
    """
    first, second = known_pairs(first, second)
    a, b = (np.nan_to_num(side - mean_of_known(side, axis=-1)[..., None]) for side in (first, second))
    r = share((a * b).sum(-1), np.sqrt((a**2).sum(-1) * (b**2).sum(-1)))
    return np.where(_varies(first) & _varies(second), np.clip(r, -1.0, 1.0), np.nan)


def spearman(first: ArrayLike, second: ArrayLike) -> FloatArray:
    """Spearman's rank correlation along the last axis: Pearson's r of the ranks, ties share their mean rank.

    Args and result as in `pearson`.
    """
    first, second = known_pairs(first, second)
    return pearson(*(rankdata(side, axis=-1, nan_policy="omit") for side in (first, second)))


def fisher_interval(r: float, pairs: int, *, confidence: float = 0.95) -> Interval:
    """Interval of a Pearson correlation by the z transform (Fisher 1921, Metron 1, 3-32): tanh(atanh r +- z/sqrt(n-3)).

    It takes the pairs as drawn from a bivariate normal distribution; policies chosen to span 0 to 100 % are not, so
    read it beside the bootstrap over start states and the range of `leave_one_out`.

    Args:
        r: the correlation, NaN unknown.
        pairs: policies behind it.
        confidence: coverage between 0 and 1.

    Returns:
        NaN ends where `r` is unknown or there are fewer than `FEWEST` pairs.

    Raises:
        ValueError: `r` is not between -1 and 1, or `confidence` not between 0 and 1.
    """
    if abs(r) > 1:
        raise ValueError(f"correlation {r}; needed a value between -1 and 1")
    if not 0 < confidence < 1:
        raise ValueError(f"confidence {confidence}; needed a value between 0 and 1")
    ends = np.full(2, np.nan)
    if pairs >= FEWEST:
        half = NormalDist().inv_cdf(0.5 + confidence / 2) / np.sqrt(pairs - 3)
        with np.errstate(divide="ignore"):
            ends = np.tanh(np.arctanh(r) + np.array([-half, half]))
    low, high = ends
    return Interval(estimate=np.array(r), low=np.array(low), high=np.array(high), count=np.array(pairs, np.int64))


def leave_one_out(first: ArrayLike, second: ArrayLike) -> FloatArray:
    """Pearson's r without each of the P pairs in turn, shape [P], from arrays of shape [P]."""
    first, second = known_pairs(first, second)
    left = np.where(np.eye(len(first), dtype=bool), np.nan, first)
    return pearson(left, second)


def permutation_p(first: ArrayLike, second: ArrayLike, *, permutations: int = 9999, seed: int = 0) -> float:
    """Probability of a Pearson r at least as high as this if the pairing meant nothing (one-sided, Monte Carlo).

    (1 + permutations at least as high) / (1 + permutations), so it is never 0 (Phipson and Smyth 2010, Stat. Appl.
    Genet. Mol. Biol. 9, article 39).

    Args:
        first: NaN unknown, shape [P].
        second: same shape.
        permutations: random orders of `second` that are tried.
        seed: of the orders.

    Returns:
        NaN where r is.
    """
    first, second = known_pairs(first, second)
    known = np.isfinite(first)
    observed = pearson(first, second)
    if not np.isfinite(observed):
        return float("nan")
    orders = np.random.default_rng(seed).permuted(np.tile(second[known], (permutations, 1)), axis=1)
    rounding = 1e-12
    as_high = np.count_nonzero(pearson(first[known], orders) >= observed - rounding)
    return (1 + as_high) / (1 + permutations)


def _varies(values: FloatArray) -> NDArray[np.bool_]:
    """Whether the known values along the last axis differ; deviations from a rounded mean would not tell."""
    known = np.isfinite(values)
    lowest = np.where(known, values, np.inf).min(axis=-1, initial=np.inf)
    highest = np.where(known, values, -np.inf).max(axis=-1, initial=-np.inf)
    return np.asarray(highest > lowest)
