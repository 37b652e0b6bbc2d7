"""How far estimated paths are from the true ones: absolute errors (ATE) and relative ones (RPE).

A path has shape [*, T, 4, 4]: poses ``T_world_camera`` (or of any other moving frame) in the order of time, both paths
at the same times. A pose with a NaN is unknown and does not count.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from fourd_ros.errors import InvalidTransform
from fourd_ros.evaluation.metric import Metric
from fourd_ros.evaluation.statistics import mean_of_known
from fourd_ros.geometry.transforms import from_parts, invert
from fourd_ros.records import Mask

FloatArray = NDArray[np.float64]
Alignment = Literal["none", "se3", "sim3"]

MIN_POSES = 3
"""An alignment of fewer positions says nothing: two are always on a line, one fits everywhere."""

ATE = Metric(
    name="ate",
    title="ATE",
    unit="mm",
    scale=1000.0,
    source="root mean square of the position errors after alignment; Sturm et al. 2012, section V",
)
RPE_TRANSLATION = Metric(
    name="rpe_translation",
    title="RPE, translation",
    unit="mm",
    scale=1000.0,
    source="root mean square over steps; Sturm et al. 2012, section V",
)
RPE_ROTATION = Metric(
    name="rpe_rotation",
    title="RPE, rotation",
    unit="°",
    scale=180 / np.pi,
    decimals=2,
    source="root mean square over steps; Sturm et al. 2012, section V",
)
PATH_METRICS = (ATE, RPE_TRANSLATION, RPE_ROTATION)


@dataclass(frozen=True, kw_only=True)
class PoseErrors:
    """Errors pose by pose or step by step, NaN where unknown.

    Args:
        translation: length of the difference [m], shape [*, N].
        rotation: angle of the difference [rad], shape [*, N].
    """

    translation: FloatArray
    rotation: FloatArray


def absolute_errors(estimate: FloatArray, truth: FloatArray, *, align: Alignment = "se3") -> PoseErrors:
    """Errors of every pose, N = T; their `root_mean_square` is the ATE (Sturm et al. 2012).

    Args:
        estimate: shape [*, T, 4, 4].
        truth: same shape.
        align: move (``se3``), or move and scale (``sim3``) the estimate onto the truth first; ``none`` where both are
            given in one frame.

    Returns:
        NaN for unknown poses, and for all of a path that cannot be aligned, see `align_path`.

    Raises:
        InvalidTransform: the shapes differ, or there is no such alignment.
    """
    aligned = align_path(estimate, truth, mode=align)
    return _errors(invert(truth) @ aligned)


def relative_errors(estimate: FloatArray, truth: FloatArray, *, delta: int = 1) -> PoseErrors:
    """Errors of the motion over every `delta` poses, N = T - delta (RPE, Sturm et al. 2012); needs no alignment.

    Args:
        estimate: shape [*, T, 4, 4].
        truth: same shape.
        delta: poses from the start to the end of a step; steps start at every pose, so they overlap.

    Returns:
        Empty where the path is no longer than one step.

    Raises:
        InvalidTransform: the shapes differ, or `delta` is not positive.
    """
    _check(estimate, truth)
    if delta < 1:
        raise InvalidTransform(f"delta {delta}; a step goes over at least one pose")
    steps, true_steps = (invert(path[..., :-delta, :, :]) @ path[..., delta:, :, :] for path in (estimate, truth))
    return _errors(invert(true_steps) @ steps)


def root_mean_square(errors: FloatArray) -> FloatArray:
    """Root of the mean square of what is known along the last axis, shape [*]; NaN where nothing is."""
    return np.sqrt(mean_of_known(np.square(errors), axis=-1))


def align_path(estimate: FloatArray, truth: FloatArray, *, mode: Alignment) -> FloatArray:
    """The estimate moved (and scaled) so that the positions fit the truth best (Umeyama 1991, IEEE PAMI 13(4)).

    Rotation, translation and scale minimise the squared distances of the positions; the scale acts on positions only.
    Where the positions lie on one line, the rotation about it is not determined and any of the best is taken: this
    touches the rotation errors alone.

    Args:
        estimate: shape [*, T, 4, 4].
        truth: same shape.
        mode: ``none``, ``se3`` or ``sim3``.

    Returns:
        Shape [*, T, 4, 4]; NaN for paths with fewer than `MIN_POSES` poses known on both sides, and where a scale was
        asked of an estimate that stands still.

    Raises:
        InvalidTransform: the shapes differ, or there is no such mode.
    """
    _check(estimate, truth)
    if mode not in ("none", "se3", "sim3"):
        raise InvalidTransform(f"alignment '{mode}'; there are 'none', 'se3', 'sim3'")
    if mode == "none":
        return estimate
    known = _is_known(estimate) & _is_known(truth)
    source, target = (np.where(known[..., None], path[..., :3, 3], 0.0) for path in (estimate, truth))
    count = known.sum(axis=-1)[..., None]
    with np.errstate(divide="ignore", invalid="ignore"):
        middle_source, middle_target = source.sum(axis=-2) / count, target.sum(axis=-2) / count
        source, target = (
            np.where(known[..., None], positions - middle[..., None, :], 0.0)
            for positions, middle in ((source, middle_source), (target, middle_target))
        )
        U, D, Vt = np.linalg.svd(np.swapaxes(target, -1, -2) @ source)
        signs = np.ones(D.shape)
        signs[..., 2] = np.sign(np.linalg.det(U) * np.linalg.det(Vt))
        rotation = (U * signs[..., None, :]) @ Vt
        scale = (
            (D * signs).sum(axis=-1) / np.square(source).sum(axis=(-2, -1)) if mode == "sim3" else np.ones(D.shape[:-1])
        )
    scale = np.where((count[..., 0] >= MIN_POSES) & np.isfinite(scale), scale, np.nan)
    scaled = estimate.copy()
    scaled[..., :3, 3] *= scale[..., None, None]
    shift = middle_target - scale[..., None] * np.squeeze(rotation @ middle_source[..., None], -1)
    return np.asarray(from_parts(rotation, shift)[..., None, :, :] @ scaled)


def _errors(difference: FloatArray) -> PoseErrors:
    """Length and angle of transforms, shape [*, N]; the angle is exact for small ones too."""
    R = difference[..., :3, :3]
    axis = np.stack([R[..., 2, 1] - R[..., 1, 2], R[..., 0, 2] - R[..., 2, 0], R[..., 1, 0] - R[..., 0, 1]], axis=-1)
    sine, cosine = np.linalg.norm(axis, axis=-1), np.trace(R, axis1=-2, axis2=-1) - 1
    rotation = np.arctan2(sine, cosine)
    translation = np.linalg.norm(difference[..., :3, 3], axis=-1)
    known = _is_known(difference)
    return PoseErrors(
        translation=np.where(known, translation, np.nan),
        rotation=np.where(known, rotation, np.nan),
    )


def _is_known(path: FloatArray) -> Mask:
    """Poses without a NaN, shape [*, T]."""
    return np.asarray(np.isfinite(path).all(axis=(-2, -1)))


def _check(estimate: FloatArray, truth: FloatArray) -> None:
    if estimate.ndim < 3 or estimate.shape[-2:] != (4, 4) or estimate.shape != truth.shape:
        raise InvalidTransform(
            f"the paths have shapes {list(estimate.shape)} and {list(truth.shape)}; needed is one shape [*, T, 4, 4]"
        )
