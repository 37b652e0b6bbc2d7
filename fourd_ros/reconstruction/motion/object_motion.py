"""How an object moves: it is a still scene in its own frame, seen by a camera that goes the other way round."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from fourd_ros.errors import CannotReconstruct
from fourd_ros.geometry.camera import PinholeCamera
from fourd_ros.geometry.transforms import apply, invert
from fourd_ros.reconstruction.bundle.adjustment import adjust
from fourd_ros.reconstruction.bundle.problem import BundleOptions, BundleProblem
from fourd_ros.reconstruction.motion.motion_segmentation import SHORTEST
from fourd_ros.reconstruction.motion.path_start import path_from_depth, pose_near
from fourd_ros.reconstruction.motion.scene_motion import MovingObject

FloatArray = NDArray[np.float64]

FEWEST_TRACKS = 5
"""That a pose of an object is found from in a frame."""

ITERATIONS = 100
"""Of an object's adjustment: it is small, and its distance and its turning are hard to tell apart."""

STRAYING = 3.0
"""Tracks whose errors are this many times the object's median do not belong to it."""


@dataclass(frozen=True, kw_only=True)
class ObjectFit:
    """An object, and how far from their places its points appear [px], NaN where unseen, shape [F, n]."""

    moving: MovingObject
    errors: FloatArray


def object_motion(
    number: int,
    tracks: NDArray[np.int64],
    *,
    pixels: FloatArray,
    seen: NDArray[np.bool_],
    depth: FloatArray,
    T_world_camera: FloatArray,
    camera: PinholeCamera,
    options: BundleOptions,
) -> MovingObject:
    """Poses of an object in the world, and its points.

    The camera path, the focal length and the depth scales are known from what stands still and stay. What the
    object says about them beyond that is only the focal length's share, so nothing else is lost by solving apart.

    Args:
        number: of the object.
        tracks: indices of its tracks, shape [n].
        pixels: of these tracks, without distortion [px], shape [F, n, 2].
        seen: shape [F, n].
        depth: z-depth at the tracks, in the unit of the path, NaN where unknown, shape [F, n].
        T_world_camera: shape [F, 4, 4].
        camera: calibration.
        options: how to adjust.

    Raises:
        CannotReconstruct: no run of frames sees enough of its tracks.
    """
    return fit_object(
        number,
        tracks,
        pixels=pixels,
        seen=seen,
        depth=depth,
        T_world_camera=T_world_camera,
        camera=camera,
        options=options,
    ).moving


def fit_object(
    number: int,
    tracks: NDArray[np.int64],
    *,
    pixels: FloatArray,
    seen: NDArray[np.bool_],
    depth: FloatArray,
    T_world_camera: FloatArray,
    camera: PinholeCamera,
    options: BundleOptions,
) -> ObjectFit:
    """As `object_motion`, with the errors."""
    frames = np.flatnonzero(seen.sum(axis=1) >= FEWEST_TRACKS)
    if len(frames) < SHORTEST:
        raise CannotReconstruct(f"{len(frames)} frames see {FEWEST_TRACKS} of its tracks; {SHORTEST} are needed")
    span = np.arange(frames[0], frames[-1] + 1)
    start = path_from_depth(
        pixels[span],
        seen[span],
        depth[span],
        camera.K,
        longer_side=max(camera.width, camera.height),
        finder=pose_near,
        first=int(np.isfinite(depth[span]).sum(axis=1).argmax()),
    )
    problem = BundleProblem(
        pixels=pixels[span],
        weights=(seen[span] & np.isfinite(start.points[:, 0])).astype(np.float64),
        T_world_camera=start.T_world_camera,
        points=np.nan_to_num(start.points),
        focal=camera.K[[0, 1], [0, 1]],
        centre=camera.K[:2, 2],
        depth=depth[span],
    )
    rigid = replace(options, focal="fixed", scale_sigma=0.0, max_iterations=ITERATIONS, tolerance=1e-9)
    solution = adjust(problem, rigid)
    kept = _belonging(solution.errors)
    if not kept.all() and kept.sum() >= FEWEST_TRACKS:
        again = replace(problem, weights=problem.weights * kept, T_world_camera=solution.T_world_camera)
        solution = adjust(replace(again, points=solution.points), rigid)
    return _moving(
        number,
        tracks,
        span,
        solution.T_world_camera,
        solution.points,
        kept,
        solution.errors,
        seen,
        T_world_camera,
        camera,
    )


def _belonging(errors: FloatArray) -> NDArray[np.bool_]:
    """Tracks that move as the others do, shape [n]."""
    known = np.where(np.isposinf(errors), 1e9, errors)
    empty = ~np.isfinite(known).any(axis=0)
    known[:, empty] = 1e9
    middle = np.nanmedian(known, axis=0)
    return middle <= STRAYING * max(float(np.median(middle[~empty])) if (~empty).any() else 0.0, 1e-6)


def _moving(
    number: int,
    tracks: NDArray[np.int64],
    span: NDArray[np.int64],
    T_object_camera: FloatArray,
    points: FloatArray,
    kept: NDArray[np.bool_],
    errors: FloatArray,
    seen: NDArray[np.bool_],
    T_world_camera: FloatArray,
    camera: PinholeCamera,
) -> ObjectFit:
    """The object with the axes of the world and its origin in its centroid when first seen."""
    T_world_points = T_world_camera[span] @ invert(T_object_camera)
    first = T_world_points[0]
    centred = np.eye(4)
    centred[:3, :3] = first[:3, :3].T
    centred[:3, 3] = points[kept].mean(axis=0)
    own = apply(invert(centred), points)
    poses = np.full((len(T_world_camera), 4, 4), np.nan)
    enough = (seen[span] & kept).sum(axis=1) >= FEWEST_TRACKS
    poses[span[enough]] = (T_world_points @ centred)[enough]
    in_camera = apply(invert(T_object_camera), np.broadcast_to(points, (len(span), *points.shape)))[..., 2]
    spread = np.full((len(T_world_camera), int(kept.sum())), np.nan)
    spread[span] = np.where(np.isposinf(errors), np.nan, errors)[:, kept]
    strays = (errors * in_camera / camera.K[0, 0])[:, kept]
    strays = strays[np.isfinite(strays)]
    moving = MovingObject(
        number=number,
        tracks=tracks[kept],
        points=own[kept].astype(np.float64),
        T_world_object=poses,
        nonrigid=float(np.sqrt((strays**2).mean())) if len(strays) else float("nan"),
    )
    return ObjectFit(moving=moving, errors=spread)
