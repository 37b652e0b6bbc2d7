"""How well holes of depth images are filled: a completer beside methods that learn nothing, on simulated pictures."""

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fourd_ros.depth_completion.completer import Completed, DepthCompleter
from fourd_ros.depth_completion.fills import FILLS, fill
from fourd_ros.depth_completion.sensor_noise import SensorRanges, find_edges
from fourd_ros.evaluation.depth_metrics import COVERAGE, DEPTH_METRICS, MEDIAN_DEPTH_ERROR, depth_errors
from fourd_ros.evaluation.metric import Metric
from fourd_ros.evaluation.point_metrics import CHAMFER_L1, COMPLETENESS, cloud_distances, f_score_metric
from fourd_ros.evaluation.results import Result, ResultTable
from fourd_ros.geometry.pointmap import points_from_depth
from fourd_ros.records import Mask, Pixels
from fourd_ros.simulation.stills import Still

Depth = NDArray[np.float32]

OURS = "network"
SURE = "network, sure to 20 mm"
SURE_SIGMA = 0.02
LEAVE = "holes left"
BASELINE = "OpenCV Navier-Stokes"

RIGHT = 0.005
"""A point is right when it is nearer to the truth than this [m]."""

NEAR = 1.5
"""The workspace of an arm ends at this depth [m]."""

FARTHEST_SHOWN = 2.5
"""Depth [m] at the end of the colour scale of pictures."""

EDGE_PIXELS = 2
"""A hole lies at an edge when the edge is no farther than this."""

CLOUD_STEP = 2
"""Clouds are made of every so manyth row and column: nearest neighbours of all pixels take too long."""

MIN_HOLES = 20
"""Pictures with fewer pixels in holes are not judged."""

HALF, NINE_TENTHS = 2 ** (1 / 3) - 1, 10 ** (1 / 3) - 1
"""Within so many deviations of its middle lie these shares of the distribution of `DepthCompletionNetwork`."""

CALIBRATION_QUANTILES = 201
INPAINT_RADIUS = 5.0
MILLIMETRES = 1000.0

_BY_NAME = {metric.name: metric for metric in DEPTH_METRICS}
DELTA = Metric(
    name="delta_1.05", title="δ < 1.05", unit="%", scale=100.0, higher_is_better=True, source="as δ < 1.25, stricter"
)
MAE_NEAR = Metric(
    name="mae_near", title=f"MAE nearer than {NEAR} m", unit="mm", scale=1000.0, source="of the holes in the workspace"
)
MAE_EDGES = Metric(
    name="mae_edges",
    title=f"MAE at edges nearer than {NEAR} m",
    unit="mm",
    scale=1000.0,
    source=f"of those within {EDGE_PIXELS} pixels of an edge",
)
COVERED_50, COVERED_90 = (
    Metric(
        name=f"covered_{share}",
        title=f"errors in the {share} % interval",
        unit="%",
        scale=100.0,
        higher_is_better=True,
        source="of the double Pareto distribution with the deviation that was said; best at that share",
    )
    for share in (50, 90)
)
SECONDS = Metric(name="seconds", title="time for an image", unit="ms", scale=1000.0, source="wall time, one by one")
F_SCORE = f_score_metric(RIGHT)
METRICS = (
    _BY_NAME["mae"],
    MEDIAN_DEPTH_ERROR,
    _BY_NAME["rmse"],
    _BY_NAME["abs_rel"],
    DELTA,
    MAE_NEAR,
    MAE_EDGES,
    COVERAGE,
    COVERED_50,
    COVERED_90,
    F_SCORE,
    CHAMFER_L1,
    COMPLETENESS,
    SECONDS,
)
"""The first ten are of the holes, the next three of the whole cloud of points."""


@dataclass(frozen=True, kw_only=True)
class HoleImage:
    """A picture as a depth camera measures it, with the truth.

    Args:
        still: the picture.
        measured: its depth with holes and noise [m], shape [H, W].
    """

    still: Still
    measured: Depth

    @property
    def holes(self) -> Mask:
        """Pixels to be filled: without a measurement, though something is there; shape [H, W]."""
        return np.asarray(np.isnan(self.measured) & np.isfinite(self.still.depth))


