"""Compares an imagined video with what the camera recorded later, beside the baseline that nothing changes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from fourd_ros.errors import InvalidInput
from fourd_ros.evaluation.depth_metrics import COVERAGE, MEDIAN_DEPTH_ERROR, median_depth_error
from fourd_ros.evaluation.image_metrics import PSNR, psnr
from fourd_ros.evaluation.mask_metrics import SILHOUETTE_IOU, intersection_over_union
from fourd_ros.evaluation.metric import Metric
from fourd_ros.evaluation.regions import MOVED_THRESHOLD, split, visible
from fourd_ros.evaluation.statistics import share
from fourd_ros.records import Mask, RobotRendering, RolloutView, View

FloatArray = NDArray[np.float64]


RELEVANT = 0.05
"""A difference below this share of what the repeated first frame reaches is not worth a word."""

DEPTH_NOISE = 0.002
"""What a depth camera cannot tell apart [m]."""


def _depth_error(region: str, title: str) -> Metric:
    return replace(
        MEDIAN_DEPTH_ERROR,
        name=f"depth_{region}",
        title=f"depth error, {title}",
        tolerance=DEPTH_NOISE,
        relevant=RELEVANT,
        good=MOVED_THRESHOLD,
    )


METRICS: Mapping[str, Metric] = {
    metric.name: metric
    for metric in (
        replace(
            SILHOUETTE_IOU,
            name="robot_iou",
            title="robot silhouette IoU",
            tolerance=0.005,
            relevant=RELEVANT,
            good=0.9,
        ),
        _depth_error("robot", "robot"),
        _depth_error("static", "static scene"),
        _depth_error("held", "object held at the start"),
        _depth_error("free", "other moved objects"),
        replace(PSNR, title="colour PSNR", tolerance=0.1, relevant=RELEVANT, good=25.0),
        replace(COVERAGE, title="pixels predicted", tolerance=0.002, relevant=RELEVANT, good=0.0),
    )
}


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """One metric of the prediction and of the baseline over the horizon, each [T], SI units, NaN where undefined."""

    prediction: FloatArray
    first_frame: FloatArray


@dataclass(frozen=True, kw_only=True)
class FutureScore:
    """One imagined video judged against its recording.

    Args:
        times: horizon of every step [s], shape [T].
        metrics: values by the keys of `METRICS`.
    """

    times: FloatArray
    metrics: Mapping[str, Comparison]


def compare(
    predicted: RolloutView,
    recorded: Sequence[View],
    robot: RobotRendering,
    *,
    times: FloatArray,
    holding: bool = False,
) -> FutureScore:
    """Judge one imagined video of T frames against T + 1 recorded ones, of which the first is its start.

    * ``robot_iou``: predicted silhouette against the robot rendered from the joints *measured* at that time,
      less what the recorded depth shows in front of it.
    * ``depth_*``: median absolute depth difference [m] over a region of `regions.split`, taken where recording,
      prediction and first frame are all known, so that both columns speak of the same pixels. The moved
      region counts as ``held`` when an object was in the gripper at the start, else as ``free``.
    * ``psnr``: colour on the pixels that the prediction covers [dB].
    * ``coverage``: share of the pixels with recorded depth that the prediction covers.

    The baseline repeats the first recorded frame.

    Args:
        predicted: T imagined frames.
        recorded: the frame the prediction started from, then the frames at `times`, of the same camera.
        robot: the robot at the measured joints, rendered for each of the T + 1 recorded frames.
        times: horizon of every imagined frame [s], shape [T].
        holding: something was in the gripper at the start.

    Raises:
        InvalidInput: prediction, recording, robot and times differ in length.
    """
    lengths = {len(predicted.rgb), len(recorded) - 1, len(robot.mask) - 1, len(times)}
    if len(lengths) != 1:
        raise InvalidInput(
            f"{len(predicted.rgb)} imagined frames, {len(times)} times, {len(recorded)} recorded frames and "
            f"{len(robot.mask)} robot renderings; the last two must be one longer than the first two"
        )
    silhouettes = [visible(robot.mask[i], robot.points[i], view.points) for i, view in enumerate(recorded)]
    moved_name = "depth_held" if holding else "depth_free"
    steps = [_compare_step(predicted, index, recorded, silhouettes, moved_name) for index in range(len(times))]
    table = {
        name: Comparison(
            prediction=np.array([step.get(name, UNDEFINED)[0] for step in steps]),
            first_frame=np.array([step.get(name, UNDEFINED)[1] for step in steps]),
        )
        for name in METRICS
    }
    return FutureScore(times=np.asarray(times, dtype=np.float64), metrics=table)


Pair = tuple[float, float]
UNDEFINED: Pair = (float("nan"), float("nan"))


def _compare_step(
    predicted: RolloutView,
    index: int,
    recorded: Sequence[View],
    silhouettes: Sequence[Mask],
    moved_name: str,
) -> dict[str, Pair]:
    start, now = recorded[0], recorded[index + 1]
    start_robot, robot = silhouettes[0], silhouettes[index + 1]
    regions = split(start, start_robot, now, robot)
    truth, baseline, depth = (
        now.points[..., 2],
        start.points[..., 2],
        predicted.points[index, ..., 2],
    )
    covered, known = np.isfinite(depth), np.isfinite(truth)
    common = covered & known & np.isfinite(baseline)

    def depth_error(region: Mask) -> Pair:
        pixels = region & common
        return (
            float(median_depth_error(depth, truth, mask=pixels)),
            float(median_depth_error(baseline, truth, mask=pixels)),
        )

    return {
        "robot_iou": (
            float(intersection_over_union(predicted.robot_mask[index], robot)),
            float(intersection_over_union(start_robot, robot)),
        ),
        "depth_robot": depth_error(regions.robot),
        "depth_static": depth_error(regions.static),
        moved_name: depth_error(regions.moved),
        "psnr": (
            float(psnr(predicted.rgb[index], now.rgb, mask=covered)),
            float(psnr(start.rgb, now.rgb, mask=covered)),
        ),
        "coverage": (_covered(covered, known), _covered(np.isfinite(baseline), known)),
    }


def _covered(part: Mask, whole: Mask) -> float:
    """Share of the pixels of `whole` that are in `part`."""
    return float(share(np.count_nonzero(part & whole), np.count_nonzero(whole)))
