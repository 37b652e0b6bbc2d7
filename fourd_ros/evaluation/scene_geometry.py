"""How well scene language tells depth and the camera's path, beside what tells them without learning.

A sequence is one unit. Every prediction is judged twice: with one factor for the whole sequence that fits best, and in
metres, whose length comes from the true depth of the first frame alone (`scale_from_depth`), as a depth camera that
fails after it would leave it; the first frame then does not count.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fourd_ros.data.scene_shards import SceneFrames, SceneShards
from fourd_ros.errors import InvalidDataset, InvalidResults
from fourd_ros.evaluation.depth_metrics import EIGEN, depth_errors
from fourd_ros.evaluation.metric import Metric
from fourd_ros.evaluation.path_metrics import absolute_errors, relative_errors, root_mean_square
from fourd_ros.evaluation.pose_metrics import pose_scores
from fourd_ros.evaluation.two_view_path import two_view_path
from fourd_ros.geometry.transforms import invert
from fourd_ros.scene_language.metric_scale import scale_from_depth

FloatArray = NDArray[np.float64]

CONSTANT, FIRST, STILL, CORNERS = (
    "training median everywhere",
    "first depth again",
    "camera stands still",
    "corners and essential matrix",
)

ABS_REL = Metric(name="abs_rel", title="AbsRel", source=f"one factor a sequence (median of ratios); {EIGEN}")
DELTA = Metric(
    name="delta1",
    title="δ < 1.25",
    scale=100.0,
    unit="%",
    higher_is_better=True,
    source=f"one factor a sequence; {EIGEN}",
)
ABS_REL_METRIC = Metric(
    name="abs_rel_metric", title="AbsRel in metres", source="length from the true depth of the first frame"
)
DELTA_METRIC = Metric(
    name="delta1_metric",
    title="δ < 1.25 in metres",
    scale=100.0,
    unit="%",
    higher_is_better=True,
    source="length from the true depth of the first frame",
)
ATE = Metric(name="ate", title="ATE", scale=1000.0, unit="mm", source="after the similarity that fits best (Umeyama)")
RPE_TRANSLATION = Metric(
    name="rpe_translation", title="RPE", scale=1000.0, unit="mm", source="frame to frame, of the aligned path"
)
RPE_ROTATION = Metric(name="rpe_rotation", title="RPE, rotation", unit="°", decimals=2, source="frame to frame")
DRIFT = Metric(
    name="ate_metric",
    title="ATE in metres",
    scale=1000.0,
    unit="mm",
    source="from the first camera, length from the true depth of the first frame; root mean square of later frames",
)
METRICS = (ABS_REL, DELTA, ABS_REL_METRIC, DELTA_METRIC, ATE, RPE_TRANSLATION, RPE_ROTATION, DRIFT)


@dataclass(frozen=True, kw_only=True, eq=False)
class SaidGeometry:
    """What a method says of a sequence.

    Args:
        depth: in a length of its own, shape [F, H, W]; None where it says nothing.
        T_first_camera: in the same length, shape [F, 4, 4]; None likewise.
        metres: in that length; NaN where it is not known, and so nothing can be said in metres.
    """

    depth: NDArray[np.floating] | None = None
    T_first_camera: FloatArray | None = None
    metres: float = math.nan


def network_says(depth: NDArray[np.floating], T_first_camera: FloatArray, frames: SceneFrames) -> SaidGeometry:
    """The network's depth and path, with the length from the first true depth."""
    metres = scale_from_depth(depth[0], frames.depth[0]).metres
    return SaidGeometry(depth=depth, T_first_camera=T_first_camera, metres=metres)


def baselines(median: float) -> dict[str, Callable[[SceneFrames], SaidGeometry]]:
    """Methods that learn nothing but the median depth of the training sequences [m]."""
    return {
        CONSTANT: lambda frames: SaidGeometry(depth=np.full_like(frames.depth, median), metres=1.0),
        FIRST: lambda frames: SaidGeometry(depth=np.repeat(frames.depth[:1], len(frames.depth), axis=0), metres=1.0),
        STILL: lambda frames: SaidGeometry(T_first_camera=np.tile(np.eye(4), (len(frames.depth), 1, 1)), metres=1.0),
        CORNERS: lambda frames: SaidGeometry(T_first_camera=two_view_path(frames.rgb, frames.K)),
    }


def median_depth(shards: SceneShards, *, sequences: int) -> float:
    """Over the known pixels of the first frames of the first sequences [m].

    Raises:
        InvalidDataset: no depth is known.
    """
    first = [shards.frames(index, [0]).depth for index in range(min(sequences, len(shards)))]
    median = float(np.nanmedian(np.concatenate([depth.ravel() for depth in first])))
    if not math.isfinite(median):
        raise InvalidDataset(f"'{shards.folder}' knows no depth")
    return median


def judge_geometry(said: SaidGeometry, frames: SceneFrames) -> dict[str, float]:
    """All `METRICS` by name; NaN where a method says nothing."""
    found = dict.fromkeys((metric.name for metric in METRICS), math.nan)
    if said.depth is not None:
        found |= _depth(said.depth, said.metres, frames.depth)
    if said.T_first_camera is not None:
        found |= _path(said.T_first_camera, said.metres, frames.T_world_camera)
    return found


def _depth(depth: NDArray[np.floating], metres: float, truth: NDArray[np.floating]) -> dict[str, float]:
    with np.errstate(invalid="ignore", divide="ignore"):
        ratios = truth / depth
    factor = float(np.median(ratios[np.isfinite(ratios)])) if np.isfinite(ratios).any() else math.nan
    fitted, metric = _errors(factor * depth, truth), _errors(metres * depth[1:], truth[1:])
    return {
        ABS_REL.name: fitted[0],
        DELTA.name: fitted[1],
        ABS_REL_METRIC.name: metric[0],
        DELTA_METRIC.name: metric[1],
    }


def _errors(depth: NDArray[np.floating], truth: NDArray[np.floating]) -> Sequence[float]:
    """AbsRel and δ over all pixels of a sequence."""
    errors = depth_errors(depth.reshape(-1, depth.shape[-1]), truth.reshape(-1, truth.shape[-1]))
    return float(errors.abs_rel), float(errors.delta1)


def _path(T_first_camera: FloatArray, metres: float, T_world_camera: FloatArray) -> dict[str, float]:
    truth = invert(T_world_camera[0]) @ T_world_camera
    try:
        scores = pose_scores(T_first_camera, truth)
        fitted = scores.ate, scores.rpe_translation, scores.rpe_rotation
    except InvalidResults:  # it stands still, or nearly so
        fitted = _of_standing(truth)
    in_metres = T_first_camera.copy()
    in_metres[:, :3, 3] *= metres
    away = absolute_errors(in_metres[1:], truth[1:], align="none").translation
    return {
        ATE.name: fitted[0],
        RPE_TRANSLATION.name: fitted[1],
        RPE_ROTATION.name: fitted[2],
        DRIFT.name: float(root_mean_square(away)),
    }


def _of_standing(truth: FloatArray) -> tuple[float, float, float]:
    """Scores of a camera that stands where it fits best: a similarity can do no better for it."""
    steps = relative_errors(np.broadcast_to(np.eye(4), truth.shape), truth)
    positions = truth[:, :3, 3]
    ate = float(np.sqrt(np.square(positions - positions.mean(axis=0)).sum(axis=-1).mean()))
    return ate, float(root_mean_square(steps.translation)), math.degrees(float(root_mean_square(steps.rotation)))
