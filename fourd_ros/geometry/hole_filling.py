"""Holes of images filled from what surrounds them."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Mask = NDArray[np.bool_]


def fill_holes(values: NDArray[Any], known: Mask) -> Floats:
    """Fill holes with averages from ever coarser images (push-pull).

    Args:
        values: any numbers in holes (also NaN), shape [*, H, W, C].
        known: which pixels count, shape [*, H, W].

    Returns:
        The same values where they are known, smooth ones in the holes, 0 in images where nothing is known,
        shape [*, H, W, C].

    Source: Gortler et al. 1996, *The Lumigraph*.
    """
    filled: Floats = np.where(known[..., None], values, 0).astype(np.float32, copy=False)
    return filled if known.all() else _push_pull(filled, known)


def _push_pull(values: Floats, known: Mask) -> Floats:
    """`values` are 0 in holes."""
    height, width = known.shape[-2:]
    if known.all() or height * width == 1:
        return values
    count = _halved(known[..., None].astype(np.float32))
    means: Floats = np.divide(_halved(values), np.maximum(count, np.float32(1)), dtype=np.float32)
    coarse = _push_pull(means, count[..., 0] > 0)
    return np.where(known[..., None], values, _doubled(coarse)[..., :height, :width, :])


def _halved(images: Floats) -> Floats:
    """Sums over blocks of 2 x 2; blocks at the border may be cut off, shape [*, ceil(H / 2), ceil(W / 2), C]."""
    for axis in (-3, -2):
        odd = images.shape[axis] % 2
        images = np.pad(images, [(0, odd if i == images.ndim + axis else 0) for i in range(images.ndim)])
        images = _every_other(images, axis, 0) + _every_other(images, axis, 1)
    return images


def _every_other(images: Floats, axis: int, start: int) -> Floats:
    return images[..., start::2, :, :] if axis == -3 else images[..., start::2, :]


def _doubled(images: Floats) -> Floats:
    """Twice the size, linear between the centres of the pixels, shape [*, 2 H, 2 W, C]."""
    for axis in (-3, -2):
        size = images.shape[axis]
        before = images.take([0, *range(size - 1)], axis)
        after = images.take([*range(1, size), size - 1], axis)
        middle = np.float32(0.75) * images
        pair = np.stack([middle + np.float32(0.25) * before, middle + np.float32(0.25) * after], axis)
        images = pair.reshape(*images.shape[:axis], 2 * size, *images.shape[axis + 1 :])
    return images
