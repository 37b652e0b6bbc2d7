"""How far depth images are from the truth: one value for each image of a batch.

Depth has shape [*, H, W] in metres, NaN where unknown. A pixel counts where `mask` is True, both depths are known and
the true one lies in the range that is judged.
"""

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from fourd_ros.errors import InvalidImage
from fourd_ros.evaluation.metric import Metric
from fourd_ros.evaluation.regions import counted
from fourd_ros.evaluation.statistics import share
from fourd_ros.records import Mask

FloatArray = NDArray[np.float64]
Depth = NDArray[np.floating[Any]]
Alignment = Literal["none", "median", "scale", "scale-shift"]

MIN_PIXELS = 10
"""A region with fewer pixels says nothing: they are its edge."""

MIN_DEPTH = 1e-3
"""Nearest depth that is judged [m]; nearer predictions are taken to be there (as in monodepth2, Godard et al. 2019)."""

EIGEN = "Eigen, Puhrsch and Fergus 2014, section 4.2"

MEDIAN_DEPTH_ERROR = Metric(
    name="median_depth_error",
    title="median depth error",
    unit="mm",
    scale=1000.0,
    source="median over pixels of |depth - truth|",
)
COVERAGE = Metric(
    name="coverage",
    title="pixels with depth",
    unit="%",
    scale=100.0,
    higher_is_better=True,
    source="share of the judged pixels on which there is a prediction",
)
DEPTH_METRICS = (
    Metric(name="abs_rel", title="AbsRel", source=f"mean of |d - t| / t; {EIGEN}"),
    Metric(name="sq_rel", title="SqRel", unit="mm", scale=1000.0, source=f"mean of (d - t)^2 / t; {EIGEN}"),
    Metric(name="mae", title="MAE", unit="mm", scale=1000.0, source="mean of |d - t|; Uhrig et al. 2017 (KITTI)"),
    Metric(name="rmse", title="RMSE", unit="mm", scale=1000.0, source=f"root of the mean of (d - t)^2; {EIGEN}"),
    Metric(name="log_rmse", title="RMSE log", source=f"root of the mean of (ln d - ln t)^2; {EIGEN}"),
    *(
        Metric(
            name=f"delta{power}",
            title=f"δ < 1.25{mark}",
            unit="%",
            scale=100.0,
            higher_is_better=True,
            source=f"share of pixels with max(d / t, t / d) < 1.25{mark}; {EIGEN}",
        )
        for power, mark in ((1, ""), (2, "²"), (3, "³"))
    ),
    COVERAGE,
)
"""In the order of the fields of `DepthErrors`."""


@dataclass(frozen=True, kw_only=True)
class DepthErrors:
    """Errors over the pixels of each image, each of shape [*]; NaN where no pixel counts.

    Args:
        abs_rel: absolute error as a share of the true depth.
        sq_rel: squared error over the true depth [m].
        mae: mean absolute error [m].
        rmse: root mean square error [m].
        log_rmse: of the natural logarithms.
        delta1: share of the pixels off by less than a factor of 1.25.
        delta2: by less than 1.25^2.
        delta3: by less than 1.25^3.
        coverage: share of the judged pixels on which there is a prediction; the errors do not know the others.
    """

    abs_rel: FloatArray
    sq_rel: FloatArray
    mae: FloatArray
    rmse: FloatArray
    log_rmse: FloatArray
    delta1: FloatArray
    delta2: FloatArray
    delta3: FloatArray
    coverage: FloatArray


def depth_errors(
    depth: Depth,
    truth: Depth,
    *,
    mask: Mask | None = None,
    align: Alignment = "none",
    min_depth: float = MIN_DEPTH,
    max_depth: float = math.inf,
) -> DepthErrors:
    """The usual errors of depth estimation (Eigen et al. 2014).

    Pixels whose true depth lies outside `min_depth` to `max_depth` do not count. Predictions are taken to the nearest
    end of that range, after the alignment.

    Args:
        depth: shape [*, H, W].
        truth: same shape.
        mask: pixels that count, shape [*, H, W] or what broadcasts to it.
        align: remove an unknown scale first, see `align_depth`; ``none`` judges metric depth.
        min_depth: nearest true depth that counts [m], positive.
        max_depth: furthest true depth that counts [m].

    Raises:
        InvalidImage: the shapes differ, or the range is empty.
    """
    if not 0 < min_depth < max_depth:
        raise InvalidImage(f"the range from {min_depth} to {max_depth} m is empty; needed is 0 < min_depth < max_depth")
    given, true, judged = _as_rows(depth, truth, mask)
    with np.errstate(invalid="ignore"):
        judged = judged & (true >= min_depth) & (true <= max_depth)
    known = judged & np.isfinite(given)
    given = _aligned(given, true, known, align).clip(min_depth, max_depth)
    d, t = np.where(known, given, 1.0), np.where(known, true, 1.0)  # equal where nothing counts: no error, no ratio
    error = np.abs(d - t)
    ratio = np.maximum(d / t, t / d)
    count = np.count_nonzero(known, axis=-1)

    def mean(values: FloatArray) -> FloatArray:
        return share(np.where(known, values, 0.0).sum(axis=-1), count).reshape(depth.shape[:-2])

    return DepthErrors(
        abs_rel=mean(error / t),
        sq_rel=mean(error**2 / t),
        mae=mean(error),
        rmse=np.sqrt(mean(error**2)),
        log_rmse=np.sqrt(mean(np.log(ratio) ** 2)),
        delta1=mean((ratio < 1.25).astype(np.float64)),
        delta2=mean((ratio < 1.25**2).astype(np.float64)),
        delta3=mean((ratio < 1.25**3).astype(np.float64)),
        coverage=share(count, np.count_nonzero(judged, axis=-1)).reshape(depth.shape[:-2]),
    )


