"""Imagined frames beside recorded ones, on pixels that show the robot in neither."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fourd_ros.evaluation.image_metrics import psnr
from fourd_ros.evaluation.metric import Metric
from fourd_ros.evaluation.tabletop_truth import Truth
from fourd_ros.geometry.hole_filling import fill_holes
from fourd_ros.records import Mask, Pixels, Points, RolloutView, View

MIN_REGION = 50
"""Pixels, in all frames of an episode together; a smaller region says nothing."""

XYZ_MOVED = Metric(
    name="xyz_moved",
    title="XYZ error, moved region",
    unit="mm",
    scale=1000.0,
    source="mean distance of predicted and true point over the pixels that show an object that has moved by then, or "
    "did at first; mean over episodes",
)
XYZ_SHARE = Metric(
    name="xyz_share",
    title="XYZ error, moved region, of copy first frame",
    unit="%",
    scale=100.0,
    source="the same, divided by the mean of copy first frame over all episodes",
)
PSNR_MOVED = Metric(
    name="psnr_moved",
    title="PSNR, moved region",
    unit="dB",
    higher_is_better=True,
    source="from the mean squared error over the region in all frames of an episode; mean over episodes",
)
PSNR_ALL = Metric(
    name="psnr_all",
    title="PSNR, all",
    unit="dB",
    higher_is_better=True,
    source="from the mean squared error over all pixels but the robot's in all frames of an episode",
)
XYZ_STATIC = Metric(
    name="xyz_static",
    title="XYZ error, static",
    unit="mm",
    scale=1000.0,
    tolerance=0.0001,
    source="mean distance over the pixels outside the moved region; mean over episodes",
)
PIXEL_METRICS = (XYZ_MOVED, XYZ_SHARE, PSNR_MOVED, PSNR_ALL, XYZ_STATIC)


@dataclass(frozen=True, kw_only=True, eq=False)
class Frames:
    """Imagined frames without holes.

    Args:
        rgb: colour, shape [T, H, W, 3], uint8.
        points: camera-frame pointmap [m], shape [T, H, W, 3].
    """

    rgb: Pixels
    points: Points


def imagined_frames(view: RolloutView) -> Frames:
    """The frames of a rollout; what it gives no answer for is filled from what surrounds it, the robot left out.

    An answer is a finite point, and the colour of a pixel that was observed or has one.
    """
    placed = np.isfinite(view.points[..., 2])
    coloured = view.observed_mask | placed
    rgb = _filled(view.rgb.astype(np.float32), coloured, view.robot_mask)
    depth = _filled(view.points[..., 2:], placed, view.robot_mask)
    return Frames(
        rgb=np.clip(np.rint(rgb), 0, 255).astype(np.uint8),
        points=np.where(placed[..., None], view.points, view.camera.rays() * depth).astype(np.float32, copy=False),
    )


def _filled(values: NDArray[np.float32], known: Mask, robot: Mask) -> NDArray[np.float32]:
    """Values [T, H, W, C] that are not known from those around that are and show no robot."""
    if known.all():
        return values
    return np.asarray(np.where(known[..., None], values, fill_holes(values, known & ~robot)))


def copied_frames(start: View, steps: int) -> Frames:
    """The first frame, `steps` times; holes of its depth are filled."""
    depth = fill_holes(start.points[..., 2:], np.isfinite(start.points[..., 2]))
    points = np.where(np.isfinite(start.points), start.points, start.camera.rays() * depth)
    return Frames(rgb=np.repeat(start.rgb[None], steps, axis=0), points=np.repeat(points[None], steps, axis=0))


def pixel_scores(frames: Frames, truth: Truth, robot: Mask) -> dict[str, float]:
    """Metrics of one episode by name, NaN where a region is too small.

    Args:
        frames: what was imagined.
        truth: what happened.
        robot: pixels that do not count, shape [T, H, W].
    """
    counted = ~robot & np.isfinite(truth.points[1:, ..., 2])
    moved, static = counted & truth.moved_region, counted & ~truth.moved_region
    distances = xyz_distances(frames, truth)
    return {
        XYZ_MOVED.name: mean_over(distances, moved),
        PSNR_MOVED.name: _psnr(frames, truth, moved),
        PSNR_ALL.name: _psnr(frames, truth, counted),
        XYZ_STATIC.name: mean_over(distances, static),
    }


def xyz_distances(frames: Frames, truth: Truth) -> NDArray[np.float32]:
    """Distance of predicted and true point of every pixel [m], shape [T, H, W]."""
    return np.asarray(np.linalg.norm(frames.points - truth.points[1:], axis=-1))


def mean_over(values: NDArray[np.floating], region: Mask) -> float:
    """Mean over the pixels of all frames together; NaN where they are fewer than `MIN_REGION`."""
    chosen = values[region]
    return float(chosen.mean(dtype=np.float64)) if chosen.size >= MIN_REGION else float("nan")


def _psnr(frames: Frames, truth: Truth, region: Mask) -> float:
    """Of all frames together, as if they were one picture."""
    if region.sum() < MIN_REGION:
        return float("nan")
    width = region.shape[-1]
    imagined, recorded = (rgb.reshape(-1, width, 3) for rgb in (frames.rgb, truth.view.rgb[1:]))
    return float(psnr(imagined, recorded, mask=region.reshape(-1, width)))