def measure(still: Still, ranges: SensorRanges, *, seed: int) -> HoleImage:
    """The picture through a camera drawn from `ranges`; the same for the same seed."""
    rng = np.random.default_rng((still.seed, seed))
    measured = ranges.draw(rng).measure(
        still.depth, rgb=still.rgb, labels=still.segmentation, camera=still.camera, rng=rng
    )
    return HoleImage(still=still, measured=measured)


def is_judged(image: HoleImage) -> bool:
    """Whether there are holes worth filling, and anything to fill them from."""
    return bool(image.holes.sum() >= MIN_HOLES and np.isfinite(image.measured).any())


Filler = Callable[[HoleImage], Completed]


def fillers(completer: DepthCompleter) -> dict[str, Filler]:
    """The methods by name: ours, those that learn nothing, and leaving the holes."""
    return {
        OURS: lambda image: completer.complete(image.still.rgb, image.measured),
        SURE: lambda image: completer.complete(image.still.rgb, image.measured, max_sigma=SURE_SIGMA),
        "nearest pixel": _certain(nearest),
        "nearest of like colour": lambda image: _without_sigma(alike(image.still.rgb, image.measured)),
        "OpenCV Telea": _certain(lambda depth: inpaint(depth, method="telea")),
        BASELINE: _certain(lambda depth: inpaint(depth, method="navier-stokes")),
        LEAVE: _certain(lambda depth: depth),
    }


def evaluate(
    images: Iterable[HoleImage], methods: Mapping[str, Filler], *, title: str, baseline: str = BASELINE
) -> ResultTable:
    """Every metric of every method, as means over the pictures of a scene; scenes are the units.

    Args:
        images: those that are not `is_judged` are left out.
        methods: by name, such as `fillers` gives.
        title: of the table.
        baseline: with which method the others are compared.

    Raises:
        InvalidResults: no image is judged.
    """
    values: dict[tuple[str, str, str], list[float]] = {}
    for image in images:
        if not is_judged(image):
            continue
        for method, filler in methods.items():
            for metric, value in _judged(image, filler).items():
                values.setdefault((f"scene {image.still.seed}", method, metric), []).append(value)
    results = [
        Result(unit=unit, method=method, metric=metric, value=_mean(of_pictures))
        for (unit, method, metric), of_pictures in values.items()
    ]
    return ResultTable.from_results(results, title=title, metrics=METRICS, baseline=baseline, unit_name="scene")


def picture(image: HoleImage, completed: Completed) -> Pixels:
    """Colour, depth with holes, filled, and the truth, side by side; near is red, far is blue, unknown is black."""
    depths = (image.measured, completed.depth, image.still.depth)
    return np.concatenate([image.still.rgb, *(_in_colours(depth) for depth in depths)], axis=1)


def nearest(depth: Depth) -> Depth:
    """Holes get the depth of the nearest pixel that has one."""
    from scipy.ndimage import distance_transform_edt

    places = distance_transform_edt(np.isnan(depth), return_distances=False, return_indices=True)
    return np.asarray(depth[tuple(places)])


def alike(rgb: Pixels, depth: Depth) -> Depth:
    """Holes get the depth of that source (nearest, or first on four sides) whose colour is most like their own."""
    filled = fill(rgb, depth)
    if filled is None:
        return depth
    completed = depth.copy()
    completed[filled.holes] = filled.median * np.exp(filled.in_holes[FILLS.index("alike")])
    return completed


def inpaint(depth: Depth, *, method: str) -> Depth:
    """OpenCV's inpainting of whole millimetres: ``telea`` (Telea 2004), ``navier-stokes`` (Bertalmio et al. 2001)."""
    import cv2

    flag = {"telea": cv2.INPAINT_TELEA, "navier-stokes": cv2.INPAINT_NS}[method]
    holes = np.isnan(depth)
    millimetres = np.rint(np.where(holes, 0, depth) * MILLIMETRES).astype(np.uint16)
    filled = cv2.inpaint(millimetres, holes.astype(np.uint8), INPAINT_RADIUS, flag) / np.float32(MILLIMETRES)
    return np.where(holes, filled, depth).astype(np.float32)


