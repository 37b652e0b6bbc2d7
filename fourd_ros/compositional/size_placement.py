"""The cube before the camera by the known size of objects and their masks."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from fourd_ros.compositional.placed_cube import Placement, SeenObject
from fourd_ros.geometry.camera import PinholeCamera
from fourd_ros.geometry.transforms import from_parts

__all__ = ["place_by_size"]

FloatArray = NDArray[np.float64]

LEAST_SIDES = 3
"""Of boxes around masks, within the picture; fewer do not say where the cube is."""

LOOSE_PIXELS = 2.0
"""Errors of a side of a mask that count in full."""

MOST_SURE = 0.5
"""Confidence where everything fits, since boxes do not tell how the cube is turned."""

MOST_VERTICES = 2000


def place_by_size(seen: Sequence[SeenObject], camera: PinholeCamera, R_camera_cube: FloatArray) -> Placement | None:
    """The shift that brings the boxes around projected shapes onto those around masks, at the scale that sizes give.

    Sides at the border of the picture do not count: the object goes on beyond them.

    Args:
        seen: objects with shapes and masks; those without size help to find the place.
        camera: of the masks.
        R_camera_cube: how the cube is turned, shape [3, 3].

    Returns:
        None where no size is known, or too little of the boxes is in the picture.
    """
    ratios = [one.size / float(np.ptp(one.mesh.bounds, axis=0).max()) for one in seen if one.size is not None]
    boxes = np.array([_mask_box(one.mask) for one in seen]).reshape(-1, 4)
    if not ratios or np.isfinite(boxes).sum() < LEAST_SIDES:
        return None
    scale = float(np.median(ratios))
    shapes = [scale * _thinned(one.mesh.vertices) @ R_camera_cube.T for one in seen]
    shift, errors = _shift(shapes, boxes, camera)
    metres = np.abs(errors) * shift[2] / camera.K[0, 0]
    extents = np.array([np.ptp(shape, axis=0)[:2].mean() for shape in shapes])
    sides = np.isfinite(boxes)
    good = metres < 0.1 * np.broadcast_to(extents[:, None], boxes.shape)[sides]
    spread = float(np.ptp(ratios) / scale) if len(ratios) > 1 else 0.0
    return Placement(
        T_camera_cube=from_parts(scale * R_camera_cube, shift),
        source="size",
        residual=float(np.median(metres)),
        confidence=float(MOST_SURE * good.mean() * sides.mean() / (1 + spread)),
    )


def _shift(shapes: Sequence[FloatArray], boxes: FloatArray, camera: PinholeCamera) -> tuple[FloatArray, FloatArray]:
    """Where the middle of the cube is [m], and the errors of all sides that count [px]."""
    from scipy.optimize import least_squares

    known = np.isfinite(boxes)

    def errors(place: FloatArray) -> FloatArray:
        shift = np.array([place[0] * place[2], place[1] * place[2], place[2]])
        made = np.array([_box(camera.project(np.asarray(shape + shift, np.float64))) for shape in shapes])
        return np.asarray((np.where(np.isfinite(made), made, camera.width + camera.height) - boxes)[known])

    reach = max(float(np.linalg.norm(shape, axis=1).max()) for shape in shapes)
    nearest = 1.05 * reach
    focal, centre = camera.K[[0, 1], [0, 1]], camera.K[:2, 2]
    middle = (np.nanmean(boxes[:, [0, 1]], axis=0) + np.nanmean(boxes[:, [2, 3]], axis=0)) / 2
    middle = np.where(np.isfinite(middle), middle, centre)
    x, y = (middle - centre) / focal
    starts = [[x, y, nearest * factor] for factor in (1.5, 3.0, 6.0, 12.0)]
    fits = [
        least_squares(
            errors,
            start,
            bounds=([-np.inf, -np.inf, nearest], [np.inf, np.inf, np.inf]),
            loss="soft_l1",
            f_scale=LOOSE_PIXELS,
            x_scale=[0.1, 0.1, start[2]],
        )
        for start in starts
    ]
    best = min(fits, key=lambda fit: float(fit.cost))
    x, y, z = best.x
    return np.array([x * z, y * z, z]), errors(best.x)


def _mask_box(mask: NDArray[np.bool_]) -> FloatArray:
    """Least column, least row, largest column, largest row [px]; NaN for sides at the border."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    box = np.array([columns[0] - 0.5, rows[0] - 0.5, columns[-1] + 0.5, rows[-1] + 0.5])
    height, width = mask.shape
    at_border = np.array([columns[0] == 0, rows[0] == 0, columns[-1] == width - 1, rows[-1] == height - 1])
    return np.asarray(np.where(at_border, np.nan, box))


def _box(pixels: FloatArray) -> FloatArray:
    return np.asarray(np.concatenate([pixels.min(axis=0), pixels.max(axis=0)]))


def _thinned(vertices: NDArray[np.float32]) -> FloatArray:
    """Some of the vertices, those at the extremes of many directions among them."""
    points = vertices.astype(np.float64)
    if len(points) <= MOST_VERTICES:
        return points
    directions = np.random.default_rng(0).normal(size=(MOST_VERTICES // 2, 3))
    return np.asarray(points[np.unique(np.argmax(points @ directions.T, axis=0))])
