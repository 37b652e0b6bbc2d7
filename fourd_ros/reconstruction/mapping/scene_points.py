"""What a reconstructed scene looks like in space: fused frames, a static map, and a cloud for every moving object."""

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from fourd_ros.geometry.pointmap import points_from_depth
from fourd_ros.geometry.transforms import apply, invert
from fourd_ros.reconstruction.clips.clip import Clip
from fourd_ros.reconstruction.mapping.consistent_depth import object_places
from fourd_ros.reconstruction.mapping.object_files import ObjectCloud, twists
from fourd_ros.reconstruction.mapping.voxel_map import VoxelMap, VoxelMapOptions
from fourd_ros.reconstruction.motion.scene_motion import STATIC, MovingObject, SceneMotion
from fourd_ros.reconstruction.motion.tracks import Tracks
from fourd_ros.reconstruction.official.depth_edges import away_from_edges
from fourd_ros.reconstruction.official.scene_fusion import FusedScene, fuse
from fourd_ros.reconstruction.official.track_regions import MOVING_CORE, STATIC_CORE, Regions

__all__ = ["fitting_voxel", "fused_from_depth", "fused_from_tracks", "map_of_depth", "map_of_tracks", "object_clouds"]

VOXEL_PIXELS = 2.0
"""Width of a voxel, in pixels at the median distance."""

CARVING_MARGIN = 0.1
"""Share of its distance by which depth must lie behind a voxel, for the voxel to be looked through."""

OBJECT_VOXELS = 100_000


def fused_from_depth(
    clip: Clip, depth: NDArray[np.float32], regions: Regions, motion: SceneMotion, *, max_static: int
) -> FusedScene:
    """Frames fused; of the static pixels as many columns and rows are left out as it takes.

    Args:
        clip: the frames.
        depth: in the unit of the path, NaN where unknown, shape [F, H, W].
        regions: of the frames.
        motion: with the path.
        max_static: static points at most.
    """
    usable = away_from_edges(depth)
    static = usable & (regions.of_masks == STATIC_CORE) & np.isfinite(depth)
    stride = 1
    while static[:, ::stride, ::stride].sum() > max_static:
        stride += 1
    thinned = np.zeros_like(static)
    thinned[:, ::stride, ::stride] = static[:, ::stride, ::stride]
    chosen = thinned | (usable & (regions.of_masks == MOVING_CORE))
    return fuse(clip.rgb, depth, regions, motion.camera, motion.T_world_camera, usable=chosen)


def fused_from_tracks(clip: Clip, tracks: Tracks, motion: SceneMotion) -> FusedScene:
    """The points of tracks in place of pixels, for clips without depth."""
    still = np.flatnonzero((motion.labels == STATIC) & np.isfinite(motion.points).all(axis=1))
    colours = _colours(clip, tracks)
    places, seen = object_places(motion, tracks)
    owner = np.concatenate([np.zeros(0, np.int64), *(np.full(len(one.tracks), one.number) for one in motion.objects)])
    track = np.concatenate([np.zeros(0, np.int64), *(one.tracks for one in motion.objects)])
    frame, index = np.nonzero(seen)
    order = np.lexsort((owner[index], frame))
    frame, index = frame[order], index[order]
    return FusedScene(
        static_points=motion.points[still],
        static_rgbs=colours[still],
        moving_points=places[index, frame],
        moving_rgbs=colours[track[index]],
        moving_frame=frame.astype(np.int64),
        moving_instance=owner[index].astype(np.int64),
        T_world_camera=motion.T_world_camera,
        K=np.broadcast_to(motion.camera.K.astype(np.float32), (clip.frames, 3, 3)),
        rgb=clip.rgb,
    )


def fitting_voxel(distance: float, motion: SceneMotion) -> float:
    """Width of a voxel for things at a distance, in its unit."""
    return float(VOXEL_PIXELS * max(distance, 1e-6) / motion.camera.K[0, 0])


