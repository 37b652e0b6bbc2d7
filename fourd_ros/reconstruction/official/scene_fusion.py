"""All frames of a video as coloured points in one world: those that stand still, and those of moving objects."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fourd_ros.errors import InvalidClip
from fourd_ros.geometry.camera import PinholeCamera
from fourd_ros.geometry.pointmap import points_from_depth
from fourd_ros.geometry.transforms import apply
from fourd_ros.reconstruction.official.depth_edges import away_from_edges
from fourd_ros.reconstruction.official.track_regions import MOVING_CORE, STATIC_CORE, Regions

__all__ = ["FusedScene", "fuse", "instance_colour", "tinted"]

TINT = 0.3

_COLOURS = ((255, 0, 0), (0, 255, 0), (0, 0, 255))


@dataclass(frozen=True, kw_only=True)
class FusedScene:
    """P static points and M points of objects that move, of F frames.

    Args:
        static_points: in the world [m], row by row and frame by frame, shape [P, 3].
        static_rgbs: their colours, shape [P, 3], uint8.
        moving_points: in the world [m], shape [M, 3]; by frame, in a frame by object, of an object row by row.
        moving_rgbs: their colours, shape [M, 3], uint8.
        moving_frame: which frame saw each, shape [M], int64.
        moving_instance: which object each is of, from 1, shape [M], int64.
        T_world_camera: shape [F, 4, 4].
        K: shape [F, 3, 3], float32.
        rgb: frames, shape [F, H, W, 3], uint8.
    """

    static_points: NDArray[np.float64]
    static_rgbs: NDArray[np.uint8]
    moving_points: NDArray[np.float64]
    moving_rgbs: NDArray[np.uint8]
    moving_frame: NDArray[np.int64]
    moving_instance: NDArray[np.int64]
    T_world_camera: NDArray[np.float64]
    K: NDArray[np.float32]
    rgb: NDArray[np.uint8]

    @property
    def frames(self) -> int:
        """Number of frames F."""
        return len(self.T_world_camera)

    def by_frame(self, of_moving: NDArray[np.generic]) -> list[NDArray[np.generic]]:
        """What belongs to moving points, shape [M, *], split into a list of F arrays."""
        ends = np.searchsorted(self.moving_frame, np.arange(1, self.frames))
        return np.split(of_moving, ends)


def fuse(
    rgb: NDArray[np.uint8],
    depth: NDArray[np.floating],
    regions: Regions,
    camera: PinholeCamera,
    T_world_camera: NDArray[np.float64],
    *,
    usable: NDArray[np.bool_] | None = None,
) -> FusedScene:
    """Points of all usable pixels well inside a region, none left out or merged.

    Source: specification of DynamicVerse, 7.4.

    Args:
        rgb: shape [F, H, W, 3].
        depth: z-depth [m], NaN where unknown, shape [F, H, W].
        regions: of the same frames.
        camera: that made them.
        T_world_camera: shape [F, 4, 4].
        usable: pixels whose depth is trusted, shape [F, H, W]; those ``away_from_edges`` if not given.

    Raises:
        InvalidClip: shapes that do not fit together.
    """
    size = depth.shape
    if rgb.shape != (*size, 3) or regions.of_masks.shape != size or T_world_camera.shape != (size[0], 4, 4):
        given = [list(array.shape) for array in (rgb, depth, regions.of_masks, T_world_camera)]
        raise InvalidClip(f"colour, depth, regions and poses have shapes {given}; needed are the same F, H and W")
    seen = points_from_depth(depth, camera).reshape(size[0], -1, 3).astype(np.float64)
    points = apply(T_world_camera, seen).astype(np.float64, copy=False).reshape(*size, 3)
    trusted = (away_from_edges(depth) if usable is None else usable) & np.isfinite(points).all(axis=-1)
    static = trusted & (regions.of_masks == STATIC_CORE)
    moving = np.nonzero(trusted & (regions.of_masks == MOVING_CORE))
    instance = regions.instances[moving].astype(np.int64)
    order = np.lexsort((instance, moving[0]))
    frame, row, column = (index[order] for index in moving)
    return FusedScene(
        static_points=points[static],
        static_rgbs=rgb[static],
        moving_points=points[frame, row, column],
        moving_rgbs=rgb[frame, row, column],
        moving_frame=frame.astype(np.int64),
        moving_instance=instance[order],
        T_world_camera=T_world_camera,
        K=np.broadcast_to(camera.K.astype(np.float32), (size[0], 3, 3)),
        rgb=rgb,
    )


def tinted(rgbs: NDArray[np.uint8], instances: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Colours with three tenths of the colour of their object in them, fractions cut off, shape [M, 3]."""
    numbers, index = np.unique(instances, return_inverse=True)
    colours = np.array([instance_colour(int(number)) for number in numbers], np.uint8).reshape(-1, 3)
    return ((1 - TINT) * rgbs + TINT * colours[index]).astype(np.uint8)


def instance_colour(number: int) -> tuple[int, int, int]:
    """Red, green, blue for the objects 1 to 3; for others one that is drawn, always the same for a number."""
    if 1 <= number <= len(_COLOURS):
        return _COLOURS[number - 1]
    red, green, blue = np.random.default_rng(number).integers(100, 256, 3).tolist()
    return red, green, blue
