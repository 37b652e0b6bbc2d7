"""What moves by itself: flow that a world at rest would not have."""

import numpy as np
from numpy.typing import NDArray

from fourd_ros.geometry.camera import PinholeCamera
from fourd_ros.geometry.pointmap import points_from_depth
from fourd_ros.geometry.transforms import apply

__all__ = ["confirmed", "moving_regions", "residual_flow", "static_flow"]


def static_flow(
    depth: NDArray[np.floating], camera: PinholeCamera, T_second_first: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Flow of a world at rest.

    Args:
        depth: z-depth of the first frame [m], NaN where unknown, shape [H, W].
        camera: of both frames.
        T_second_first: the first camera as the second one sees it, shape [4, 4].

    Returns:
        (dx, dy) [px], NaN where depth is unknown or the point comes behind the camera, shape [H, W, 2].
    """
    points = points_from_depth(depth, camera).astype(np.float64)
    y, x = np.mgrid[: camera.height, : camera.width]
    moved = apply(T_second_first, points.reshape(-1, 3)).reshape(points.shape).astype(np.float64)
    return np.asarray(camera.project(moved) - np.stack([x, y], axis=-1))


def residual_flow(
    flow: NDArray[np.floating],
    depth: NDArray[np.floating],
    camera: PinholeCamera,
    T_second_first: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Length of what remains of a flow without that of the camera's own motion.

    Args:
        flow: (dx, dy) from the first frame to the second [px], shape [H, W, 2].
        depth: z-depth of the first frame [m], NaN where unknown, shape [H, W].
        camera: of both frames.
        T_second_first: the first camera as the second one sees it, shape [4, 4].

    Returns:
        [px], NaN where unknown, shape [H, W].
    """
    return np.asarray(np.linalg.norm(flow - static_flow(depth, camera, T_second_first), axis=-1))


def confirmed(
    forward: NDArray[np.floating], backward: NDArray[np.floating], *, least: float = 1.0, share: float = 0.1
) -> NDArray[np.float32]:
    """Flow where the way back agrees with it, NaN elsewhere: what is covered in the second frame has no flow.

    Args:
        forward: from the first frame to the second [px], shape [H, W, 2].
        backward: from the second to the first.
        least: ways there and back may differ by this [px],
        share: and by this share of both their lengths.

    Source: Sundaram, Brox and Keutzer 2010.
    """
    import cv2

    height, width = forward.shape[:2]
    y, x = np.mgrid[:height, :width].astype(np.float32)
    there_x, there_y = x + forward[..., 0].astype(np.float32), y + forward[..., 1].astype(np.float32)
    back = np.asarray(cv2.remap(backward.astype(np.float32), there_x, there_y, cv2.INTER_LINEAR))
    lengths = np.linalg.norm(forward, axis=-1) + np.linalg.norm(back, axis=-1)
    with np.errstate(invalid="ignore"):
        inside = (there_x >= 0) & (there_x <= width - 1) & (there_y >= 0) & (there_y <= height - 1)
        agrees = inside & (np.linalg.norm(forward + back, axis=-1) <= least + share * lengths)
    return np.where(agrees[..., None], forward, np.nan).astype(np.float32)


def moving_regions(
    residual: NDArray[np.floating],
    *,
    threshold: float | NDArray[np.floating] = 1.5,
    radius: int = 2,
    min_pixels: int = 60,
) -> NDArray[np.int32]:
    """Regions that move by themselves.

    Args:
        residual: of the flow [px], NaN where unknown, shape [H, W].
        threshold: more than this is motion [px]; one for all pixels, or one for each, shape [H, W].
        radius: specks and cracks so thin are taken away and closed [px].
        min_pixels: smaller regions are left out.

    Returns:
        Number of the region of every pixel, the largest one is 1; 0 for none, shape [H, W].
    """
    import cv2

    with np.errstate(invalid="ignore"):
        moving = (residual > threshold).astype(np.uint8)
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
    clean = cv2.morphologyEx(cv2.morphologyEx(moving, cv2.MORPH_OPEN, disc), cv2.MORPH_CLOSE, disc)
    count, labels, facts, _ = cv2.connectedComponentsWithStats(clean, connectivity=8)
    sizes = np.asarray(facts)[:, cv2.CC_STAT_AREA]
    sizes[0] = 0
    numbers = np.zeros(count, np.int32)
    order = np.argsort(-sizes, kind="stable")
    kept = order[sizes[order] >= max(min_pixels, 1)]
    numbers[kept] = np.arange(1, len(kept) + 1)
    return numbers[np.asarray(labels)]
