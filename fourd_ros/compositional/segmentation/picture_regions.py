"""Regions of one picture that look like one thing: near in space and alike in colour."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

__all__ = ["PictureRegion", "hue_plane", "picture_regions", "same_colour"]

FloatArray = NDArray[np.float64]
Mask = NDArray[np.bool_]

ALIKE = 9.0
"""Neighbours of one thing differ so much in hue at most, in units of `hue_plane`."""

DEPTH_STEP = 0.012
"""Depth of one thing jumps by so much from pixel to pixel at most [m], and by its share of depth more."""

DEPTH_STEP_SHARE = 0.012
LEAST_CHROMA, SAME_HUE = 12.0, 0.45
"""Colours with so much chroma are shades of one where their angles differ by less than so much [rad]."""

SHADE_ALIKE = 14.0
"""Medians of hue that differ by less are shades of one colour, also of grey."""

_DARK = 25.0
_SMALLEST_SHARE = 3e-4


@dataclass(frozen=True, kw_only=True)
class PictureRegion:
    """A region of one frame.

    Args:
        mask: where it is, shape [H, W].
        pixels: how many they are.
        hue: median of `hue_plane`, shape [2].
        lightness: median, 0 to 255.
        centre: median of its points [m], shape [3]; NaN without depth.
        radius: median distance of its points from the centre [m]; NaN without depth.
        middle: mean row and column [px], shape [2].
    """

    mask: Mask
    pixels: int
    hue: FloatArray
    lightness: float
    centre: FloatArray
    radius: float
    middle: FloatArray


def hue_plane(rgb: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Colour without brightness: a and b of CIELAB over the lightness, so that shades of a colour agree.

    Returns:
        Shape [H, W, 2]; about -100 to 100; dark pixels count as grey.
    """
    lab = cv2.cvtColor(rgb.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
    return np.asarray(lab[..., 1:] * (60.0 / np.maximum(lab[..., :1], _DARK)), np.float32)


def picture_regions(rgb: NDArray[np.uint8], things: Mask, points: NDArray[np.floating] | None) -> list[PictureRegion]:
    """Regions of the pixels that are of things, largest first.

    Args:
        rgb: colour, shape [H, W, 3].
        things: pixels that show something else than the background, shape [H, W].
        points: of every pixel in the camera's frame [m], NaN where unknown, shape [H, W, 3]; None without depth.
    """
    hue = np.asarray(cv2.medianBlur(hue_plane(rgb), 3), np.float32)
    depth = None if points is None else points[..., 2]
    near = _links(things, depth, None)
    numbers = _joined(things, _links(things, depth, hue))
    numbers = _without_specks(numbers, near, least=max(6, int(_SMALLEST_SHARE * things.size)))
    numbers = _with_shades_joined(numbers, near, hue)
    lightness = np.asarray(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY), np.uint8)
    regions = [_region(numbers == number, hue, lightness, points) for number in np.unique(numbers[numbers > 0])]
    return sorted(regions, key=lambda region: -region.pixels)


