"""A camera that stands still: its tracks say so, and nothing needs to be solved for."""

import numpy as np
from numpy.typing import NDArray

from fourd_ros.geometry.camera import PinholeCamera
from fourd_ros.reconstruction.motion.object_grouping import group_tracks
from fourd_ros.reconstruction.motion.scene_motion import REJECTED, STATIC, SceneMotion
from fourd_ros.reconstruction.motion.track_depth import depth_at
from fourd_ros.reconstruction.motion.tracks import Tracks

__all__ = ["motion_of_still_camera", "still_tracks"]

STAYS = 0.0015
"""A track stays where it is if it strays by no more than this from its median place, in longer sides of the image."""

LEAST_STRAY = 0.5
"""Or by no more than this [px]."""

GAP = 5
"""Frames over which tracks are compared."""

LEAST_SHARE = 0.2
"""Of the tracks between any two such frames, and of all that is seen, that must stay."""

CELLS = (6, 8)
LEAST_CELLS = 0.4
"""Share of the cells of the picture with tracks in which some must stay; a gripper before its camera covers few."""

USUAL_VIEW = 60.0
"""Horizontal field of view of a camera that nobody knows [degrees]."""


def still_tracks(tracks: Tracks) -> NDArray[np.bool_] | None:
    """Tracks that stay where they are, shape [N], if there are so many all the time and all over the picture that the
    camera must be standing still; else None.
    """
    seen = tracks.seen
    if not len(tracks) or not seen.any():
        return None
    allowed = max(STAYS * max(tracks.width, tracks.height), LEAST_STRAY)
    stray = np.linalg.norm(tracks.positions - _median_places(tracks), axis=-1)
    stays = seen.any(axis=0) & (np.where(seen, stray, 0.0).max(axis=0) <= allowed)
    share = seen[:, stays].sum() / seen.sum()
    if share < LEAST_SHARE or _share_of_pairs(tracks, allowed) < LEAST_SHARE or _cells(tracks, stays) < LEAST_CELLS:
        return None
    return np.asarray(stays)


def motion_of_still_camera(
    tracks: Tracks, still: NDArray[np.bool_], *, camera: PinholeCamera | None, depth: NDArray[np.floating] | None
) -> SceneMotion:
    """The scene before a camera that does not move.

    Args:
        tracks: of the clip, without distortion.
        still: those that stay, shape [N].
        camera: calibration, where it is known.
        depth: z-depth [m], NaN where unknown, shape [F, H, W], where there is some.
    """
    caveats = []
    if camera is None:
        camera = _usual_camera(tracks)
        caveats.append(
            f"the camera stands still, so its focal length cannot be found; a field of view of {USUAL_VIEW:g} degrees "
            "was taken"
        )
    labels = np.where(still, STATIC, REJECTED).astype(np.int64)
    points = np.full((len(tracks), 3), np.nan)
    scales = np.ones(tracks.frames)
    places = _median_places(tracks)
    if depth is None:
        caveats.append(
            "the camera stands still and there is no depth: there are no distances, and no poses of objects, only masks"
        )
        labels = _grouped(tracks, labels)
    else:
        measured = depth_at(depth, tracks.positions, tracks.seen)
        with np.errstate(invalid="ignore", divide="ignore"):
            usual = _nanmedian(measured, axis=0)
            offsets = _nanmedian(np.log(usual / measured)[:, still], axis=1)
        scales = np.exp(np.nan_to_num(offsets))
        rays = np.concatenate(
            [(places - camera.K[:2, 2]) / camera.K[[0, 1], [0, 1]], np.ones((len(tracks), 1))], axis=1
        )
        points[still] = (rays * usual[:, None])[still]
    stray = (np.linalg.norm(tracks.positions - places, axis=-1))[:, still][tracks.seen[:, still]]
    return SceneMotion(
        camera=camera,
        T_world_camera=np.tile(np.eye(4), (tracks.frames, 1, 1)),
        labels=labels,
        points=points,
        objects=(),
        depth_scales=scales,
        metric=depth is not None,
        rms=float(np.sqrt((stray**2).mean())),
        caveats=tuple(caveats),
    )


def _median_places(tracks: Tracks) -> NDArray[np.float64]:
    """Shape [N, 2]."""
    return _nanmedian(np.where(tracks.seen[..., None], tracks.positions, np.nan), axis=0)


def _nanmedian(values: NDArray[np.float64], *, axis: int) -> NDArray[np.float64]:
    """Median of what is known, NaN where nothing is."""
    nothing = ~np.isfinite(values).any(axis=axis, keepdims=True)
    middle = np.nanmedian(np.where(nothing, 0.0, values), axis=axis)
    return np.asarray(np.where(np.squeeze(nothing, axis), np.nan, middle), np.float64)


def _share_of_pairs(tracks: Tracks, allowed: float) -> float:
    """The smallest share of tracks that stay between two frames that are not far apart."""
    gap, seen = min(GAP, tracks.frames - 1), tracks.seen
    shares = []
    for frame in range(tracks.frames - gap):
        both = seen[frame] & seen[frame + gap]
        moved = np.linalg.norm(tracks.positions[frame + gap, both] - tracks.positions[frame, both], axis=1)
        shares.append(float((moved <= allowed).mean()) if both.any() else 0.0)
    return min(shares, default=0.0)


def _cells(tracks: Tracks, stays: NDArray[np.bool_]) -> float:
    rows, columns = CELLS
    frame, track = np.nonzero(tracks.seen)
    x, y = tracks.positions[frame, track].T
    cell = (y * rows / tracks.height).astype(np.int64) * columns + (x * columns / tracks.width).astype(np.int64)
    with_any, with_still = (np.unique(cell[chosen]) for chosen in (slice(None), stays[track]))
    return len(with_still) / len(with_any)


def _grouped(tracks: Tracks, labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Labels with numbers for tracks that move alike."""
    moving = np.flatnonzero(labels == REJECTED)
    seen = tracks.seen[:, moving]
    both = seen[1:] & seen[:-1]
    steps = np.where(both[..., None], np.diff(tracks.positions[:, moving], axis=0), np.nan)
    longer = max(tracks.width, tracks.height)
    groups = group_tracks(np.nan_to_num(tracks.positions[:, moving]), seen, steps, longer_side=longer)
    found = labels.copy()
    found[moving] = groups
    return found


def _usual_camera(tracks: Tracks) -> PinholeCamera:
    focal = tracks.width / 2 / np.tan(np.radians(USUAL_VIEW) / 2)
    K = np.array([[focal, 0, (tracks.width - 1) / 2], [0, focal, (tracks.height - 1) / 2], [0, 0, 1]])
    return PinholeCamera(width=tracks.width, height=tracks.height, K=K)
