"""Letting the first frame of a problem go, without forgetting what it said of the others."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from fourd_ros.reconstruction.bundle.adjustment import Adjustment
from fourd_ros.reconstruction.bundle.prior import FramePrior
from fourd_ros.reconstruction.bundle.problem import BundleOptions, BundleProblem
from fourd_ros.reconstruction.bundle.state import POSE

SIZE = POSE + 1
"""Unknowns of a frame in a prior: pose and depth scale."""

LEAST = 1e-9
"""Eigenvalues below this share of the largest are directions that nothing constrains."""


def prior_without_first(
    problem: BundleProblem, leaving: NDArray[np.bool_], options: BundleOptions
) -> FramePrior | None:
    """What the first frame, the points that go with it and the prior of `problem` say about the other frames.

    The pose of the first frame is what holds the world, so the rest is told relative to it as it stands.

    Args:
        problem: at its solution.
        leaving: points that go with the first frame, with all their observations, shape [P].
        options: as it was adjusted.

    Returns:
        A prior on frames 1 to F - 1, numbered from 0; None if it says nothing.
    """
    leaving = leaving & ((problem.weights > 0).sum(axis=0) >= 2) & (problem.weights[0] > 0)
    if not leaving.any():
        return None
    share = replace(problem, weights=problem.weights * leaving)
    adjustment = Adjustment(share, replace(options, focal="fixed"))
    information, gradient = adjustment.reduced()
    own = adjustment.unknowns
    full = problem.frames * SIZE
    kept = (np.arange(problem.frames)[:, None] * SIZE + np.arange(own)).ravel()
    H, g = np.zeros((full, full)), np.zeros(full)
    H[np.ix_(kept, kept)], g[kept] = information, gradient
    scale = np.array([POSE] if own > POSE and options.scale_sigma > 0 else [], np.int64)
    rest = np.arange(SIZE, full)
    if len(scale):
        cross = H[np.ix_(rest, scale)] / max(H[POSE, POSE], 1e-300)
        H_rest, g_rest = H[np.ix_(rest, rest)] - cross @ H[np.ix_(scale, rest)], g[rest] - cross @ g[scale]
    else:
        H_rest, g_rest = H[np.ix_(rest, rest)], g[rest]
    others = np.flatnonzero(np.abs(H_rest.reshape(problem.frames - 1, SIZE, -1)).sum(axis=(1, 2)) > 0)
    if not len(others):
        return None
    rows = (others[:, None] * SIZE + np.arange(SIZE)).ravel()
    scales = np.zeros(problem.frames) if problem.log_scales is None else problem.log_scales
    return FramePrior(
        frames=others,
        T_world_camera=problem.T_world_camera[1:][others],
        log_scales=scales[1:][others],
        information=_positive(H_rest[np.ix_(rows, rows)]),
        gradient=g_rest[rows],
    )


def _positive(information: NDArray[np.float64]) -> NDArray[np.float64]:
    """Symmetric, without the negative directions that rounding leaves."""
    values, vectors = np.linalg.eigh((information + information.T) / 2)
    kept = np.where(values > LEAST * max(values.max(initial=0.0), 0.0), values, 0.0)
    positive: NDArray[np.float64] = (vectors * kept) @ vectors.T
    return positive
