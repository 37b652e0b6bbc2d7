"""Which tracks lie on what stands still: a bundle adjustment of the majority, and a test of everybody against it."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from fourd_ros.reconstruction.bundle.adjustment import adjust
from fourd_ros.reconstruction.bundle.problem import BundleOptions, BundleProblem, BundleSolution

FloatArray = NDArray[np.float64]

RAYLEIGH_MEDIAN = 1.1774
"""Median length of an error whose two components have the standard deviation 1."""

SHORTEST = 3
"""Frames that a track must be seen in to be judged."""


@dataclass(frozen=True, kw_only=True)
class SegmentationOptions:
    """When a track moves.

    Args:
        rounds: of adjusting and testing at most.
        deviations: a still track's errors stay below this many standard deviations of still tracks.
        share: of the image's longer side that trackers may drift by, whatever the deviations say.
        quantile: of a track's errors that is tested, so that single bad frames do not count.
        depth: a still track's depth agrees with what was measured up to this logarithm.
    """

    rounds: int = 4
    deviations: float = 4.0
    share: float = 0.004
    quantile: float = 0.8
    depth: float = 0.3


@dataclass(frozen=True, kw_only=True)
class Segmentation:
    """Args:
    still: tracks on what stands still, shape [P].
    judged: tracks that are long enough to tell, shape [P].
    solution: the adjustment of the still ones; its points and errors are of all tracks.
    sigma: standard deviation of still tracks' positions [px].
    """

    still: NDArray[np.bool_]
    judged: NDArray[np.bool_]
    solution: BundleSolution
    sigma: float


def segment_motion(
    problem: BundleProblem,
    first: NDArray[np.bool_],
    *,
    longer_side: int,
    bundle: BundleOptions,
    options: SegmentationOptions | None = None,
) -> Segmentation:
    """Adjusts what is thought to stand still, asks every track whether it agrees, and starts again with those.

    Args:
        problem: all tracks.
        first: tracks to begin with, most of them still, shape [P].
        longer_side: of the image [px].
        bundle: how to adjust.
        options: when a track moves.
    """
    options = options or SegmentationOptions()
    judged = (problem.weights > 0).sum(axis=0) >= SHORTEST
    still = first & judged
    for _ in range(options.rounds):
        solution = adjust_only(problem, still, bundle)
        problem = _continued(problem, solution)
        solution = placed_all(problem, bundle)
        problem = replace(problem, points=solution.points)
        sigma = tracking_sigma(solution.errors[:, still])
        agreeing = judged & agrees(solution, problem, sigma=sigma, longer_side=longer_side, options=options)
        unchanged = (agreeing == still).all()
        still = agreeing
        if unchanged or still.sum() < SHORTEST:
            break
    return Segmentation(still=still, judged=judged, solution=solution, sigma=sigma)


def adjust_only(problem: BundleProblem, chosen: NDArray[np.bool_], options: BundleOptions) -> BundleSolution:
    """The adjustment of the `chosen` tracks alone; the points of others stay as given."""
    return adjust(replace(problem, weights=problem.weights * chosen), options)


def placed_all(problem: BundleProblem, options: BundleOptions) -> BundleSolution:
    """All points where they agree best with frames and focal length as they are."""
    fixed = replace(options, focal="fixed", scale_sigma=0.0, smooth_acceleration=np.inf, smooth_turning=np.inf)
    return adjust(replace(problem, fixed=np.ones(problem.frames, bool), prior=None), fixed)


def tracking_sigma(errors: FloatArray) -> float:
    """Standard deviation of a track's position along either axis [px], from reprojection errors, NaN unseen."""
    known = errors[np.isfinite(errors)]
    return float(np.median(known)) / RAYLEIGH_MEDIAN if len(known) else 0.0


def quantile_of(errors: FloatArray, share: float) -> FloatArray:
    """The error that a `share` of those of a track do not exceed, NaN left out; infinite where all are, shape [P]."""
    count = (~np.isnan(errors)).sum(axis=0)
    row = np.ceil(share * (count - 1)).astype(np.int64)
    ordered = np.sort(errors, axis=0)
    usual = np.take_along_axis(ordered, np.maximum(row, 0)[None], axis=0)[0]
    return np.where(count > 0, usual, np.inf)


def agrees(
    solution: BundleSolution,
    problem: BundleProblem,
    *,
    sigma: float,
    longer_side: int,
    options: SegmentationOptions,
) -> NDArray[np.bool_]:
    """Whether a track is where a still point would be, and as far away as was measured, shape [P]."""
    seen = np.isfinite(solution.errors) | np.isposinf(solution.errors)
    empty = ~seen.any(axis=0)
    errors = np.where(seen, solution.errors, np.nan)
    errors[:, empty] = np.inf
    usual = quantile_of(errors, options.quantile)
    found = usual < max(options.deviations * sigma, options.share * longer_side)
    if problem.depth is None:
        return found & ~empty
    offset = depth_offsets(solution, problem)
    known = np.isfinite(offset).any(axis=0)
    offset[:, ~known] = 0.0
    return found & ~empty & (np.abs(np.nanmedian(offset, axis=0)) < options.depth)


def depth_offsets(solution: BundleSolution, problem: BundleProblem) -> FloatArray:
    """log(depth of the point / measured depth) after the frame's scale, NaN where unknown, shape [F, P]."""
    assert problem.depth is not None
    R, t = solution.T_world_camera[:, :3, :3], solution.T_world_camera[:, :3, 3]
    z = np.einsum("fi,pi->fp", R[:, :, 2], solution.points) - np.einsum("fi,fi->f", R[:, :, 2], t)[:, None]
    with np.errstate(invalid="ignore", divide="ignore"):
        offset = np.log(z / problem.depth) - solution.log_scales[:, None]
    return np.where((problem.weights > 0) & np.isfinite(offset), offset, np.nan)


def _continued(problem: BundleProblem, solution: BundleSolution) -> BundleProblem:
    """The problem with what was found as its first idea."""
    return replace(
        problem,
        T_world_camera=solution.T_world_camera,
        points=solution.points,
        focal=solution.focal,
        log_scales=solution.log_scales,
    )
