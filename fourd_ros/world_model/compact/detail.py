"""What a generator says of one pixel in every block, brought to all pixels."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from fourd_ros.geometry.hole_filling import fill_holes
from fourd_ros.geometry.transforms import invert
from fourd_ros.records import FloatArray, Mask, RolloutView
from fourd_ros.world_model.compact.clips import COLOURS, GAINS, Clip, points_in_robot, represented
from fourd_ros.world_model.compact.lighting import Shade
from fourd_ros.world_model.compact.things import FIRST_LABEL

Floats = NDArray[np.float32]

HALF_RANGE = np.float32(255 / 2)
"""Of colours: 1 in the units of the network."""

LEAST_INVERSE = np.float32(1e-3)
"""Nothing is farther away than 1000 m [1/m]."""

DETAIL_SIDE = 160
"""Shadows and what is hidden are looked up at so many rows and columns at most."""


def improved(
    guidance: RolloutView, clip: Clip, change: Floats, gains: Floats, shade: Shade, *, T_world_robot: FloatArray
) -> RolloutView:
    """The guidance with what was predicted for its clip.

    What is known keeps its own detail: gains multiply it and the rest is added. What is not known shows what the clip
    shows there. Robot pixels and known points stay.

    Args:
        guidance: T frames.
        clip: made of them.
        change: of the clip, shape [T, 4, S, S].
        gains: shape [T, 3, S, S], see `generator_network.Prediction`.
        shade: shadows in these frames.
        T_world_robot: pose of the robot's root.
    """
    rgb, points = guidance.rgb.copy(), guidance.points.copy()
    shadows = _shadows(guidance, shade, T_world_robot)
    known, hidden = _of_known(clip, change, gains), _of_hidden(clip, change)
    free = ~guidance.robot_mask
    unmeasured = ~np.isfinite(points[..., 2]) & free
    if unmeasured.any():
        behind = guidance.camera.rays() * _depth_behind(guidance)[..., None]
        points[unmeasured] = behind[unmeasured]
    for step, seen in enumerate(guidance.observed_mask):
        painted, invented = seen & free[step], ~seen & free[step]
        rgb[step] = np.where(painted[..., None], _relit(rgb[step], known[step], *shadows[:, step]), rgb[step])
        if invented.any():
            rgb[step][invented] = _colour(_scaled(hidden[step], seen.shape)[invented])
    return replace(guidance, rgb=rgb, points=points)


def _of_known(clip: Clip, change: Floats, gains: Floats) -> Floats:
    """Gains, and the rest of the change of colours (0..255), where colours are known, spread from there to all pixels,
    shape [T, S, S, 6]."""
    gain = gains[:, 0] + gains[:, 1] * clip.shaded + gains[:, 2] * clip.lit
    rest = np.moveaxis(change[:, :COLOURS], 1, -1) * HALF_RANGE - gain[..., None] * clip.rgb
    fields = np.concatenate([np.moveaxis(gains, 1, -1), rest], axis=-1)
    return fill_holes(fields, clip.seen & ~clip.robot)


def _of_hidden(clip: Clip, change: Floats) -> Floats:
    """Colours (0..255) where they are not known, spread from there to all pixels, shape [T, S, S, 3]."""
    colour = clip.rgb + np.moveaxis(change[:, :COLOURS], 1, -1) * HALF_RANGE
    return fill_holes(colour, ~(clip.measured | clip.robot))


def _depth_behind(guidance: RolloutView) -> Floats:
    """Of the static scene, spread to all pixels in inverse depth [m], shape [T, H, W].

    The network's guess of depth errs more than this.
    """
    height, width = guidance.robot_mask.shape[1:]
    at = _places(height, width)
    depth, labels = guidance.points[(slice(None), *at, 2)], guidance.labels
    known = np.isfinite(depth) & (guidance.observed_mask & ~guidance.robot_mask)[(slice(None), *at)]
    if labels is not None:
        known &= labels[(slice(None), *at)] < FIRST_LABEL
    inverse = fill_holes(1 / np.where(known, depth, np.float32(np.inf))[..., None], known)
    full = np.stack([_scaled(image, (height, width)) for image in inverse])
    return np.asarray(1 / np.maximum(full, LEAST_INVERSE)).reshape(guidance.robot_mask.shape)


def _places(height: int, width: int) -> tuple[NDArray[np.intp], ...]:
    """At most `DETAIL_SIDE` rows and columns of an image, as a mesh of indices."""
    return np.ix_(*(represented(length, min(length, DETAIL_SIDE)) for length in (height, width)))


def _shadows(guidance: RolloutView, shade: Shade, T_world_robot: FloatArray) -> NDArray[np.bool_]:
    """What has come into a shadow, and out of one, shape [2, T, H, W]."""
    steps, height, width = guidance.robot_mask.shape
    at = _places(height, width)
    T_robot_camera = invert(T_world_robot) @ guidance.T_world_camera
    depth = guidance.points[(slice(None), *at, 2)]
    points = np.moveaxis(points_in_robot(depth, guidance.camera.rays()[at], T_robot_camera), 1, -1)
    masks = np.stack(shade.changes(points.reshape(steps, -1, 3))).reshape(2, *depth.shape)
    nearest = np.ix_(
        *(np.arange(length) * few // length for length, few in zip((height, width), depth.shape[1:], strict=True))
    )
    return masks[(slice(None), slice(None), *nearest)]


def _relit(rgb: NDArray[np.uint8], fields: Floats, shaded: Mask, lit: Mask) -> NDArray[np.uint8]:
    """A frame under the fields of `_of_known`."""
    full = _scaled(fields, shaded.shape)
    gain = full[..., :1] + full[..., 1:2] * shaded[..., None] + full[..., 2:GAINS] * lit[..., None]
    return _colour(rgb * (1 + gain) + full[..., GAINS:])


def _scaled(image: Floats, shape: tuple[int, ...]) -> Floats:
    """An image [S, S, C] in another size, linear between the centres of its pixels, shape [H, W, C]."""
    import cv2

    return np.asarray(cv2.resize(image, (shape[1], shape[0]), interpolation=cv2.INTER_LINEAR), np.float32)


def _colour(values: Floats) -> NDArray[np.uint8]:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)
