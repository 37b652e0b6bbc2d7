"""How camera paths and depth are judged."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fourd_ros.evaluation.pose_metrics import pose_scores
from fourd_ros.evaluation.video_depth_metrics import MAX_DEPTH, video_depth_errors
from fourd_ros.geometry.transforms import from_parts
from fourd_ros.verify.checks import check
from fourd_ros.verify.comparison import Comparison
from fourd_ros.verify.dynamicverse.folder import SYSTEM
from fourd_ros.verify.tolerance import Tolerance
from fourd_ros.verify.vectors import Tensors, VectorFolder

_POSES = Tolerance(rtol=1e-5, atol=1e-7)
_FITS = Tolerance(rtol=1e-4)
_ROUNDED = Tolerance(rtol=1e-3)
"""Of ten rounds of reweighting: weights up to 1e8 make the end depend on rounding (section 14.3)."""

_DISPARITY: dict[str, Any] = {"domain": "disparity", "max_depth": MAX_DEPTH, "clip": MAX_DEPTH}
_DEPTH: dict[str, Any] = {"domain": "depth", "clip": math.inf}
_ROWS: tuple[dict[str, Any], ...] = (
    {"fit": "scale-shift", **_DISPARITY},
    {"fit": "median", **_DISPARITY},
    {"fit": "scale", **_DISPARITY},
    {"fit": "scale-shift", "max_depth": 80.0, **_DEPTH},
    {"fit": "median", "max_depth": math.inf, **_DEPTH},
    {"fit": "scale", "max_depth": 5.0, **_DEPTH},
)


@check(SYSTEM, "eval_pose.npz")
def poses(_: VectorFolder, vectors: Tensors, compare: Comparison) -> None:
    """Every path, with the true one as it is and divided by its length."""
    rows = [
        [value for normalize in (False, True) for value in _pose_row(vectors, number, normalize=normalize)]
        for number in range(len(vectors["metrics"]))
    ]
    compare("metrics", rows, tolerance=_POSES)


@check(SYSTEM, "eval_depth.npz")
def depth(_: VectorFolder, vectors: Tensors, compare: Comparison) -> None:
    """All fits in both domains."""
    rows = np.array([_depth_row(vectors, options) for options in _ROWS])
    rounded = np.array([options["fit"] == "scale" for options in _ROWS])
    expected = vectors["metrics"]
    compare("metrics", rows[~rounded], expected=expected[~rounded], tolerance=_FITS)
    compare("metrics, reweighted", rows[rounded], expected=expected[rounded], tolerance=_ROUNDED)


def _pose_row(vectors: Tensors, number: int, *, normalize: bool) -> tuple[float, float, float]:
    truth, estimate = (
        from_parts(vectors[f"{which}_R_{number}"], vectors[f"{which}_t_{number}"]) for which in ("gt", "est")
    )
    scores = pose_scores(estimate, truth, normalize=normalize)
    return scores.ate, scores.rpe_translation, scores.rpe_rotation


def _depth_row(vectors: Tensors, options: dict[str, Any]) -> tuple[float, float, float]:
    disparity: NDArray[np.float64] = vectors["pred_disp"].astype(np.float64)
    given = disparity if options["domain"] == "disparity" else 1 / disparity
    errors = video_depth_errors(given, vectors["gt"], **options)
    return errors.abs_rel, errors.delta, float(errors.pixels)
