"""How alike two point clouds are: one value for each pair of a batch.

Clouds have shape [*, N, 3] in metres. A point with a NaN is no point, so clouds of different sizes fit into one batch
padded with NaN.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from fourd_ros.errors import InvalidCloud
from fourd_ros.evaluation.metric import Metric

FloatArray = NDArray[np.float64]
Cloud = NDArray[np.floating[Any]]
Combination = Literal["mean", "sum"]

ACCURACY = Metric(
    name="accuracy", title="accuracy", unit="mm", scale=1000.0, source="mean distance to the truth; Seitz et al. 2006"
)
COMPLETENESS = Metric(
    name="completeness", title="completeness", unit="mm", scale=1000.0, source="mean distance from the truth"
)
CHAMFER_L1 = Metric(
    name="chamfer_l1",
    title="Chamfer-L1",
    unit="mm",
    scale=1000.0,
    source="mean of accuracy and completeness; Mescheder et al. 2019, section 4",
)
CHAMFER_L2 = Metric(
    name="chamfer_l2",
    title="Chamfer-L2",
    unit="mm²",
    scale=1e6,
    source="sum of both mean squared distances; Fan, Su and Guibas 2017, as means over points",
)
POINT_METRICS = (ACCURACY, COMPLETENESS, CHAMFER_L1, CHAMFER_L2)


def f_score_metric(threshold: float) -> Metric:
    """The description of an F-score at `threshold` [m]."""
    millimetres = f"{1000 * threshold:g}"
    return Metric(
        name=f"f_score_{millimetres}mm",
        title=f"F-score at {millimetres} mm",
        unit="%",
        scale=100.0,
        higher_is_better=True,
        source="Knapitsch et al. 2017 (Tanks and Temples), section 4",
    )


@dataclass(frozen=True, kw_only=True)
class CloudDistances:
    """Distances of one pair of clouds, from which every metric follows.

    Args:
        to_truth: from each point to the nearest true one [m], shape [N]; infinite where there is none.
        from_truth: from each true point to the nearest point [m], shape [M]; infinite where there is none.
    """

    to_truth: FloatArray
    from_truth: FloatArray

    @property
    def accuracy(self) -> float:
        """Mean distance to the truth [m]; NaN without points."""
        return _mean(self.to_truth)

    @property
    def completeness(self) -> float:
        """Mean distance from the truth [m]; NaN without true points."""
        return _mean(self.from_truth)

    def chamfer(self, *, squared: bool = False, combine: Combination = "mean") -> float:
        """Chamfer distance [m], or [m²] when `squared`; NaN where either cloud is empty.

        Conventions differ by such factors that a figure means nothing without its own. The default is Chamfer-L1
        (Mescheder et al. 2019); ``squared=True, combine="sum"`` is that of PyTorch3D.

        Args:
            squared: average squared distances.
            combine: mean or sum of both directions.
        """
        if not self.to_truth.size or not self.from_truth.size:
            return math.nan
        power = 2 if squared else 1
        both = _mean(self.to_truth**power) + _mean(self.from_truth**power)
        return both / 2 if combine == "mean" else both

    def f_score(self, threshold: float) -> float:
        """Harmonic mean of precision and recall at `threshold` [m], 0 to 1 (Knapitsch et al. 2017).

        A point is right when it is nearer to the truth than `threshold`. 0 where one cloud is empty, NaN where both
        are.
        """
        if not self.to_truth.size and not self.from_truth.size:
            return math.nan
        precision, recall = (
            float(np.mean(distances < threshold)) if distances.size else 0.0
            for distances in (self.to_truth, self.from_truth)
        )
        return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def cloud_distances(points: Cloud, truth: Cloud) -> CloudDistances:
    """Nearest distances of one pair of clouds in both directions.

    Args:
        points: shape [N, 3].
        truth: shape [M, 3].

    Raises:
        InvalidCloud: another shape.
    """
    if points.ndim != 2 or truth.ndim != 2:
        raise InvalidCloud(
            f"clouds of shapes {list(points.shape)} and {list(truth.shape)}; needed are [N, 3] and [M, 3]"
        )
    given, true = _known(points), _known(truth)
    return CloudDistances(to_truth=_nearest(given, true), from_truth=_nearest(true, given))


def chamfer(points: Cloud, truth: Cloud, *, squared: bool = False, combine: Combination = "mean") -> FloatArray:
    """Chamfer distance of each pair, shape [*]; conventions and empty clouds as in `CloudDistances.chamfer`.

    Args:
        points: shape [*, N, 3].
        truth: shape [*, M, 3] with the same leading dimensions.
        squared: average squared distances.
        combine: mean or sum of both directions.

    Raises:
        InvalidCloud: the shapes do not fit.
    """
    return _each(points, truth, lambda pair: pair.chamfer(squared=squared, combine=combine))


def f_score(points: Cloud, truth: Cloud, *, threshold: float) -> FloatArray:
    """F-score of each pair, shape [*]; empty clouds as in `CloudDistances.f_score`.

    Args:
        points: shape [*, N, 3].
        truth: shape [*, M, 3] with the same leading dimensions.
        threshold: largest distance of a right point [m].

    Raises:
        InvalidCloud: the shapes do not fit.
    """
    return _each(points, truth, lambda pair: pair.f_score(threshold))


def _each(points: Cloud, truth: Cloud, value: Callable[[CloudDistances], float]) -> FloatArray:
    if points.ndim < 2 or truth.ndim < 2 or points.shape[:-2] != truth.shape[:-2]:
        raise InvalidCloud(
            f"clouds of shapes {list(points.shape)} and {list(truth.shape)}; needed are [*, N, 3] and [*, M, 3] with "
            "equal leading dimensions"
        )
    batch = points.shape[:-2]
    pairs = (cloud_distances(points[index], truth[index]) for index in np.ndindex(*batch))
    return np.array([value(pair) for pair in pairs], dtype=np.float64).reshape(batch)


def _known(points: Cloud) -> FloatArray:
    if points.shape[-1] != 3:
        raise InvalidCloud(f"a cloud of shape {list(points.shape)}; needed is [N, 3]")
    return np.asarray(points[np.isfinite(points).all(axis=-1)], dtype=np.float64)


def _nearest(points: FloatArray, others: FloatArray) -> FloatArray:
    from scipy.spatial import cKDTree

    if not len(points) or not len(others):
        return np.full(len(points), np.inf)
    return np.asarray(cKDTree(others).query(points)[0])


def _mean(distances: FloatArray) -> float:
    return float(distances.mean()) if distances.size else math.nan