def map_of_depth(
    clip: Clip,
    depth: NDArray[np.float32],
    regions: Regions,
    motion: SceneMotion,
    *,
    progress: Callable[[float], None] | None = None,
) -> VoxelMap:
    """What stands still, each voxel with how often it was seen; what a later frame looks through is forgotten."""
    known = depth[np.isfinite(depth)]
    distance = float(np.median(known[:: 1 + len(known) // 100_000])) if len(known) else 1.0
    voxels = VoxelMap(VoxelMapOptions(voxel_size=fitting_voxel(distance, motion)))
    usable = away_from_edges(depth) & (regions.of_masks == STATIC_CORE)
    for frame in range(clip.frames):
        points = points_from_depth(depth[frame], motion.camera)[usable[frame]].astype(np.float64)
        world = apply(motion.T_world_camera[frame], points)
        voxels.integrate(world, clip.rgb[frame][usable[frame]], stamp_ns=int(clip.stamps_ns[frame]))
        voxels.carve(depth[frame], motion.camera, motion.T_world_camera[frame], margin=CARVING_MARGIN)
        if progress is not None:
            progress((frame + 1) / clip.frames)
    return voxels


def map_of_tracks(clip: Clip, tracks: Tracks, motion: SceneMotion) -> VoxelMap:
    """Still points alone, for clips without depth; confidence is the number of frames that saw a point."""
    still = np.flatnonzero((motion.labels == STATIC) & np.isfinite(motion.points).all(axis=1))
    points, seen = motion.points[still], tracks.seen[:, still]
    centre = np.median(motion.T_world_camera[:, :3, 3], axis=0)
    distance = float(np.median(np.linalg.norm(points - centre, axis=1))) if len(points) else 1.0
    voxels = VoxelMap(VoxelMapOptions(voxel_size=fitting_voxel(distance, motion) / 4))
    voxels.integrate(
        points, _colours(clip, tracks)[still], stamp_ns=int(clip.stamps_ns[-1]), weights=seen.sum(axis=0).astype(float)
    )
    return voxels


def object_clouds(
    clip: Clip,
    fused: FusedScene,
    motion: SceneMotion,
    names: Mapping[int, str],
) -> list[ObjectCloud]:
    """Every object with the points of all frames in its own frame of reference.

    Args:
        clip: the frames.
        fused: with the points of moving objects.
        motion: with their poses.
        names: of the objects, by number.
    """
    return [_cloud(clip, fused, one, motion, names.get(one.number, f"object {one.number}")) for one in motion.objects]


def _cloud(clip: Clip, fused: FusedScene, one: MovingObject, motion: SceneMotion, name: str) -> ObjectCloud:
    known = np.isfinite(one.T_world_object).all(axis=(1, 2))
    apart = np.linalg.norm(one.T_world_object[known, :3, 3] - motion.T_world_camera[known, :3, 3], axis=1)
    size = fitting_voxel(float(np.median(apart)) if len(apart) else 1.0, motion) / 2
    voxels = VoxelMap(VoxelMapOptions(voxel_size=size, max_voxels=OBJECT_VOXELS))
    for frame in np.flatnonzero(known):
        begin, end = np.searchsorted(fused.moving_frame, (frame, frame + 1))
        mine = begin + np.flatnonzero(fused.moving_instance[begin:end] == one.number)
        own = apply(invert(one.T_world_object[frame]), fused.moving_points[mine])
        voxels.integrate(own, fused.moving_rgbs[mine], stamp_ns=int(clip.stamps_ns[frame]))
    found = voxels.points()
    return ObjectCloud(
        number=one.number,
        name=name,
        points=found.points,
        rgb=found.rgb,
        T_world_object=one.T_world_object,
        twist=twists(one.T_world_object, clip.stamps_ns),
        nonrigid=one.nonrigid,
    )


def _colours(clip: Clip, tracks: Tracks) -> NDArray[np.uint8]:
    """Of every track where it is first seen, shape [N, 3]."""
    first = tracks.seen.argmax(axis=0)
    places = np.nan_to_num(tracks.positions[first, np.arange(len(tracks))])
    x, y = np.clip(np.rint(places), 0, (tracks.width - 1, tracks.height - 1)).astype(np.int64).T
    return np.asarray(clip.rgb[first, y, x])
