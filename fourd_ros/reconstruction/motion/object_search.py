"""The objects of a clip once the path of its camera is known: masks, tracks in them, and how they move."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from fourd_ros.errors import CannotReconstruct
from fourd_ros.geometry.pointmap import points_from_depth
from fourd_ros.geometry.transforms import apply, invert
from fourd_ros.reconstruction.bundle.problem import BundleOptions
from fourd_ros.reconstruction.motion.object_motion import FEWEST_TRACKS, object_motion
from fourd_ros.reconstruction.motion.scene_motion import REJECTED, STATIC, MovingObject, SceneMotion
from fourd_ros.reconstruction.motion.scene_solver import SMALLEST_SIGMA, UNKNOWN, labels_from_masks
from fourd_ros.reconstruction.motion.track_depth import depth_at
from fourd_ros.reconstruction.motion.tracks import Tracks, joined
from fourd_ros.reconstruction.tracking.track_clip import TrackingOptions, track_clip

__all__ = ["FoundObjects", "masks_of_tracks", "objects_of_masks"]

FloatArray = NDArray[np.float64]
Progress = Callable[[float], None]

LOOSE = 0.05
"""What strays from a rigid motion by more than this, in its distance from the camera, is not one object."""

STILL = 0.01
"""What goes no farther than this, in its distance from the camera, has not moved."""

PIXELS_A_TRACK = 16
"""Of masks; tracks on objects begin so densely."""

INTERVAL = 3
"""Frames from one in which such tracks begin to the next."""

NEAR = 2.5
"""Pixels belong to the nearest track up to so many times the usual distance between tracks."""

DEPTH_CHANGES = 0.03
"""Depth that differs by no more than this logarithm is the same."""

SHADOW = 0.15
"""Where depth changes at a smaller share of the pixels, only colour moves, as of a shadow."""

LOOKS = 6
"""Frames in which that is asked."""

BEST_DEPTH, WORST_DEPTH = 0.01, 0.5
"""Bounds of the standard deviation of the logarithm of depth."""


@dataclass(frozen=True, kw_only=True)
class FoundObjects:
    """Args:
    motion: with the objects.
    tracks: those that the motion's labels and objects name; more than were given.
    masks: which object a pixel shows, 0 none, shape [F, H, W].
    """

    motion: SceneMotion
    tracks: Tracks
    masks: NDArray[np.int32]


def objects_of_masks(
    rgb: NDArray[np.uint8],
    masks: NDArray[np.int32],
    tracks: Tracks,
    motion: SceneMotion,
    depth: NDArray[np.floating] | None,
    *,
    given: bool,
    progress: Progress | None = None,
) -> FoundObjects:
    """How the objects of masks move.

    Args:
        rgb: without distortion, shape [F, H, W, 3].
        masks: numbers of objects, 0 none, shape [F, H, W].
        tracks: of the clip.
        motion: found from these tracks.
        depth: in the unit of the path, NaN where unknown, shape [F, H, W]; without it objects are thought to be as far
            away as the still points beside them.
        given: the masks are somebody's; else those of what turns out not to move are taken away.
        progress: told the share that is done.
    """
    cores = np.stack([cv2.erode((mask > 0).astype(np.uint8), np.ones((3, 3), np.uint8)) > 0 for mask in masks])
    options = TrackingOptions(interval=INTERVAL, points=max(1, tracks.width * tracks.height // PIXELS_A_TRACK))
    within = joined(tracks, track_clip(rgb, within=cores, options=options, progress=progress))
    labels = np.concatenate([motion.labels, np.full(len(within) - len(tracks), REJECTED)])
    labels[labels > STATIC] = REJECTED
    of_masks = labels_from_masks(within, masks)
    at_tracks = _as_beside(within, tracks, motion) if depth is None else depth_at(depth, within.positions, within.seen)
    bundle = _bundle(motion, tracks, at_tracks[:, : len(tracks)])
    kept_anyway = given or depth is None
    shadows = set() if kept_anyway or depth is None else _shadows(masks, depth, motion)
    objects, caveats = [], []
    if shadows:
        caveats.append(
            f"{len(shadows)} regions whose colours move but whose depth does not were taken for shadows or reflections"
        )
    for number in np.unique(of_masks[of_masks != UNKNOWN]):
        if int(number) in shadows:
            continue
        chosen = np.flatnonzero(of_masks == number)
        labels[chosen] = np.where(labels[chosen] == STATIC, STATIC if not given else REJECTED, REJECTED)
        try:
            found = object_motion(
                int(number),
                chosen,
                pixels=within.positions[:, chosen],
                seen=_longest_run(within.seen[:, chosen] & np.isfinite(at_tracks[:, chosen])),
                depth=at_tracks[:, chosen],
                T_world_camera=motion.T_world_camera,
                camera=motion.camera,
                options=bundle,
            )
        except CannotReconstruct as reason:
            if kept_anyway:
                caveats.append(f"object {number} has a mask and no pose: {reason}")
            continue
        distance = _distance(found, motion)
        if not found.nonrigid < LOOSE * distance:
            if kept_anyway:
                caveats.append(f"object {number} does not move as one rigid body: it has no pose")
        elif kept_anyway or _way(found) > STILL * distance:
            objects.append(found)
            labels[chosen] = REJECTED
            labels[found.tracks] = number
    kept = masks if kept_anyway else _renumbered(masks, objects)
    if not kept_anyway:
        objects = [replace(one, number=place) for place, one in enumerate(objects, start=1)]
        for one in objects:
            labels[one.tracks] = one.number
    points = np.full((len(within), 3), np.nan)
    points[: len(tracks)] = motion.points
    points[labels != STATIC] = np.nan
    return FoundObjects(
        motion=replace(
            motion, labels=labels, points=points, objects=tuple(objects), caveats=(*motion.caveats, *caveats)
        ),
        tracks=within,
        masks=kept,
    )


def masks_of_tracks(tracks: Tracks, motion: SceneMotion) -> NDArray[np.int32]:
    """Pixels whose nearest track belongs to an object and is not far, shape [F, H, W]; as rough as tracks are sparse.

    Args:
        tracks: of the clip.
        motion: that tells which object they belong to.
    """
    masks = np.zeros((tracks.frames, tracks.height, tracks.width), np.int32)
    y, x = np.mgrid[: tracks.height, : tracks.width]
    grid = np.stack([x, y], axis=-1).reshape(-1, 2)
    seen = tracks.seen & (motion.labels != REJECTED)
    for frame in range(tracks.frames):
        here = np.flatnonzero(seen[frame])
        if len(here) < 2 or not (motion.labels[here] > STATIC).any():
            continue
        places = tracks.positions[frame, here]
        tree = cKDTree(places)
        usual = float(np.median(tree.query(places, k=2)[0][:, 1]))
        distance, nearest = tree.query(grid, distance_upper_bound=max(NEAR * usual, 2.0))
        numbers = np.append(motion.labels[here], 0)[nearest]
        masks[frame] = np.where(np.isfinite(distance), numbers, 0).reshape(masks.shape[1:])
    return masks


def _bundle(motion: SceneMotion, tracks: Tracks, at_tracks: FloatArray) -> BundleOptions:
    """With the noise that still tracks and the depth at them have."""
    sigma = max(motion.rms / np.sqrt(2), SMALLEST_SIGMA) if np.isfinite(motion.rms) else 1.0
    still = motion.labels == STATIC
    in_camera = apply(invert(motion.T_world_camera), np.broadcast_to(motion.points, (tracks.frames, len(tracks), 3)))
    with np.errstate(invalid="ignore", divide="ignore"):
        offset = np.log(in_camera[..., 2] / at_tracks)[:, still]
    offset = offset[np.isfinite(offset)]
    spread = 1.4826 * float(np.median(np.abs(offset))) if len(offset) else WORST_DEPTH
    depth_sigma = float(np.clip(spread, BEST_DEPTH, WORST_DEPTH))
    return BundleOptions(
        focal="fixed",
        pixel_sigma=sigma,
        huber_pixels=2.5 * sigma,
        depth_sigma=depth_sigma,
        huber_depth=2.5 * depth_sigma,
        tolerance=1e-7,
    )


def _as_beside(within: Tracks, tracks: Tracks, motion: SceneMotion) -> FloatArray:
    """Depth of the nearest still point in the image, NaN where unseen, shape [F, N]."""
    still = np.flatnonzero((motion.labels == STATIC) & np.isfinite(motion.points).all(axis=1))
    found = np.full(within.seen.shape, np.nan)
    for frame, seen in enumerate(within.seen):
        beside = still[tracks.seen[frame, still]]
        if len(beside) and seen.any():
            z = apply(invert(motion.T_world_camera[frame]), motion.points[beside])[:, 2]
            nearest = cKDTree(tracks.positions[frame, beside]).query(within.positions[frame, seen])[1]
            found[frame, seen] = z[nearest]
    return found


def _longest_run(seen: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Tracks [F, n] in the longest run of frames of which each shares enough of them with the next, unseen elsewhere.

    Across a gap nothing tells how an object went on.
    """
    linked = (seen[1:] & seen[:-1]).sum(axis=1) >= FEWEST_TRACKS
    breaks = np.flatnonzero(~linked) + 1
    runs = np.split(np.arange(len(seen)), breaks)
    longest = max(runs, key=len)
    return np.where(np.isin(np.arange(len(seen)), longest)[:, None], seen, False)