def _links(
    things: Mask, depth: NDArray[np.floating] | None, hue: NDArray[np.float32] | None
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Pairs of neighbouring pixels of things that are of one thing, as indices into the flattened picture."""
    index = np.arange(things.size).reshape(things.shape)
    first, second = [], []
    for here, there in (
        ((slice(None), slice(None, -1)), (slice(None), slice(1, None))),
        ((slice(None, -1), slice(None)), (slice(1, None), slice(None))),
    ):
        linked = things[here] & things[there]
        if depth is not None:
            with np.errstate(invalid="ignore"):
                step = np.abs(depth[here] - depth[there])
                linked &= ~(step > DEPTH_STEP + DEPTH_STEP_SHARE * np.minimum(depth[here], depth[there]))
        if hue is not None:
            linked &= np.linalg.norm(hue[here] - hue[there], axis=-1) < ALIKE
        first.append(index[here][linked])
        second.append(index[there][linked])
    return np.concatenate(first), np.concatenate(second)


def _joined(things: Mask, links: tuple[NDArray[np.int64], NDArray[np.int64]]) -> NDArray[np.int32]:
    """Number of the connected part of every pixel from 1, 0 for those of no thing."""
    first, second = links
    graph = coo_array((np.ones(len(first), bool), (first, second)), shape=(things.size, things.size))
    _, labels = connected_components(graph, directed=False)
    numbers = np.zeros(things.shape, np.int32)
    numbers[things] = 1 + np.unique(labels[things.ravel()], return_inverse=True)[1]
    return numbers


def _without_specks(
    numbers: NDArray[np.int32], near: tuple[NDArray[np.int64], NDArray[np.int64]], *, least: int
) -> NDArray[np.int32]:
    """Small parts become of the largest one that they touch in space; those that touch none vanish."""
    flat = numbers.ravel().copy()
    first, second = near
    for _ in range(8):
        sizes = np.bincount(flat)
        sizes[0] = 0
        small = (sizes > 0) & (sizes < least)
        if not small.any():
            break
        a, b = flat[first], flat[second]
        pairs = np.concatenate([np.stack([a, b], 1), np.stack([b, a], 1)])
        pairs = np.unique(pairs[small[pairs[:, 0]] & (pairs[:, 0] != pairs[:, 1]) & (pairs[:, 1] > 0)], axis=0)
        pairs = pairs[sizes[pairs[:, 1]] > sizes[pairs[:, 0]]]
        table = np.arange(len(sizes))
        order = np.argsort(sizes[pairs[:, 1]], kind="stable")
        table[pairs[order, 0]] = pairs[order, 1]
        lonely = small & (table == np.arange(len(sizes)))
        table[lonely] = 0
        flat = table[flat].astype(np.int32)
    sizes = np.bincount(flat)
    flat[sizes[flat] < least] = 0
    return flat.reshape(numbers.shape)


def _with_shades_joined(
    numbers: NDArray[np.int32], near: tuple[NDArray[np.int64], NDArray[np.int64]], hue: NDArray[np.float32]
) -> NDArray[np.int32]:
    """Regions that touch in space become one where they are lit and shaded sides of one colour."""
    labels, inverse = np.unique(numbers, return_inverse=True)
    flat = inverse.ravel()
    medians = np.stack([np.median(hue[numbers == label], axis=0) for label in labels])
    a, b = flat[near[0]], flat[near[1]]
    apart = (a != b) & (labels[a] > 0) & (labels[b] > 0)
    pairs, counts = np.unique(np.stack([a[apart], b[apart]], axis=1), axis=0, return_counts=True)
    alike = np.array([same_colour(medians[i], medians[j]) for i, j in pairs], bool).reshape(-1) & (counts >= 2)
    pairs = pairs[alike]
    graph = coo_array((np.ones(len(pairs), bool), (pairs[:, 0], pairs[:, 1])), shape=(len(labels),) * 2)
    _, joined = connected_components(graph, directed=False)
    joined = joined.astype(np.int32) + 1
    joined[labels == 0] = 0
    return np.asarray(joined[flat].reshape(numbers.shape))


def same_colour(first: FloatArray, second: FloatArray) -> bool:
    """Whether two medians of `hue_plane` can be of one colour in other light."""
    if np.linalg.norm(first - second) < SHADE_ALIKE:
        return True
    if min(np.linalg.norm(first), np.linalg.norm(second)) < LEAST_CHROMA:
        return False
    turn = np.arctan2(first[1], first[0]) - np.arctan2(second[1], second[0])
    return bool(abs((turn + np.pi) % (2 * np.pi) - np.pi) < SAME_HUE)


def _region(
    mask: Mask, hue: NDArray[np.float32], lightness: NDArray[np.uint8], points: NDArray[np.floating] | None
) -> PictureRegion:
    rows, columns = np.nonzero(mask)
    centre, radius = np.full(3, np.nan), np.nan
    if points is not None:
        inside = points[mask]
        inside = inside[np.isfinite(inside).all(axis=-1)].astype(np.float64)
        if len(inside):
            centre = np.median(inside, axis=0)
            radius = float(np.median(np.linalg.norm(inside - centre, axis=-1)))
    return PictureRegion(
        mask=mask,
        pixels=len(rows),
        hue=np.median(hue[mask], axis=0).astype(np.float64),
        lightness=float(np.median(lightness[mask])),
        centre=centre,
        radius=radius,
        middle=np.array([rows.mean(), columns.mean()]),
    )
