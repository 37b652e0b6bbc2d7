"""The points of one object among all that cameras with depth see."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from fourd_ros.errors import InvalidDrag, TooLarge
from fourd_ros.geometry.transforms import apply
from fourd_ros.records import FloatArray, View

GAP = 3.0
"""Points belong together up to this many times the usual distance of neighbours."""

LEAST_GAP = 0.01
"""They always do when they are this near [m]."""

FLOOR = 0.02
"""What is no higher than this over the level that the object stands on is that level [m]."""

FLOOR_SHARE = 0.03
"""Of the points about the object that lie in one level, if something stands on it."""

MAX_CELLS = 64_000_000
LEAST_POINTS = 50
"""Fewer are no object."""


@dataclass(frozen=True, kw_only=True, eq=False)
class ObjectScan:
    """What is seen of an object, P points.

    Args:
        points: in the fixed frame [m], shape [P, 3].
        rgb: shape [P, 3], uint8.
        pitch: distance of neighbouring pixels at each [m], shape [P].
        eye: the camera that sees the most of it [m], shape [3].
    """

    points: FloatArray
    rgb: NDArray[np.uint8]
    pitch: FloatArray
    eye: FloatArray


@dataclass(frozen=True, kw_only=True)
class ScanOptions:
    """Where an object ends.

    Args:
        region: least x, y, z and largest x, y, z of the box that holds it, and nothing else, in the fixed frame [m];
            empty where nobody knows, and then it is what hangs together with the dragged points above the level that
            it stands on.
        reach: without a region, points farther than this from the first dragged one are not looked at [m].
        start_gap: the dragged points are this near to it [m].
    """

    region: tuple[float, ...] = ()
    reach: float = 1.5
    start_gap: float = 0.05


def scan_object(views: Iterable[View], starts: NDArray[np.floating], options: ScanOptions) -> ObjectScan:
    """The object that is dragged.

    Args:
        views: with depth.
        starts: points that are taken hold of, in the fixed frame, whose z axis points up [m], shape [N, 3].
        options: where it ends.

    Raises:
        InvalidDrag: a point is not on it, or nothing is seen there.
        TooLarge: the reach is too large for the distances of its points.
    """
    parts = [_seen(view, starts, options) for view in views]
    scan = ObjectScan(
        points=np.concatenate([part.points for part in parts]),
        rgb=np.concatenate([part.rgb for part in parts]),
        pitch=np.concatenate([part.pitch for part in parts]),
        eye=max(parts, key=lambda part: len(part.points)).eye,
    )
    if not options.region and len(scan.points):
        scan = _chosen(scan, _connected(scan, starts[0], options))
    _check_starts(scan, starts, options)
    return scan


def _seen(view: View, starts: NDArray[np.floating], options: ScanOptions) -> ObjectScan:
    """Points of a view that may be of the object."""
    known = np.isfinite(view.points).all(axis=-1) & (view.points[..., 2] > 0)
    local = view.points[known].astype(np.float64)
    points = np.asarray(apply(view.T_world_camera, local), np.float64)
    if options.region:
        low, high = np.array(options.region[:3]), np.array(options.region[3:])
        inside = ((points >= low) & (points <= high)).all(axis=1)
    else:
        inside = np.linalg.norm(points - starts[0], axis=1) < options.reach
    focal = float(view.camera.K[0, 0])
    return ObjectScan(
        points=points[inside],
        rgb=view.rgb[known][inside],
        pitch=local[inside, 2] / focal,
        eye=view.T_world_camera[:3, 3],
    )


def _chosen(scan: ObjectScan, mask: NDArray[np.bool_]) -> ObjectScan:
    return ObjectScan(points=scan.points[mask], rgb=scan.rgb[mask], pitch=scan.pitch[mask], eye=scan.eye)


def _connected(scan: ObjectScan, start: NDArray[np.floating], options: ScanOptions) -> NDArray[np.bool_]:
    """Which points hang together with the one nearest to `start`, without the level below; shape [P]."""
    points = scan.points
    above = points[:, 2] > _level(points[:, 2])
    if not above.any():
        above[:] = True
    edge = max(GAP * float(np.median(scan.pitch)), LEAST_GAP)
    cells = np.floor((points - points.min(axis=0)) / edge).astype(np.int64)
    shape = cells.max(axis=0) + 1
    if np.prod(shape.astype(float)) > MAX_CELLS:
        raise TooLarge(f"{options.reach} m around the drag in cells of {edge:.3f} m; lower the reach, or give a region")
    grid = np.zeros(shape, bool)
    grid[tuple(cells[above].T)] = True
    labels, _ = ndimage.label(grid, np.ones((3, 3, 3)))
    of_point = labels[tuple(cells.T)]
    candidates = np.flatnonzero(above)
    nearest = candidates[np.argmin(np.linalg.norm(points[candidates] - start, axis=1))]
    return np.asarray(above & (of_point == of_point[nearest]))


def _level(heights: FloatArray) -> float:
    """Height under which all is what the object stands on [m]; -inf where it stands on nothing that is seen."""
    low = float(heights.min())
    counts = np.bincount(((heights - low) / FLOOR).astype(np.int64))
    full = np.flatnonzero(counts[: max(1, len(counts) // 4)] > FLOOR_SHARE * len(heights))
    return low + (int(full[0]) + 1.5) * FLOOR if len(full) else -np.inf


def _check_starts(scan: ObjectScan, starts: NDArray[np.floating], options: ScanOptions) -> None:
    if len(scan.points) < LEAST_POINTS:
        raise InvalidDrag(
            f"{len(scan.points)} points with depth are seen where the drags begin; needed is an object with at least "
            f"{LEAST_POINTS}: is the camera's depth valid there, and the drag's frame right?"
        )
    for number, start in enumerate(starts):
        gap = float(np.linalg.norm(scan.points - start, axis=1).min())
        if gap > options.start_gap:
            raise InvalidDrag(
                f"drag {number} begins {gap:.3f} m from the object; needed are at most {options.start_gap} m"
            )


def parse_region(numbers: Sequence[float]) -> tuple[float, ...]:
    """A region as `ScanOptions` wants it.

    Raises:
        InvalidDrag: neither empty nor a box.
    """
    region = tuple(float(number) for number in numbers)
    if region and (len(region) != 6 or not np.isfinite(region).all() or min(np.subtract(region[3:], region[:3])) <= 0):
        raise InvalidDrag(f"region {list(region)}; needed are none, or least x, y, z and larger x, y, z")
    return region
