"""Depth of single frames made to agree with the camera path and from frame to frame."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fourd_ros.geometry.camera import PinholeCamera
from fourd_ros.geometry.pointmap import points_from_depth
from fourd_ros.geometry.transforms import apply, invert
from fourd_ros.reconstruction.motion.scene_motion import STATIC, SceneMotion
from fourd_ros.reconstruction.motion.tracks import Tracks
from fourd_ros.reconstruction.official.track_regions import MOVING_CORE, STATIC_CORE, Regions

__all__ = ["ConsistentDepth", "consistent_depth", "depth_disagreement", "object_places", "sparse_depth"]

GAP_SHARE = 0.2
"""Of the frames; so far apart are those that are compared."""

STRIDE = 4
"""Of the pixels that are compared [px]."""

COVERED = 0.2
"""Surfaces that differ by more than this logarithm of depth are not the same one."""


@dataclass(frozen=True, kw_only=True)
class ConsistentDepth:
    """Args:
    depth: z-depth in the unit of the path, NaN where unknown, shape [F, H, W].
    used: ``given``, ``scaled`` by frame, or ``interpolated`` from points as well.
    disagreement: of each of these, as `depth_disagreement` tells, NaN where it is unknown.
    """

    depth: NDArray[np.float32]
    used: str
    disagreement: dict[str, float]


def consistent_depth(
    depth: NDArray[np.float32],
    regions: Regions,
    tracks: Tracks,
    motion: SceneMotion,
    *,
    progress: Callable[[float], None] | None = None,
) -> ConsistentDepth:
    """Of the given depth, the same times a scale for each frame, and what is interpolated from scales at points: the
    one whose frames agree best with each other.

    Args:
        depth: as given [m], NaN where unknown, shape [F, H, W].
        regions: of the same frames.
        tracks: that the motion was found from.
        motion: of camera and objects.
        progress: told the share that is done.
    """
    scaled = (depth * motion.depth_scales[:, None, None]).astype(np.float32)
    tried = {"given": depth, "scaled": scaled, "interpolated": _interpolated(scaled, regions, tracks, motion, progress)}
    still = regions.of_masks == STATIC_CORE
    apart = {name: depth_disagreement(one, still, motion) for name, one in tried.items()}
    used = min(tried, key=lambda name: apart[name] if np.isfinite(apart[name]) else np.inf)
    if not np.isfinite(apart[used]):
        used = "scaled"
    return ConsistentDepth(depth=tried[used], used=used, disagreement=apart)


def depth_disagreement(depth: NDArray[np.floating], still: NDArray[np.bool_], motion: SceneMotion) -> float:
    """Median relative difference between the depth of still pixels and where other frames put them; NaN if unknown.

    Args:
        depth: in the unit of the path, shape [F, H, W].
        still: pixels that do not move by themselves, shape [F, H, W].
        motion: with the path of the camera.
    """
    frames = len(depth)
    gap = max(1, round(GAP_SHARE * frames))
    offsets = [
        _offsets(depth[first], depth[first + gap], still[first], still[first + gap], motion, first, first + gap)
        for first in range(frames - gap)
    ]
    found = np.concatenate([np.zeros(0), *offsets])
    return float(np.median(np.abs(found))) if len(found) else float("nan")


def sparse_depth(tracks: Tracks, motion: SceneMotion) -> NDArray[np.float32]:
    """Depth at still tracks alone, in the unit of the path, NaN elsewhere, shape [F, H, W]."""
    depth = np.full((tracks.frames, tracks.height, tracks.width), np.nan, np.float32)
    still = motion.labels == STATIC
    for frame in range(tracks.frames):
        chosen = np.flatnonzero(tracks.seen[frame] & still)
        z = apply(invert(motion.T_world_camera[frame]), motion.points[chosen])[:, 2]
        x, y = np.rint(tracks.positions[frame, chosen]).astype(np.int64).T
        x, y = np.minimum(x, tracks.width - 1), np.minimum(y, tracks.height - 1)
        far_first = np.argsort(-z)
        depth[frame, y[far_first], x[far_first]] = np.where(z > 0, z, np.nan)[far_first]
    return depth


def object_places(motion: SceneMotion, tracks: Tracks) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Points of all objects in the world, shape [n, F, 3], and in which frames they were seen, shape [F, n]."""
    places = [
        apply(one.T_world_object, np.broadcast_to(one.points, (tracks.frames, *one.points.shape)))
        for one in motion.objects
    ]
    seen = [tracks.seen[:, one.tracks] for one in motion.objects]
    of_all = np.concatenate([np.zeros((tracks.frames, 0, 3)), *places], axis=1)
    visible = np.concatenate([np.zeros((tracks.frames, 0), bool), *seen], axis=1)
    return of_all.swapaxes(0, 1), visible & np.isfinite(of_all).all(axis=-1)


def _interpolated(
    depth: NDArray[np.float32],
    regions: Regions,
    tracks: Tracks,
    motion: SceneMotion,
    progress: Callable[[float], None] | None,
) -> NDArray[np.float32]:
    import torch

    from fourd_ros.reconstruction.official.depth_interpolation import Controls, interpolate_depth

    still = np.flatnonzero((motion.labels == STATIC) & np.isfinite(motion.points).all(axis=1))
    moving, moving_seen = object_places(motion, tracks)
    points, of_objects = (torch.from_numpy(one.astype(np.float32)) for one in (motion.points[still], moving))
    R, t = (torch.from_numpy(motion.T_world_camera[:, :3, part].astype(np.float32)) for part in (slice(0, 3), 3))
    K = torch.from_numpy(motion.camera.K.astype(np.float32))
    found = np.empty_like(depth)
    for frame in range(len(depth)):
        here = slice(frame, frame + 1)
        controls = {
            STATIC_CORE: Controls(points=points, visible=torch.from_numpy(tracks.seen[here][:, still])),
            MOVING_CORE: Controls(points=of_objects[:, here], visible=torch.from_numpy(moving_seen[here])),
        }
        asked = torch.from_numpy(depth[here])
        found[frame] = interpolate_depth(asked, regions.of_masks[here], R[here], t[here], K, controls)[0].numpy()
        if progress is not None:
            progress((frame + 1) / len(depth))
    return found


def _offsets(
    first: NDArray[np.floating],
    second: NDArray[np.floating],
    still_first: NDArray[np.bool_],
    still_second: NDArray[np.bool_],
    motion: SceneMotion,
    start: int,
    end: int,
) -> NDArray[np.float64]:
    """Logarithms of depth in the second frame over that which the first one says."""
    camera: PinholeCamera = motion.camera
    T_second_first = invert(motion.T_world_camera[end]) @ motion.T_world_camera[start]
    points = points_from_depth(first, camera)[::STRIDE, ::STRIDE][still_first[::STRIDE, ::STRIDE]]
    moved = apply(T_second_first, points.astype(np.float64))
    pixels = np.rint(camera.project(moved))
    inside = ((pixels >= 0) & (pixels <= (camera.width - 1, camera.height - 1))).all(axis=-1)
    x, y = pixels[inside].astype(np.int64).T
    with np.errstate(invalid="ignore", divide="ignore"):
        offset = np.log(second[y, x] / moved[inside, 2])
    return np.asarray(offset[still_second[y, x] & (np.abs(offset) < COVERED)], np.float64)