def align_depth(depth: Depth, truth: Depth, *, mode: Alignment, mask: Mask | None = None) -> FloatArray:
    """`depth` with the scale (and shift) that fits the truth best, image by image.

    * ``median``: times the ratio of the medians (Zhou et al. 2017).
    * ``scale``: times the factor of least squares.
    * ``scale-shift``: the line of least squares (Ranftl et al. 2020, equation 4); give inverse depths on both sides to
      align disparities, as is done there.

    Args:
        depth: shape [*, H, W].
        truth: same shape.
        mode: as above; ``none`` gives the depth back.
        mask: pixels that decide, shape [*, H, W] or what broadcasts to it.

    Returns:
        Shape [*, H, W]; NaN where the pixels do not determine the fit.

    Raises:
        InvalidImage: the shapes differ, or there is no such mode.
    """
    given, true, judged = _as_rows(depth, truth, mask)
    known = judged & np.isfinite(given) & np.isfinite(true)
    return _aligned(given, true, known, mode).reshape(depth.shape)


def median_depth_error(
    depth: Depth, truth: Depth, *, mask: Mask | None = None, min_pixels: int = MIN_PIXELS
) -> FloatArray:
    """Median absolute difference [m], shape [*]; NaN where fewer than `min_pixels` pixels count.

    Args:
        depth: shape [*, H, W].
        truth: same shape.
        mask: pixels that count, shape [*, H, W] or what broadcasts to it.
        min_pixels: fewest pixels that say something.

    Raises:
        InvalidImage: the shapes differ.
    """
    given, true, judged = _as_rows(depth, truth, mask)
    errors = [np.abs(d[k] - t[k]) for d, t, k in zip(given, true, judged, strict=True)]
    known = [error[np.isfinite(error)] for error in errors]
    medians = [np.median(error) if error.size >= max(min_pixels, 1) else np.nan for error in known]
    return np.array(medians, dtype=np.float64).reshape(depth.shape[:-2])


def _aligned(depth: FloatArray, truth: FloatArray, known: Mask, mode: Alignment) -> FloatArray:
    """Aligned depth, shape [images, pixels]."""
    if mode == "none":
        return depth
    fits = {"median": _median_fit, "scale": _scale_fit, "scale-shift": _line_fit}
    if mode not in fits:
        raise InvalidImage(f"alignment '{mode}'; there are 'none', {', '.join(map(repr, fits))}")
    lines = [fits[mode](d[k], t[k]) for d, t, k in zip(depth, truth, known, strict=True)]
    scale, shift = np.array(lines, dtype=np.float64).reshape(-1, 2, 1).transpose(1, 0, 2)
    return np.asarray(scale * depth + shift)


Line = tuple[float, float]
"""Scale and shift."""

UNDETERMINED: Line = (math.nan, math.nan)


def _median_fit(depth: FloatArray, truth: FloatArray) -> Line:
    middle = float(np.median(depth)) if depth.size else 0.0
    return (float(np.median(truth)) / middle, 0.0) if middle > 0 else UNDETERMINED


def _scale_fit(depth: FloatArray, truth: FloatArray) -> Line:
    power = float(depth @ depth)
    return (float(depth @ truth) / power, 0.0) if power > 0 else UNDETERMINED


def _line_fit(depth: FloatArray, truth: FloatArray) -> Line:
    if depth.size < 2:
        return UNDETERMINED
    centred, middle = depth - depth.mean(), float(truth.mean())
    power = float(centred @ centred)
    if power <= np.finfo(np.float64).eps * float(depth @ depth):
        return UNDETERMINED
    scale = float(centred @ (truth - middle)) / power
    return scale, middle - scale * float(depth.mean())


def _as_rows(depth: Depth, truth: Depth, mask: Mask | None) -> tuple[FloatArray, FloatArray, Mask]:
    """Both depths and what `mask` lets count, each of shape [images, pixels]."""
    if depth.ndim < 2 or depth.shape != truth.shape:
        raise InvalidImage(
            f"the depths have shapes {list(depth.shape)} and {list(truth.shape)}; needed is one shape [*, H, W]"
        )
    rows = (math.prod(depth.shape[:-2]), depth.shape[-2] * depth.shape[-1])
    given, true = (np.asarray(array, dtype=np.float64).reshape(rows) for array in (depth, truth))
    return given, true, counted(mask, depth.shape).reshape(rows)
