"""What the bundle adjustment finds: the path of the camera, static points and objects that move."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fourd_ros.geometry.camera import PinholeCamera

__all__ = ["REJECTED", "STATIC", "MovingObject", "SceneMotion"]

REJECTED = -1
STATIC = 0


@dataclass(frozen=True, kw_only=True)
class MovingObject:
    """A set of tracks that move together.

    Args:
        number: of the object, from 1, as the labels of tracks and the pixels of masks have it.
        tracks: indices of its tracks, shape [n], int64.
        points: its points in its own frame [m], shape [n, 3]; the frame has the axes of the world
            and its origin in the centroid at the first instant it was seen.
        T_world_object: its pose in every frame, NaN where it was not seen, shape [F, 4, 4].
        nonrigid: root mean square of how far its points stray from a rigid motion [m].
    """

    number: int
    tracks: NDArray[np.int64]
    points: NDArray[np.float64]
    T_world_object: NDArray[np.float64]
    nonrigid: float


@dataclass(frozen=True, kw_only=True)
class SceneMotion:
    """Camera path, points and objects of a clip; *world* is the camera of the first frame.

    Args:
        camera: calibration, with the focal length as it was found.
        T_world_camera: shape [F, 4, 4].
        labels: of every track: ``STATIC``, ``REJECTED`` or the number of an object, shape [N].
        points: places of static tracks in the world [m], NaN for all others, shape [N, 3].
        objects: what moves.
        depth_scales: what the given depth of a frame is multiplied by to agree with the path,
            shape [F], ones without depth.
        metric: whether lengths are metres, as they are with depth; else the path from first to
            last frame sets the unit and only ratios of lengths mean anything.
        rms: reprojection error of static tracks [px], inliers.
        caveats: what could not be done, in words.
    """

    camera: PinholeCamera
    T_world_camera: NDArray[np.float64]
    labels: NDArray[np.int64]
    points: NDArray[np.float64]
    objects: tuple[MovingObject, ...]
    depth_scales: NDArray[np.float64]
    metric: bool
    rms: float
    caveats: tuple[str, ...] = ()
