"""What a generator says of one pixel in every block, brought to all pixels."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from fourd_ros.geometry.hole_filling import fill_holes
from fourd_ros.geometry.transforms import invert
from fourd_ros.records import FloatArray, Mask, RolloutView
from fourd_ros.world_model.compact.clips import COLOURS, DEPTH_UNIT, GAINS, Clip, points_in_robot, represented
from fourd_ros.world_model.compact.lighting import Shade

Floats = NDArray[np.float32]

HALF_RANGE = np.float32(255 / 2)
"""Of colours: 1 in the units of the network."""

SHADOW_SIDE = 160
"""Shadows are looked up at so many rows and columns at most."""


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
    rays = guidance.camera.rays()
    for step, robot in enumerate(guidance.robot_mask):
        seen = guidance.observed_mask[step]
        rgb[step] = np.where((seen & ~robot)[..., None], _relit(rgb[step], known[step], *shadows[:, step]), rgb[step])
        unmeasured = ~np.isfinite(points[step][..., 2]) & ~robot
        if unmeasured.any():
            guess = _scaled(hidden[step], robot.shape)
            rgb[step][~seen & ~robot] = _colour(guess[~seen & ~robot, :COLOURS])
            points[step][unmeasured] = rays[unmeasured] / guess[unmeasured, COLOURS:]
    return replace(guidance, rgb=rgb, points=points)


def _of_known(clip: Clip, change: Floats, gains: Floats) -> Floats:
    """Gains, and the rest of the change of colours (0..255), where colours are known, spread from there to all pixels,
    shape [T, S, S, 6]."""
    gain = gains[:, 0] + gains[:, 1] * clip.shaded + gains[:, 2] * clip.lit
    rest = np.moveaxis(change[:, :COLOURS], 1, -1) * HALF_RANGE - gain[..., None] * clip.rgb
    fields = np.concatenate([np.moveaxis(gains, 1, -1), rest], axis=-1)
    return fill_holes(fields, clip.seen & ~clip.robot)


def _of_hidden(clip: Clip, change: Floats) -> Floats:
    """Colours (0..255) and inverse depth [1/m] where either is not known, spread from there to all pixels, shape
    [T, S, S, 4]."""
    colour = clip.rgb + np.moveaxis(change[:, :COLOURS], 1, -1) * HALF_RANGE
    inverse = np.exp(-change[:, COLOURS] * np.float32(DEPTH_UNIT)) / clip.depth
    return fill_holes(np.concatenate([colour, inverse[..., None]], axis=-1), ~(clip.measured | clip.robot))


def _shadows(guidance: RolloutView, shade: Shade, T_world_robot: FloatArray) -> NDArray[np.bool_]:
    """What has come into a shadow, and out of one, shape [2, T, H, W]."""
    steps, height, width = guidance.robot_mask.shape
    rows, columns = (represented(length, min(length, SHADOW_SIDE)) for length in (height, width))
    at = np.ix_(rows, columns)
    T_robot_camera = invert(T_world_robot) @ guidance.T_world_camera
    depth = guidance.points[(slice(None), *at, 2)]
    points = np.moveaxis(points_in_robot(depth, guidance.camera.rays()[at], T_robot_camera), 1, -1)
    masks = np.stack(shade.changes(points.reshape(steps, -1, 3))).reshape(2, *depth.shape)
    nearest = np.ix_(*(np.arange(length) * len(few) // length for length, few in ((height, rows), (width, columns))))
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
