"""The points of one frame, as objects are found from them."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from fourd_ros.geometry.camera import PinholeCamera
from fourd_ros.geometry.transforms import apply, invert
from fourd_ros.reconstruction.motion.path_start import back_projected

__all__ = ["SeenPoints", "appear", "without_distortion"]

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class SeenPoints:
    """Points of one frame.

    Args:
        stamp_ns: of the frame [ns].
        T_world_camera: shape [4, 4].
        ids: each once, ascending, shape [n].
        positions: in the picture as it came [px], shape [n, 2].
        pixels: without distortion [px], shape [n, 2].
        depth: measured z-depth [m], NaN where unknown, shape [n].
        distance: the same, where it is not measured that of still points around, shape [n].
        numbers: of the mask that a point lies in, 0 for none, shape [n].
    """

    stamp_ns: int
    T_world_camera: FloatArray
    ids: NDArray[np.int64]
    positions: FloatArray
    pixels: FloatArray
    depth: FloatArray
    distance: FloatArray
    numbers: NDArray[np.int64]

    @property
    def certain(self) -> NDArray[np.bool_]:
        """Points whose depth is measured, where any is: others lie on outlines and are followed badly, shape [n]."""
        known = np.isfinite(self.depth)
        return known if known.any() else ~known

    def rows(self, ids: NDArray[np.int64]) -> NDArray[np.int64]:
        """Where `ids` stand, of those that are seen."""
        return np.flatnonzero(np.isin(self.ids, ids))

    def places(self, rows: NDArray[np.int64], K: FloatArray) -> FloatArray:
        """In the world, shape [n, 3]."""
        return np.asarray(apply(self.T_world_camera, back_projected(self.pixels[rows], self.distance[rows], K)))


def appear(places: FloatArray, T_world_camera: FloatArray, K: FloatArray) -> FloatArray:
    """Pixels without distortion of places in the world, NaN behind the camera, shape [n, 2]."""
    seen = apply(invert(T_world_camera), places)
    z = np.where(seen[:, 2:] > 0, seen[:, 2:], np.nan)
    return np.asarray(seen[:, :2] / z * K[[0, 1], [0, 1]] + K[:2, 2])


def without_distortion(positions: FloatArray, camera: PinholeCamera) -> FloatArray:
    """Where a camera of the same K without distortion would see them [px], shape [n, 2]."""
    if not camera.distorted or not len(positions):
        return positions
    flat = cv2.undistortPoints(positions.reshape(-1, 1, 2), camera.K, camera.distortion, P=camera.K)
    return np.asarray(flat, np.float64).reshape(-1, 2)
