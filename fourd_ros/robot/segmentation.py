"""Which observed pixels show the robot."""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Points = NDArray[np.float32]
Mask = NDArray[np.bool_]


def robot_pixels(
    points: Points, rendered_points: Points, rendered_mask: Mask, *, margin: float = 0.02, fringe: int = 2
) -> Mask:
    """Pixels that show the robot, or a mixture of it and what is behind.

    Calibration and joint encoders are never exact, so the rendered silhouette is widened by `fringe` pixels and the
    depth of the robot is taken to reach `margin` further. Inside the silhouette a pixel belongs to the robot unless
    something stands clearly before it: depth sensors often see nothing, or too much, on smooth shells and at edges.

    Args:
        points: observed, camera frame [m], shape [H, W, 3], NaN where unknown.
        rendered_points: of the robot in the observed posture, shape [H, W, 3], NaN where it is not.
        rendered_mask: its silhouette, shape [H, W].
        margin: observed depth this much nearer than the robot is still the robot [m].
        fringe: uncertainty of the silhouette [px].

    Returns:
        True on the robot, shape [H, W].
    """
    if not rendered_mask.any():
        return np.zeros_like(rendered_mask)
    window = _window(rendered_mask, fringe)
    observed, rendered = points[window][..., 2], rendered_points[window][..., 2]
    silhouette = rendered_mask[window]
    size = 2 * fringe + 1
    near = ndimage.minimum_filter(np.where(silhouette, rendered, np.inf), size=size, mode="constant", cval=np.inf)
    far = ndimage.maximum_filter(np.where(silhouette, rendered, -np.inf), size=size, mode="constant", cval=-np.inf)
    before = observed < near - margin
    beside = ~silhouette & ~(observed <= far + margin)
    inside = ndimage.minimum_filter(silhouette, size=size, mode="constant", cval=True)
    behind = ~inside & (observed > far + margin)
    result = np.zeros_like(rendered_mask)
    result[window] = np.isfinite(near) & ~before & ~beside & ~behind
    return result


def _window(mask: Mask, border: int) -> tuple[slice, slice]:
    """The rectangle around what is True, with a border."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return (
        slice(max(rows[0] - border, 0), rows[-1] + border + 1),
        slice(max(columns[0] - border, 0), columns[-1] + border + 1),
    )
