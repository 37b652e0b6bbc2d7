"""Compares an imagined video with what the camera recorded later, beside the baseline that nothing changes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fourd_ros.errors import InvalidInput
from fourd_ros.evaluation.regions import MOVED_THRESHOLD, split, visible
from fourd_ros.records import Mask, Pixels, Points, RobotRendering, RolloutView, View

FloatArray = NDArray[np.float64]


MIN_PIXELS = 10
"""A region with fewer pixels says nothing: they are its edge."""


@dataclass(frozen=True, kw_only=True)
class Metric:
    """What one number of a score means.

    Args:
        title: its name in tables and plots.
        unit: unit of the value after multiplication with `scale`, empty for a ratio.
        scale: display units in one SI unit.
        higher_is_better: direction of a better value.
        tolerance: differences below this mean nothing (for depth: the noise of a depth camera), SI units.
        good: a prediction that is not at least this good was not found, even if it beats the baseline, SI units.
    """

    title: str
    unit: str = ""
    scale: float = 1.0
    higher_is_better: bool = False
    tolerance: float
    good: float


METRICS: Mapping[str, Metric] = {
    "robot_iou": Metric(title="robot silhouette IoU", higher_is_better=True, tolerance=0.005, good=0.9),
    "depth_robot": Metric(title="depth error, robot", unit="mm", scale=1000.0, tolerance=0.002, good=MOVED_THRESHOLD),
    "depth_static": Metric(
        title="depth error, static scene", unit="mm", scale=1000.0, tolerance=0.002, good=MOVED_THRESHOLD
    ),
    "depth_held": Metric(
        title="depth error, object held at the start", unit="mm", scale=1000.0, tolerance=0.002, good=MOVED_THRESHOLD
    ),
    "depth_free": Metric(
        title="depth error, other moved objects", unit="mm", scale=1000.0, tolerance=0.002, good=MOVED_THRESHOLD
    ),
    "psnr": Metric(title="colour PSNR", unit="dB", higher_is_better=True, tolerance=0.1, good=25.0),
    "coverage": Metric(
        title="pixels predicted", unit="%", scale=100.0, higher_is_better=True, tolerance=0.002, good=0.0
    ),
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
    silhouettes = [visible(robot.mask[i], robot.points[i], view) for i, view in enumerate(recorded)]
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
        return median_depth_error(depth, truth, pixels), median_depth_error(baseline, truth, pixels)

    return {
        "robot_iou": (
            intersection_over_union(predicted.robot_mask[index], robot),
            intersection_over_union(start_robot, robot),
        ),
        "depth_robot": depth_error(regions.robot),
        "depth_static": depth_error(regions.static),
        moved_name: depth_error(regions.moved),
        "psnr": (
            psnr(predicted.rgb[index], now.rgb, covered),
            psnr(start.rgb, now.rgb, covered),
        ),
        "coverage": (_share(covered, known), _share(np.isfinite(baseline), known)),
    }


def intersection_over_union(first: Mask, second: Mask) -> float:
    """Overlap of two masks, 0 to 1; NaN when both are empty."""
    union = np.count_nonzero(first | second)
    return np.count_nonzero(first & second) / union if union else float("nan")


def median_depth_error(depth: Points, truth: Points, pixels: Mask) -> float:
    """Median absolute difference [m] on `pixels`; NaN when there are fewer than `MIN_PIXELS`."""
    errors = np.abs(depth[pixels].astype(np.float64) - truth[pixels])
    return float(np.median(errors)) if errors.size >= MIN_PIXELS else float("nan")


def psnr(image: Pixels, truth: Pixels, pixels: Mask) -> float:
    """Peak signal-to-noise ratio on `pixels` [dB] for 8-bit colour; NaN without pixels, infinite when equal."""
    difference = image[pixels].astype(np.float32) - truth[pixels]
    if not difference.size:
        return float("nan")
    power = float(np.mean(difference**2, dtype=np.float64))
    return float(10 * np.log10(255.0**2 / power)) if power else float("inf")


def _share(part: Mask, whole: Mask) -> float:
    total = np.count_nonzero(whole)
    return np.count_nonzero(part & whole) / total if total else float("nan")
