"""What the video generator is shown: guidance and first frame at its own resolution, holes filled."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fourd_ros.geometry.hole_filling import fill_holes
from fourd_ros.geometry.transforms import invert
from fourd_ros.records import FloatArray, Mask, Pixels, RolloutView, View
from fourd_ros.world_model.compact.lighting import Shade
from fourd_ros.world_model.compact.things import FIRST_LABEL

Floats = NDArray[np.float32]
Indices = NDArray[np.intp]

COLOURS = 3
FIRST_CHANNELS = 6
"""Colour and point."""

ROBOT, SEEN, MEASURED, THING, SHADED, LIT = range(FIRST_CHANNELS, FIRST_CHANNELS + 6)
GUIDANCE_CHANNELS = FIRST_CHANNELS + 6
"""The same, and masks: the robot; colour and depth that are known; things that may move; what has come into a shadow,
and out of it."""

CHANGE_CHANNELS = 4
"""Colour and depth."""

GAINS = 3
"""Everywhere, in new shadows, and where a shadow is gone."""

DEPTH_UNIT = 0.1
"""Changes of the logarithm of depth are counted in this."""

NOISE = 0.35
"""Standard deviation of the noise that is added to the guidance where the flow begins."""

FARTHEST = 3.0
"""Points farther from the robot's root along an axis look as if they were there [m]."""

UNKNOWN_DEPTH = 1.0
"""Where a frame shows no depth at all [m]."""


@dataclass(frozen=True, kw_only=True)
class Clip:
    """A first frame and T frames of guidance, S x S pixels, filled where they are not known.

    Args:
        first_rgb: shape [S, S, 3], uint8.
        first_depth: [m], shape [S, S].
        rgb: shape [T, S, S, 3], uint8.
        depth: [m], shape [T, S, S].
        robot: the robot was painted, shape [T, S, S].
        seen: colour is known, shape [T, S, S].
        measured: depth is known, shape [T, S, S].
        thing: of something that stands on a support, shape [T, S, S].
        shaded: in a shadow that was not there at first, shape [T, S, S].
        lit: in a shadow at first and not any more, shape [T, S, S].
        rays: camera-frame points at depth 1, shape [S, S, 3].
        T_robot_camera: of the first frame and the others in the robot's root, shape [1 + T, 4, 4].
    """

    first_rgb: Pixels
    first_depth: Floats
    rgb: Pixels
    depth: Floats
    robot: Mask
    seen: Mask
    measured: Mask
    thing: Mask
    shaded: Mask
    lit: Mask
    rays: Floats
    T_robot_camera: FloatArray

    def guidance(self) -> Floats:
        """Colour (-1..1), points in the robot's root [m] and masks, shape [T, 12, S, S]."""
        steps, size = self.depth.shape[:2]
        channels = np.empty((steps, GUIDANCE_CHANNELS, size, size), np.float32)
        channels[:, :COLOURS] = _colour(self.rgb)
        channels[:, COLOURS:FIRST_CHANNELS] = points_in_robot(self.depth, self.rays, self.T_robot_camera[1:])
        masks = (self.robot, self.seen, self.measured, self.thing, self.shaded, self.lit)
        for place, mask in enumerate(masks, FIRST_CHANNELS):
            channels[:, place] = mask
        return channels

    def first(self) -> Floats:
        """Colour and points of the first frame, shape [6, S, S]."""
        points = points_in_robot(self.first_depth[None], self.rays, self.T_robot_camera[:1])[0]
        return np.concatenate([_colour(self.first_rgb), points])

    def free(self) -> Floats:
        """1 where something may change: colour off the robot, depth where it is not known, shape [T, 4, S, S]."""
        colour = np.repeat(~self.robot[:, None], COLOURS, axis=1)
        return np.concatenate([colour, ~(self.robot | self.measured)[:, None]], axis=1).astype(np.float32)


def points_in_robot(depth: Floats, rays: Floats, T_robot_camera: FloatArray) -> Floats:
    """Pixels as points in the robot's root.

    Args:
        depth: shape [T, H, W].
        rays: camera-frame points at depth 1, shape [H, W, 3].
        T_robot_camera: shape [T, 4, 4].

    Returns:
        At most `FARTHEST` along any axis, shape [T, 3, H, W].
    """
    turned = T_robot_camera[:, :3, :3].astype(np.float32) @ rays.reshape(-1, 3).T
    points = turned.reshape(-1, 3, *depth.shape[1:]) * depth[:, None]
    points += T_robot_camera[:, :3, 3, None, None].astype(np.float32)
    return np.clip(points, -FARTHEST, FARTHEST, out=points)


def _colour(rgb: Pixels) -> Floats:
    """Shape [*, S, S, 3] -> [*, 3, S, S], -1..1."""
    return np.moveaxis(rgb, -1, -3).astype(np.float32) * np.float32(2 / 255) - np.float32(1)


def represented(length: int, size: int) -> Indices:
    """The rows (or columns) of an image of `length` that stand for those of a clip, shape [size]."""
    return ((np.arange(size) + 0.5) * length / size).astype(np.intp)


def clip_of(guidance: RolloutView, first: View, shade: Shade, *, size: int, T_world_robot: FloatArray) -> Clip:
    """What a generator is shown; one pixel stands for its surroundings, whatever the aspect of the camera.

    Args:
        guidance: frames to be improved, by the same camera as `first`.
        first: the frame before them.
        shade: shadows in these frames.
        size: width and height of the clip [pixels].
        T_world_robot: pose of the robot's root.
    """
    camera = guidance.camera
    at = np.ix_(represented(camera.height, size), represented(camera.width, size))
    frames = (slice(None), *at)
    seen, depth, first_depth = guidance.observed_mask[frames], guidance.points[(*frames, 2)], first.points[(*at, 2)]
    measured = seen & np.isfinite(depth)
    labels = np.zeros(seen.shape, np.uint32) if guidance.labels is None else guidance.labels[frames]
    poses = np.concatenate([first.T_world_camera[None], guidance.T_world_camera])
    T_robot_camera, rays = invert(T_world_robot) @ poses, camera.rays()[at]
    filled = fill_depth(depth, measured)
    points = np.moveaxis(points_in_robot(filled, rays, T_robot_camera[1:]), 1, -1)
    shaded, lit = shade.changes(points.reshape(len(points), -1, 3))
    return Clip(
        first_rgb=first.rgb[at],
        first_depth=fill_depth(first_depth, np.isfinite(first_depth)),
        rgb=fill_colour(guidance.rgb[frames], seen),
        depth=filled,
        robot=guidance.robot_mask[frames],
        seen=seen,
        measured=measured,
        thing=labels >= FIRST_LABEL,
        shaded=shaded.reshape(seen.shape),
        lit=lit.reshape(seen.shape),
        rays=rays,
        T_robot_camera=T_robot_camera,
    )


def fill_colour(rgb: Pixels, known: Mask) -> Pixels:
    """Shape [*, H, W, 3]."""
    return np.rint(fill_holes(rgb, known)).astype(np.uint8)


def fill_depth(depth: Floats, known: Mask) -> Floats:
    """Filled in inverse depth, in which planes are affine, shape [*, H, W]."""
    inverse = fill_holes(1 / np.where(known, depth, np.float32(np.inf))[..., None], known)[..., 0]
    return np.where(inverse > 0, 1 / np.maximum(inverse, np.float32(1e-3)), np.float32(UNKNOWN_DEPTH))
