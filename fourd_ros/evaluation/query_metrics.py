"""How well prompts that are true for a time are answered (4D LangSplat): when, and where."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fourd_ros.errors import InvalidResults
from fourd_ros.evaluation.metric import Metric
from fourd_ros.evaluation.statistics import share

FloatArray = NDArray[np.float64]

ACCURACY = Metric(
    name="frame_accuracy",
    title="Acc",
    higher_is_better=True,
    source="4D LangSplat: share of the frames in which a prompt is rightly told to be true or not",
)
VIDEO_IOU = Metric(
    name="video_iou",
    title="vIoU",
    higher_is_better=True,
    source="4D LangSplat: IoU of the frames in which a prompt is both told and true, over those in which it is either",
)

TAPS: tuple[float, ...] = (0.1, 0.8, 0.1)
"""Weights of a frame and its neighbours; the original also has 0.1, 0.2, 0.4, 0.2, 0.1."""


@dataclass(frozen=True, kw_only=True)
class TemporalScores:
    """Of one prompt over a sequence.

    Args:
        accuracy: see `ACCURACY`.
        precision: share of the frames told to be true that are; NaN where none is told.
        recall: share of the true frames that are told; NaN where none is true.
        video_iou: see `VIDEO_IOU`; NaN where the prompt is neither told nor true.
    """

    accuracy: float
    precision: float
    recall: float
    video_iou: float


def smoothed_similarities(similarities: FloatArray, taps: Sequence[float] = TAPS) -> FloatArray:
    """Weighted means over neighbouring frames, shape [T]; frames whose neighbours are not all there stay.

    Args:
        similarities: of a prompt with every frame, shape [T].
        taps: an odd number of weights.
    """
    smoothed, reach = np.array(similarities, np.float64), len(taps) // 2
    if len(similarities) >= len(taps):
        smoothed[reach : len(smoothed) - reach] = np.convolve(similarities, taps[::-1], mode="valid")
    return smoothed


def active_frames(similarities: FloatArray, taps: Sequence[float] = TAPS) -> NDArray[np.bool_]:
    """Frames in which a prompt is taken to be true: smoothed, it is no less similar than the raw mean; shape [T].

    The mean is that of the whole sequence, so a live system cannot ask like this.
    """
    active: NDArray[np.bool_] = smoothed_similarities(similarities, taps) >= np.mean(similarities)
    return active


def temporal_scores(told: NDArray[np.bool_], true: NDArray[np.bool_], ious: FloatArray) -> TemporalScores:
    """Scores of a prompt.

    Args:
        told: frames that are told, shape [T].
        true: frames in which it is true, shape [T].
        ious: of the masks of every frame, shape [T]; those of frames that are not both do not count.

    Raises:
        InvalidResults: the lengths differ, or there is no frame.
    """
    if not len(told) == len(true) == len(ious) or not len(told):
        raise InvalidResults(f"{len(told)} told, {len(true)} true and {len(ious)} IoU; needed are as many of each")
    both = told & true
    return TemporalScores(
        accuracy=float(np.mean(told == true)),
        precision=float(share(both.sum(), told.sum())),
        recall=float(share(both.sum(), true.sum())),
        video_iou=float(share(ious[both].sum(), (told | true).sum())),
    )
