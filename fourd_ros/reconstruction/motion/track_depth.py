"""Measured depth at the places of tracks."""

import numpy as np
from numpy.typing import NDArray

EDGE = 1.1
"""Ratio of the farthest to the nearest pixel around from which on they lie on two surfaces."""

ROUGH = 5.0
"""Where the surface bends as many times more than the median, depth between pixels is not trusted."""

ROUNDING = 1e-6
"""Bends of flat surfaces in single precision."""


def depth_at(depth: NDArray[np.floating], pixels: NDArray[np.float64], seen: NDArray[np.bool_]) -> NDArray[np.float64]:
    """z-depth at `pixels`, exact on planes; NaN at edges and creases, beside unknown depth and where not seen.

    The inverse of depth is what is interpolated: on a plane it is linear in the pixel. Edges and creases show by
    the second differences of the sixteen pixels around, measured against the noise of the whole clip.

    Args:
        depth: z-depth [m], NaN or not positive where unknown, shape [F, H, W], both at least 4.
        pixels: where [px], shape [F, N, 2].
        seen: shape [F, N].

    Returns:
        Shape [F, N].
    """
    frames, height, width = depth.shape
    frame, track = np.nonzero(seen)
    x, y = pixels[frame, track].T
    left, top = np.clip(np.floor([x, y]).astype(np.int64), 1, np.array([[width - 3], [height - 3]]))
    around = np.arange(-1, 3)
    patch = depth[frame[:, None, None], top[:, None, None] + around[:, None], left[:, None, None] + around]
    with np.errstate(divide="ignore", invalid="ignore"):
        inverse = np.where(patch > 0, 1 / patch.astype(np.float64), np.nan)
        edge = ~(inverse.max(axis=(1, 2)) < EDGE * inverse.min(axis=(1, 2)))
        bend = np.maximum(
            np.abs(np.diff(inverse, 2, axis=1)).max(axis=(1, 2)), np.abs(np.diff(inverse, 2, axis=2)).max(axis=(1, 2))
        )
        bend /= inverse.mean(axis=(1, 2))
    usual = np.median(bend[~edge]) if (~edge).any() else 0.0
    edge |= ~(bend <= max(ROUGH * usual, ROUNDING))
    a, b = x - left, y - top
    corners = inverse[:, 1:3, 1:3]
    value = (corners[:, 0, 0] * (1 - a) + corners[:, 0, 1] * a) * (1 - b)
    value += (corners[:, 1, 0] * (1 - a) + corners[:, 1, 1] * a) * b
    found = np.full((frames, pixels.shape[1]), np.nan)
    with np.errstate(divide="ignore", invalid="ignore"):
        found[frame, track] = np.where(edge, np.nan, 1 / value)
    return found
