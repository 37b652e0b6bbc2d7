"""The camera path of a reconstruction against the true one, as DynamicVerse and MonST3R judge it."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fourd_ros.errors import InvalidResults
from fourd_ros.evaluation.path_metrics import absolute_errors, align_path, relative_errors, root_mean_square

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class PoseScores:
    """Errors of one path.

    Args:
        ate: root mean square of the position errors [m], or as a share of the true path where that was asked for.
        rpe_translation: of the motion from frame to frame, in the same unit.
        rpe_rotation: of its rotation [deg].
        known: share of the frames that have a pose; the errors do not know the others.
    """

    ate: float
    rpe_translation: float
    rpe_rotation: float
    known: float


def pose_scores(estimate: FloatArray, truth: FloatArray, *, normalize: bool = False) -> PoseScores:
    """ATE and RPE after the similarity that fits the positions best (section 8.1 of the specification).

    The similarity is that of Umeyama 1991; the relative errors are of consecutive frames, of the aligned path.

    Args:
        estimate: ``T_world_camera``, NaN where unknown, shape [F, 4, 4].
        truth: same shape.
        normalize: divide the true positions by the length of the true path first.

    Raises:
        InvalidTransform: the shapes differ.
        InvalidResults: the paths cannot be compared: too few poses, or one of them stands still.
    """
    if normalize:
        truth = _of_length_one(truth)
    aligned = align_path(estimate, truth, mode="sim3")
    absolute, relative = absolute_errors(aligned, truth, align="none"), relative_errors(aligned, truth)
    ate = float(root_mean_square(absolute.translation))
    if not math.isfinite(ate):
        known = int(np.isfinite(estimate).all(axis=(-2, -1)).sum())
        raise InvalidResults(
            f"{known} of {len(estimate)} frames have a pose and no similarity takes them to the true path; needed are "
            "at least three, not all in one place"
        )
    return PoseScores(
        ate=ate,
        rpe_translation=float(root_mean_square(relative.translation)),
        rpe_rotation=math.degrees(float(root_mean_square(relative.rotation))),
        known=float(np.isfinite(absolute.translation).mean()),
    )


def _of_length_one(path: FloatArray) -> FloatArray:
    length = float(np.linalg.norm(np.diff(path[:, :3, 3], axis=0), axis=1).sum())
    if not (math.isfinite(length) and length > 0):
        raise InvalidResults(f"the true path has the length {length:g}; it cannot be divided by it")
    scaled = path.copy()
    scaled[:, :3, 3] /= length
    return scaled
