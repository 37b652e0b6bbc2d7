"""Which pixels of a recorded frame show the robot, something that moved, or the static scene.

The regions come from recorded depth and from the robot rendered at its *measured* joints, never
from a prediction, so they are the same for every model that is judged.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fourd_ros.errors import InvalidImage
from fourd_ros.records import Mask, Points, View

Indices = NDArray[np.intp]

MOVED_THRESHOLD = 0.02
ROBOT_MARGIN = 2


@dataclass(frozen=True, kw_only=True)
class Regions:
    """A partition of the pixels with known recorded depth, each of shape [H, W].

    A band of `ROBOT_MARGIN` pixels around the robot belongs to none of them: mixed pixels there say
    more about the camera than about the prediction.
    """

    robot: Mask
    static: Mask
    moved: Mask


def split(start: View, start_robot: Mask, now: View, now_robot: Mask) -> Regions:
    """Regions of the frame `now`, seen some time after the frame `start` by the same camera.

    Args:
        start: the frame the prediction starts from.
        start_robot: robot silhouette in `start` from measured joints, shape [H, W].
        now: the later frame.
        now_robot: robot silhouette in `now` from measured joints, shape [H, W].
    """
    known = np.isfinite(now.points[..., 2])
    near_robot = dilate(now_robot, ROBOT_MARGIN)
    moved = moved_region(start, start_robot, now, now_robot)
    return Regions(
        robot=known & now_robot,
        static=known & ~near_robot & ~moved,
        moved=known & moved,
    )


def counted(mask: Mask | None, shape: tuple[int, ...]) -> Mask:
    """`mask` for every pixel of images of `shape` [*, H, W]; all of them where it is None.

    Raises:
        InvalidImage: the mask does not broadcast to that shape.
    """
    given = np.asarray(True if mask is None else mask, dtype=bool)
    try:
        return np.broadcast_to(given, shape)
    except ValueError as error:
        raise InvalidImage(
            f"the mask has shape {list(given.shape)}, needed is one that broadcasts to {list(shape)}"
        ) from error


def visible(robot: Mask, robot_points: Points, recorded: Points) -> Mask:
    """The rendered robot less what the recorded depth shows in front of it.

    Args:
        robot: its rendered silhouette, shape [*, H, W].
        robot_points: its rendered pointmap [m], shape [*, H, W, 3].
        recorded: pointmap of the same frame [m], NaN unknown, shape [*, H, W, 3].

    Returns:
        Shape [*, H, W].
    """
    hidden = recorded[..., 2] < robot_points[..., 2] - MOVED_THRESHOLD
    return robot & ~hidden


def moved_region(
    start: View,
    start_robot: Mask,
    now: View,
    now_robot: Mask,
    *,
    threshold: float = MOVED_THRESHOLD,
) -> Mask:
    """Non-robot pixels of `now` where something arrived or left since `start`.

    Free space decides: a point seen now that lies in front of what `start` saw in that direction has
    *arrived*; a point seen at the start that lies in front of what is seen now has *left*. For a fixed
    camera this is exactly "the depths differ by more than the threshold"; for a moving camera it does
    not mistake what the new viewpoint uncovers for motion.

    Args:
        start: the earlier frame.
        start_robot: robot silhouette in `start`, shape [H, W].
        now: the later frame of the same camera.
        now_robot: robot silhouette in `now`, shape [H, W].
        threshold: smallest depth difference that counts as motion [m].

    Returns:
        Shape [H, W].
    """
    start_away, now_away = ~dilate(start_robot, ROBOT_MARGIN), ~dilate(now_robot, ROBOT_MARGIN)
    if np.allclose(start.T_world_camera, now.T_world_camera, atol=1e-6):
        difference = np.abs(now.points[..., 2] - start.points[..., 2])
        return np.asarray((difference > threshold) & start_away & now_away)

    arrived = np.zeros(now_away.shape, dtype=bool)
    rows, columns, target, depth = _seen_from(now, now_away, start)
    arrived[rows, columns] = (depth < _nearest_around(start)[target] - threshold) & start_away[target]

    left = np.zeros(now_away.shape, dtype=bool)
    _, _, target, depth = _seen_from(start, start_away, now)
    gone = depth < _nearest_around(now)[target] - threshold
    left[target[0][gone], target[1][gone]] = True
    return (arrived | left) & now_away


def dilate(mask: Mask, radius: int) -> Mask:
    """Grow a mask by `radius` pixels in the city-block metric; shape [H, W]."""
    grown = mask.copy()
    for _ in range(radius):
        previous = grown.copy()
        grown[1:] |= previous[:-1]
        grown[:-1] |= previous[1:]
        grown[:, 1:] |= previous[:, :-1]
        grown[:, :-1] |= previous[:, 1:]
    return grown


def _seen_from(
    source: View, selected: Mask, other: View
) -> tuple[Indices, Indices, tuple[Indices, Indices], NDArray[np.float32]]:
    """Where the selected points of `source` fall in `other`: source rows, columns, target pixels, depth there."""
    rows, columns = np.nonzero(selected & np.isfinite(source.points[..., 2]))
    T_other_source = (np.linalg.inv(other.T_world_camera) @ source.T_world_camera).astype(np.float32)
    points = source.points[rows, columns] @ T_other_source[:3, :3].T + T_other_source[:3, 3]
    in_front = points[:, 2] > 1e-6
    rows, columns, points = rows[in_front], columns[in_front], points[in_front]
    pixels = np.rint(other.camera.project(points)).astype(np.intp)
    inside = (pixels >= 0).all(1) & (pixels[:, 0] < other.camera.width) & (pixels[:, 1] < other.camera.height)
    target = (pixels[inside, 1], pixels[inside, 0])
    return rows[inside], columns[inside], target, points[inside, 2]


def _nearest_around(view: View) -> NDArray[np.float32]:
    """Smallest known depth in the 3 x 3 pixels around each, NaN where the pixel itself is unknown.

    A moving camera samples other spots of the same edge, so it is compared with the nearest surface around.
    """
    depth = view.points[..., 2]
    unknown = ~np.isfinite(depth)
    nearest = np.pad(np.where(unknown, np.inf, depth), 1, constant_values=np.inf)
    nearest = np.minimum(np.minimum(nearest[:-2], nearest[1:-1]), nearest[2:])
    nearest = np.minimum(np.minimum(nearest[:, :-2], nearest[:, 1:-1]), nearest[:, 2:])
    return np.where(unknown, np.float32(np.nan), nearest)