def _distance(found: MovingObject, motion: SceneMotion) -> float:
    """Median distance from the camera."""
    known = _posed(found)
    apart = found.T_world_object[known, :3, 3] - motion.T_world_camera[known, :3, 3]
    return float(np.median(np.linalg.norm(apart, axis=1))) if known.any() else 0.0


def _way(found: MovingObject) -> float:
    """How far points at its rim are from where they were at first, in the tenth of the frames with the most."""
    T = found.T_world_object[_posed(found)]
    corners = np.stack([found.points.min(axis=0), found.points.max(axis=0)])
    places = apply(T, np.broadcast_to(corners, (len(T), 2, 3)))
    return float(np.percentile(np.linalg.norm(places - places[0], axis=-1), 90)) if len(T) else 0.0


def _posed(found: MovingObject) -> NDArray[np.bool_]:
    return np.asarray(np.isfinite(found.T_world_object).all(axis=(1, 2)))


def _shadows(masks: NDArray[np.int32], depth: NDArray[np.floating], motion: SceneMotion) -> set[int]:
    """Objects that leave the depth of where they are as it was, and as it will be."""
    found = set()
    for number in np.unique(masks[masks > 0]):
        frames = np.flatnonzero((masks == number).any(axis=(1, 2)))
        looks = frames[np.unique(np.linspace(0, len(frames) - 1, LOOKS).astype(int))]
        others = np.unique([0, len(masks) - 1, frames[0], frames[-1], frames[len(frames) // 2]])
        shares = [_changed(masks[look] == number, int(look), others, depth, motion) for look in looks]
        known = [share for share in shares if np.isfinite(share)]
        if known and np.median(known) < SHADOW:
            found.add(int(number))
    return found


def _changed(
    mask: NDArray[np.bool_], frame: int, others: NDArray[np.int64], depth: NDArray[np.floating], motion: SceneMotion
) -> float:
    """The largest share of a mask's pixels at which another frame sees another depth than a still world would have."""
    camera = motion.camera
    points = points_from_depth(depth[frame], camera)[mask].astype(np.float64)
    points = points[np.isfinite(points).all(axis=1)]
    shares = [np.nan]
    for other in others[others != frame]:
        moved = apply(invert(motion.T_world_camera[other]) @ motion.T_world_camera[frame], points)
        pixels = np.rint(camera.project(moved))
        inside = ((pixels >= 0) & (pixels <= (camera.width - 1, camera.height - 1))).all(axis=1)
        x, y = pixels[inside].astype(np.int64).T
        with np.errstate(invalid="ignore", divide="ignore"):
            offset = np.abs(np.log(depth[other, y, x] / moved[inside, 2]))
        offset = offset[np.isfinite(offset)]
        if len(offset) > 0.3 * len(points):
            shares.append(float((offset > DEPTH_CHANGES).mean()))
    return float(np.nanmax(shares)) if len(shares) > 1 else float("nan")


def _renumbered(masks: NDArray[np.int32], objects: list[MovingObject]) -> NDArray[np.int32]:
    """Masks of these objects alone, numbered from 1 in their order."""
    table = np.zeros(int(masks.max(initial=0)) + 1, np.int32)
    for place, one in enumerate(objects, start=1):
        table[one.number] = place
    return table[masks]
