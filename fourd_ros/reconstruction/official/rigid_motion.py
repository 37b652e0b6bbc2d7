"""One rigid motion for points that move together."""

import numpy as np
from numpy.typing import NDArray

from fourd_ros.geometry.transforms import apply, from_parts, invert
from fourd_ros.reconstruction.motion.scene_motion import MovingObject

__all__ = ["LEAST_POINTS", "object_of_points"]

LEAST_POINTS = 3
"""Points that a frame must see, for a pose."""


def object_of_points(
    number: int, tracks: NDArray[np.int64], points: NDArray[np.float64], visible: NDArray[np.bool_]
) -> MovingObject | None:
    """The object whose points these are, None where no frame sees three of them.

    The first frame that sees most of them sets its frame of reference; all others are fitted to it by least squares.
    Points it does not see have the mean of where later frames put them. Source: Kabsch 1976, Acta Cryst. A32.

    Args:
        number: of the object.
        tracks: indices of its tracks, shape [n].
        points: places in the world [m], shape [n, F, 3].
        visible: where they are known, shape [F, n].
    """
    counts = visible.sum(axis=1)
    if not len(tracks) or counts.max() < LEAST_POINTS:
        return None
    places = points.swapaxes(0, 1)
    reference = int(counts.argmax())
    T = _fits(places[reference], places, visible & visible[reference])
    shape = _mean_place(T, places, visible, places[reference], seen=visible[reference])
    T = _fits(shape, places, visible & np.isfinite(shape).all(axis=1))
    T, shape = _centred(T, shape, visible)
    error = np.linalg.norm(apply(T, np.broadcast_to(shape, places.shape)) - places, axis=-1)[visible]
    return MovingObject(
        number=number,
        tracks=tracks,
        points=shape,
        T_world_object=T,
        nonrigid=float(np.sqrt(np.nanmean(np.square(error)))),
    )


def _fits(start: NDArray[np.float64], ends: NDArray[np.float64], weights: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Rigid transforms from `start` [n, 3] to each of `ends` [F, n, 3], NaN with too few points, shape [F, 4, 4]."""
    share = weights / np.maximum(weights.sum(axis=1, keepdims=True), 1)
    source, target = np.where(weights[..., None], start, 0.0), np.where(weights[..., None], ends, 0.0)
    before, after = (np.einsum("fn,fni->fi", share, one) for one in (source, target))
    spread = np.einsum("fn,fni,fnj->fij", share, source - before[:, None], target - after[:, None])
    U, _, Vt = np.linalg.svd(spread)
    turn = np.swapaxes(Vt, -1, -2)
    turn[..., 2] *= np.sign(np.linalg.det(U) * np.linalg.det(Vt))[..., None]
    R = turn @ np.swapaxes(U, -1, -2)
    T = from_parts(R, after - np.einsum("fij,fj->fi", R, before))
    T[weights.sum(axis=1) < LEAST_POINTS] = np.nan
    return T


def _mean_place(
    T: NDArray[np.float64],
    places: NDArray[np.float64],
    visible: NDArray[np.bool_],
    reference: NDArray[np.float64],
    *,
    seen: NDArray[np.bool_],
) -> NDArray[np.float64]:
    """Places in the frame of reference; those it did not see by the frames that have a pose, shape [n, 3]."""
    known = visible & _posed(T)[:, None]
    back = np.where(known[..., None], apply(invert(np.nan_to_num(T)), places), 0.0)
    count = known.sum(axis=0)[:, None]
    mean = np.where(count > 0, back.sum(axis=0) / np.maximum(count, 1), np.nan)
    return np.where(seen[:, None], reference, mean)


def _centred(
    T: NDArray[np.float64], shape: NDArray[np.float64], visible: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The same motion with the axes of the world, and the centroid as the origin, at the first instant with a pose."""
    first = int(_posed(T).argmax())
    known = visible[first] & np.isfinite(shape).all(axis=1)
    start = apply(T[first], shape)
    T_world_reference = from_parts(np.eye(3), start[known].mean(axis=0))
    T_object = T @ invert(T[first]) @ T_world_reference
    return T_object, apply(invert(T_world_reference), start).astype(np.float64, copy=False)


def _posed(T: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Frames with a pose, shape [F]."""
    return np.asarray(np.isfinite(T).all(axis=(1, 2)))
