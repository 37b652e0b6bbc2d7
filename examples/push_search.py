"""The cross-entropy method: draw, keep the best, draw around them again.

Source: Rubinstein & Kroese, "The Cross-Entropy Method", Springer 2004, chapter 5.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from fourd_ros.records import FloatArray

Cost = Callable[[FloatArray], FloatArray]
"""Candidates [C, P] -> what each of them costs, infinite for what cannot be done, shape [C]."""

LEAST_SPREAD = 0.02
"""Candidates of a round spread at least by this share of the bounds."""


@dataclass(frozen=True, kw_only=True)
class SearchSettings:
    """How much is tried.

    Args:
        rounds: of candidates; those of the first are spread evenly over the bounds.
        candidates: of a round.
        elites: best ones so far, around which the next round is drawn.
    """

    rounds: int = 4
    candidates: int = 64
    elites: int = 8


@dataclass(frozen=True, kw_only=True)
class Found:
    """The best candidate.

    Args:
        best: its numbers, shape [P]; the middle of the bounds if nothing that was drawn can be done.
        cost: infinite then.
    """

    best: FloatArray
    cost: float


def search(cost: Cost, bounds: FloatArray, settings: SearchSettings, rng: np.random.Generator) -> Found:
    """The best candidate within bounds [P, 2] (least and greatest). Of equally good ones, the one drawn first."""
    low, high = bounds.T
    pool, costs = np.empty((0, len(bounds))), np.empty(0)
    for _ in range(settings.rounds):
        drawn = _draw(pool, low, high, settings.candidates, rng)
        pool, costs = np.concatenate([pool, drawn]), np.concatenate([costs, cost(drawn)])
        best = np.argsort(costs, kind="stable")[: settings.elites]
        best = best[np.isfinite(costs[best])]
        pool, costs = pool[best], costs[best]
    if len(pool) == 0:
        return Found(best=(low + high) / 2, cost=np.inf)
    return Found(best=pool[0], cost=float(costs[0]))


def _draw(elites: FloatArray, low: FloatArray, high: FloatArray, count: int, rng: np.random.Generator) -> FloatArray:
    """Candidates around the elites [E, P]; anywhere within the bounds while there are fewer than two."""
    if len(elites) < 2:
        return rng.uniform(low, high, (count, len(low)))
    spread = np.maximum(elites.std(axis=0), LEAST_SPREAD * (high - low))
    return np.asarray(np.clip(rng.normal(elites.mean(axis=0), spread, (count, len(low))), low, high))
