"""How alike two masks are, and whether a robot is seen where it should be: one value for each mask of a batch."""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from fourd_ros.errors import InvalidImage
from fourd_ros.evaluation.metric import Metric
from fourd_ros.evaluation.regions import visible
from fourd_ros.evaluation.statistics import share
from fourd_ros.records import Mask, Points, RobotRendering

FloatArray = NDArray[np.float64]

IOU = Metric(name="iou", title="IoU", higher_is_better=True, source="Jaccard 1912: |A and B| / |A or B|")
BOUNDARY_F_SCORE = Metric(
    name="boundary_f_score",
    title="boundary F-score",
    higher_is_better=True,
    source="Perazzi et al. 2016 (DAVIS), section 4.1; pixels matched by distance",
)
SILHOUETTE_IOU = Metric(
    name="silhouette_iou",
    title="silhouette IoU",
    higher_is_better=True,
    source="IoU of the imagined robot and the one rendered from joints by forward kinematics",
)
MASK_METRICS = (IOU, BOUNDARY_F_SCORE, SILHOUETTE_IOU)


def intersection_over_union(mask: Mask, truth: Mask, *, known: Mask | None = None) -> FloatArray:
    """Overlap of two masks, 0 to 1, shape [*]; NaN where both are empty.

    Args:
        mask: shape [*, H, W].
        truth: same shape.
        known: pixels that count, shape [*, H, W]; None: all.

    Raises:
        InvalidImage: the shapes differ.
    """
    _check(mask, truth)
    if known is not None:
        _check(known, truth)
        mask, truth = mask & known, truth & known
    union = np.count_nonzero(mask | truth, axis=(-2, -1))
    return share(np.count_nonzero(mask & truth, axis=(-2, -1)), union)


def boundary_f_score(mask: Mask, truth: Mask, *, tolerance: float) -> FloatArray:
    """Harmonic mean of the shares of both outlines that lie near the other one, 0 to 1, shape [*].

    The outline of a mask are its pixels with a direct neighbour inside the image that is not in it. DAVIS uses a
    tolerance of 0.008 of the image diagonal.

    Args:
        mask: shape [*, H, W].
        truth: same shape.
        tolerance: largest distance of pixels that lie on the same outline [px].

    Returns:
        0 where one mask has no outline, NaN where neither has.

    Raises:
        InvalidImage: the shapes differ.
    """
    _check(mask, truth)
    flat = (array.reshape(-1, *array.shape[-2:]) for array in (mask, truth))
    values = [_outline_score(_outline(one), _outline(other), tolerance) for one, other in zip(*flat, strict=True)]
    return np.array(values, dtype=np.float64).reshape(mask.shape[:-2])


def silhouette_iou(mask: Mask, rendering: RobotRendering, *, recorded: Points | None = None) -> FloatArray:
    """Whether an imagined robot is where the kinematics say (action following), shape [T].

    Args:
        mask: where the robot is seen, shape [T, H, W].
        rendering: the robot at the commanded or measured joints in the same frames.
        recorded: camera-frame points of the same frames [m], NaN unknown, shape [T, H, W, 3]: what stands before the
            robot hides it; None: nothing does.

    Raises:
        InvalidImage: the shapes differ.
    """
    silhouette = rendering.mask if recorded is None else visible(rendering.mask, rendering.points, recorded)
    return intersection_over_union(mask, silhouette)


def _outline(mask: Mask) -> Mask:
    inside = ndimage.binary_erosion(mask, border_value=True)
    return np.asarray(mask & ~inside)


def _outline_score(outline: Mask, truth: Mask, tolerance: float) -> float:
    if not outline.any() or not truth.any():
        return 0.0 if outline.any() or truth.any() else float("nan")
    precision = np.mean(ndimage.distance_transform_edt(~truth)[outline] <= tolerance)
    recall = np.mean(ndimage.distance_transform_edt(~outline)[truth] <= tolerance)
    total = float(precision + recall)
    return 2 * float(precision * recall) / total if total else 0.0


def _check(mask: Mask, truth: Mask) -> None:
    if mask.dtype != bool or truth.dtype != bool or mask.ndim < 2 or mask.shape != truth.shape:
        raise InvalidImage(
            f"the masks are {mask.dtype} of shape {list(mask.shape)} and {truth.dtype} of shape {list(truth.shape)}; "
            "needed are bool and one shape [*, H, W]"
        )
