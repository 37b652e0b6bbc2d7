"""Depth as 16 bit images, each stretched over its own range, with the ranges beside them."""

import numpy as np
from numpy.typing import NDArray

__all__ = ["DepthRow", "depth_image", "depth_metadata"]

DepthRow = dict[str, "int | np.float32"]

LEVELS = 65535


def depth_image(depth: NDArray[np.float32]) -> NDArray[np.uint16]:
    """One frame, its nearest depth 0 and its farthest 65535, in float32 with fractions cut off, shape [H, W].

    Where all depth is the same, and where it is unknown, the image is 0.
    """
    near, far = _range(depth)
    if not far > near:
        return np.zeros(depth.shape, np.uint16)
    share = (depth.astype(np.float32, copy=False) - near) / (far - near)
    levels: NDArray[np.uint16] = np.nan_to_num(share * np.float32(LEVELS)).astype(np.uint16)
    return levels


def depth_metadata(depth: NDArray[np.float32]) -> list[DepthRow]:
    """What turns the images back into metres: ``depth_min + image / 65535 (depth_max - depth_min)``.

    Args:
        depth: shape [F, H, W].

    Returns:
        By frame: ``frame``, ``height``, ``width``, ``depth_min`` and ``depth_max`` [m], both NaN where no pixel is
        known.
    """
    rows: list[DepthRow] = []
    for frame, image in enumerate(depth):
        near, far = _range(image)
        row: DepthRow = {"frame": frame, "height": image.shape[0], "width": image.shape[1]}
        rows.append({**row, "depth_min": near, "depth_max": far})
    return rows


def _range(depth: NDArray[np.float32]) -> tuple[np.float32, np.float32]:
    known = depth[np.isfinite(depth)]
    if not known.size:
        return np.float32(np.nan), np.float32(np.nan)
    return np.float32(known.min()), np.float32(known.max())
