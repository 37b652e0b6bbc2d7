"""What is told of an object at one instant: pose, twist, size, name, and the points of its surface."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fourd_ros.geometry.camera import PinholeCamera
from fourd_ros.geometry.transforms import apply, invert
from fourd_ros.reconstruction.live.followed_object import FollowedObject, Twist
from fourd_ros.reconstruction.live.seen_points import SeenPoints
from fourd_ros.reconstruction.masks.object_pixels import ObjectPixels, pixels_around, pixels_of_mask
from fourd_ros.reconstruction.naming.object_names import ObjectLook, object_names

__all__ = ["FramePictures", "LiveObject", "describe_objects", "pixels_of"]

FloatArray = NDArray[np.float64]
Cloud = tuple[NDArray[np.float32], NDArray[np.uint8]]

LEARN_EVERY = 5
"""Frames from one look at the size of an object to the next."""

SMOOTH = 0.2
"""Share of what is new in sizes and colours."""


@dataclass(frozen=True, kw_only=True)
class LiveObject:
    """An object at one instant.

    Args:
        number: of the object, kept while it is followed and never used again.
        name: of a model, else by size, speed and colour.
        T_world_object: shape [4, 4].
        covariance: of its move and turn in the axes of the world [m^2, rad^2], shape [6, 6].
        twist: how it moves, in the axes of the world.
        size: extent along its axes [m], shape [3].
        dynamic: whether it moves, or did a moment ago.
        confidence: 0 to 1.
        last_seen_ns: newest frame in which it was found [ns].
        points: of its surface in the world [m], shape [N, 3], float32; none in frames that do not show it.
        rgb: their colour, shape [N, 3], uint8.
    """

    number: int
    name: str
    T_world_object: FloatArray
    covariance: FloatArray
    twist: Twist
    size: FloatArray
    dynamic: bool
    confidence: float
    last_seen_ns: int
    points: NDArray[np.float32]
    rgb: NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True)
class FramePictures:
    """Pictures of one frame.

    Args:
        rgb: colour, shape [H, W, 3].
        depth: z-depth [m], NaN where unknown, shape [H, W]; None for a camera without.
        masks: number of the object at every pixel, 0 for none, shape [H, W]; None where nobody says.
    """

    rgb: NDArray[np.uint8]
    depth: NDArray[np.float32] | None
    masks: NDArray[np.integer] | None


def pixels_of(
    one: FollowedObject, seen: SeenPoints, frame: FramePictures, camera: PinholeCamera
) -> ObjectPixels | None:
    """Pixels that show an object, None where the frame does not."""
    if one.mask and frame.masks is not None:
        return pixels_of_mask(frame.masks, one.mask)
    if len(one.agreeing) < 3:
        return None
    return pixels_around(
        seen.positions[one.agreeing],
        seen.distance[one.agreeing],
        frame.depth,
        focal=float(camera.K[0, 0]),
        size=(camera.height, camera.width),
    )


def describe_objects(
    followed: Sequence[FollowedObject],
    shown: Mapping[int, ObjectPixels | None],
    seen: SeenPoints,
    frame: FramePictures,
    camera: PinholeCamera,
    *,
    is_dynamic: Callable[[FollowedObject, int], bool],
    most_points: int,
) -> tuple[LiveObject, ...]:
    """Everything about every object; what is learned of its size and colour is kept with it.

    Args:
        followed: the objects.
        shown: their pixels, by number.
        seen: points of the frame.
        frame: its pictures.
        camera: calibration.
        is_dynamic: whether an object moves at an instant [ns].
        most_points: of one object.
    """
    clouds = {one.number: _cloud(one, shown[one.number], seen, frame, camera, most_points) for one in followed}
    names = object_names([_look(one, seen, camera) for one in followed])
    return tuple(
        LiveObject(
            number=one.number,
            name=names[one.number],
            T_world_object=one.T_world_object.copy(),
            covariance=one.covariance,
            twist=one.twist(),
            size=one.size.copy(),
            dynamic=is_dynamic(one, seen.stamp_ns),
            confidence=one.confidence,
            last_seen_ns=one.last_seen_ns,
            points=clouds[one.number][0],
            rgb=clouds[one.number][1],
        )
        for one in followed
    )


def _cloud(
    one: FollowedObject,
    pixels: ObjectPixels | None,
    seen: SeenPoints,
    frame: FramePictures,
    camera: PinholeCamera,
    most_points: int,
) -> Cloud:
    """Points in the world, and colours."""
    if pixels is None or one.last_seen_ns != seen.stamp_ns:
        return np.zeros((0, 3), np.float32), np.zeros((0, 3), np.uint8)
    rows, columns = pixels.places(most_points)
    colours = frame.rgb[rows, columns]
    if frame.depth is None:
        places = seen.places(one.agreeing, camera.K)
        x, y = np.rint(seen.positions[one.agreeing]).astype(np.int64).T
        shown = frame.rgb[y, x]
    else:
        away = frame.depth[rows, columns]
        known = np.isfinite(away)
        in_camera = camera.rays()[rows[known], columns[known]] * away[known, None]
        places = np.asarray(apply(seen.T_world_camera, in_camera), np.float64)
        shown = colours[known]
    one.share = pixels.count / (camera.width * camera.height)
    _learn(one, places, colours)
    return places.astype(np.float32), shown


def _learn(one: FollowedObject, places: FloatArray, colours: NDArray[np.uint8]) -> None:
    if len(colours):
        colour = colours.mean(axis=0) / 255
        one.colour = colour if np.isnan(one.colour).any() else one.colour + SMOOTH * (colour - one.colour)
    if len(places) > 3 and (not one.size.any() or one.frames % LEARN_EVERY == 0):
        own = apply(invert(one.T_world_object), places)
        size = np.subtract(*np.percentile(own, (98, 2), axis=0))
        one.size = size if not one.size.any() else one.size + SMOOTH * (size - one.size)


def _look(one: FollowedObject, seen: SeenPoints, camera: PinholeCamera) -> ObjectLook:
    """How it appears, its speed without the camera's own."""
    away = max(float(np.linalg.norm(one.T_world_object[:3, 3] - seen.T_world_camera[:3, 3])), 1e-6)
    diagonal = float(np.hypot(camera.width, camera.height))
    speed = float(np.linalg.norm(one.twist().linear)) * float(camera.K[0, 0]) / away / diagonal
    red, green, blue = (float(value) for value in np.nan_to_num(one.colour, nan=0.5))
    return ObjectLook(number=one.number, share=one.share, speed=speed, colour=(red, green, blue))