def hole_errors(image: HoleImage, completed: Completed) -> dict[str, float]:
    """The metrics of the holes by name."""
    truth, holes, depth = image.still.depth, image.holes, completed.depth
    errors = depth_errors(depth, truth, mask=holes)
    near = holes & (truth < NEAR)
    found = {name: float(getattr(errors, name)) for name in ("mae", "rmse", "abs_rel", "coverage")}
    found |= _errors_of_pixels(depth[holes], truth[holes], completed.sigma[holes])
    found[MAE_NEAR.name] = _mean(np.abs(depth - truth)[near])
    found[MAE_EDGES.name] = _mean(np.abs(depth - truth)[near & _at_edges(truth)])
    return found


def calibration(completed: Iterable[tuple[HoleImage, Completed]]) -> float:
    """The factor on every deviation that was said after which intervals hold their share of the errors.

    The geometric mean of the factors that are right for the intervals of 50 % and of 90 %. Every image counts alike.
    """
    shares = np.linspace(0.0, 1.0, CALIBRATION_QUANTILES)
    errors = [
        np.quantile(_scaled_errors(image, found), shares)
        for image, found in completed
        if np.isfinite(found.sigma).any()
    ]
    median, ninth = np.quantile(np.concatenate(errors), (0.5, 0.9))
    return float(np.sqrt(median / HALF * ninth / NINE_TENTHS))


def _scaled_errors(image: HoleImage, completed: Completed) -> Depth:
    """Errors in holes over the deviation that was said."""
    holes = image.holes
    error = np.abs(completed.depth - image.still.depth)[holes]
    return np.asarray(error / completed.sigma[holes])


def _errors_of_pixels(depth: Depth, truth: Depth, sigma: Depth) -> dict[str, float]:
    error = np.abs(depth - truth)
    ratio = np.maximum(depth, truth) / np.maximum(np.minimum(depth, truth), np.float32(1e-3))
    return {
        MEDIAN_DEPTH_ERROR.name: _median(error),
        DELTA.name: _mean((ratio < 1.05).astype(np.float64)[np.isfinite(ratio)]),
        COVERED_50.name: _mean((error < sigma * HALF).astype(np.float64)[np.isfinite(sigma)]),
        COVERED_90.name: _mean((error < sigma * NINE_TENTHS).astype(np.float64)[np.isfinite(sigma)]),
    }


def _judged(image: HoleImage, filler: Filler) -> dict[str, float]:
    start = time.perf_counter()
    completed = filler(image)
    seconds = time.perf_counter() - start
    points, truth = (
        points_from_depth(depth, image.still.camera)[::CLOUD_STEP, ::CLOUD_STEP].reshape(-1, 3)
        for depth in (completed.depth, image.still.depth)
    )
    distances = cloud_distances(points, truth)
    return {
        **hole_errors(image, completed),
        F_SCORE.name: distances.f_score(RIGHT),
        CHAMFER_L1.name: distances.chamfer(),
        COMPLETENESS.name: distances.completeness,
        SECONDS.name: seconds,
    }


def _certain(method: Callable[[Depth], Depth]) -> Filler:
    """A method that sees depth only."""
    return lambda image: _without_sigma(method(image.measured))


def _without_sigma(depth: Depth) -> Completed:
    return Completed(depth=depth, sigma=np.full_like(depth, np.nan))


def _at_edges(truth: Depth) -> Mask:
    from scipy.ndimage import binary_dilation

    edges = find_edges(np.where(np.isfinite(truth), 1 / truth.astype(np.float64), 0.0))
    return np.asarray(binary_dilation(edges, np.ones((3, 3)), iterations=EDGE_PIXELS))


def _in_colours(depth: Depth) -> Pixels:
    import cv2

    known = np.isfinite(depth)
    level = np.where(known, 1.0 - np.clip(np.where(known, depth, 0.0) / FARTHEST_SHOWN, 0.0, 1.0), 0.0)
    colours = cv2.applyColorMap((255 * level).astype(np.uint8), cv2.COLORMAP_TURBO)[..., ::-1]
    return np.where(known[..., None], colours, 0).astype(np.uint8)


def _mean(values: Iterable[float] | NDArray[np.floating]) -> float:
    known = np.asarray(values, np.float64)
    known = known[np.isfinite(known)]
    return float(known.mean()) if known.size else float("nan")


def _median(values: Depth) -> float:
    known = values[np.isfinite(values)]
    return float(np.median(known)) if known.size else float("nan")
