"""The last stages of a reconstruction: depth that agrees, fused points, the static map, and the clouds of objects."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fourd_ros.reconstruction.clips.clip import Clip
from fourd_ros.reconstruction.mapping.consistent_depth import consistent_depth, sparse_depth
from fourd_ros.reconstruction.mapping.object_files import write_objects
from fourd_ros.reconstruction.mapping.scene_points import (
    fused_from_depth,
    fused_from_tracks,
    map_of_depth,
    map_of_tracks,
    object_clouds,
)
from fourd_ros.reconstruction.motion.scene_motion import SceneMotion
from fourd_ros.reconstruction.motion.tracks import Tracks
from fourd_ros.reconstruction.official.scene_files import SUFFIX, read_depth, write_depth, write_fused, write_scene
from fourd_ros.reconstruction.official.track_regions import BORDER, regions_of
from fourd_ros.reconstruction.pipeline.stages import Done, Progress

__all__ = ["SolvedScene", "make_depth", "make_points"]

SEEN = (2, 5)
"""Times that a voxel was seen, of which the share is told."""


@dataclass(frozen=True, kw_only=True)
class SolvedScene:
    """What the solver leaves.

    Args:
        clip: the frames.
        motion: of camera and objects.
        tracks: that the motion names.
        masks: which object a pixel shows, 0 none, shape [F, H, W].
    """

    clip: Clip
    motion: SceneMotion
    tracks: Tracks
    masks: NDArray[np.int32]


def make_depth(scene: SolvedScene, folder: Path, tell: Progress) -> Done:
    """Write ``depth/`` into ``dynamicBA``: consistent depth, or that of tracks where none was given."""
    clip = scene.clip
    if clip.depth is None:
        write_depth(folder, sparse_depth(scene.tracks, scene.motion))
        return Done()
    found = consistent_depth(clip.depth, regions_of(scene.masks), scene.tracks, scene.motion, progress=tell)
    write_depth(folder, found.depth)
    apart = {name: value for name, value in found.disagreement.items() if np.isfinite(value)}
    told = () if apart else ("frames share too little of what stands still to tell whether their depth agrees",)
    return Done(caveats=told, facts={"used": found.used, "disagreement": apart})


def make_points(scene: SolvedScene, bundle: Path, names: Mapping[int, str], tell: Progress, *, max_static: int) -> Done:
    """Write fused points, per-frame files, map and objects.

    Args:
        scene: solved; its depth is in the folder above.
        bundle: ``dynamicBA/<experiment>``.
        names: of objects, by number.
        tell: told the share that is done.
        max_static: static points in fused files at most.
    """
    clip, motion, tracks = scene.clip, scene.motion, scene.tracks
    depth, regions = read_depth(bundle.parent, clip.frames), regions_of(scene.masks)
    if clip.depth is None:
        fused, voxels = fused_from_tracks(clip, tracks, motion), map_of_tracks(clip, tracks, motion)
    else:
        fused = fused_from_depth(clip, depth, regions, motion, max_static=max_static)
        voxels = map_of_depth(clip, depth, regions, motion, progress=tell)
    write_objects(bundle, object_clouds(clip, fused, motion, names))
    voxels.save(bundle / "static_map.npz")
    write_fused(bundle.parent / "fused_4d.npz", fused)
    write_scene(bundle, fused, depth, scene.masks, suffix=SUFFIX)
    seen = voxels.points().confidence
    return Done(
        facts={
            "voxels": len(voxels),
            "voxel_size": voxels.options.voxel_size,
            "seen": {str(times): float((seen >= times).mean()) if len(seen) else 0.0 for times in SEEN},
            "explained": float((np.isfinite(depth) & (regions.of_masks != BORDER)).mean()),
            "static_points": len(fused.static_points),
            "moving_points": len(fused.moving_points),
        }
    )
