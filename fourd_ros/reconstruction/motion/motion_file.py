"""The motion of a scene in a file: ``motion.npz``, plain arrays."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fourd_ros.data.array_archive import ArchiveKind
from fourd_ros.errors import InvalidResults
from fourd_ros.geometry.camera import PinholeCamera
from fourd_ros.reconstruction.motion.scene_motion import MovingObject, SceneMotion

__all__ = ["read_motion", "write_motion"]

_KIND = ArchiveKind(
    what="the motion of a scene",
    made_by="`fourd reconstruct` makes it",
    error=InvalidResults,
    facts="motion.json",
    version=1,
)


def write_motion(path: Path, motion: SceneMotion) -> None:
    """Write a motion, whole or not at all."""
    objects = motion.objects
    counts = [(len(one.tracks), len(one.points)) for one in objects]
    arrays: dict[str, NDArray[Any]] = {
        "K": motion.camera.K,
        "T_world_camera": motion.T_world_camera,
        "labels": motion.labels,
        "points": motion.points,
        "depth_scales": motion.depth_scales,
        "object_numbers": np.array([one.number for one in objects], np.int64),
        "object_counts": np.array(counts, np.int64).reshape(-1, 2),
        "object_tracks": np.concatenate([np.zeros(0, np.int64), *(one.tracks for one in objects)]),
        "object_points": np.concatenate([np.zeros((0, 3)), *(one.points for one in objects)]),
        "T_world_object": np.stack([one.T_world_object for one in objects])
        if objects
        else np.zeros((0, *motion.T_world_camera.shape)),
        "nonrigid": np.array([one.nonrigid for one in objects], np.float64),
        "rms": np.array(motion.rms),
    }
    facts = {
        "width": motion.camera.width,
        "height": motion.camera.height,
        "metric": motion.metric,
        "caveats": list(motion.caveats),
    }
    _KIND.write(path, facts, arrays)


def read_motion(path: Path) -> SceneMotion:
    """Read a motion.

    Raises:
        InvalidResults: no such file, damaged, or arrays that contradict each other.
    """
    with _KIND.open(path) as archive:
        facts = archive.facts()
        arrays = {name: archive.read(name) for name in archive.names}
        _check(arrays)
        ends = np.cumsum(arrays["object_counts"], axis=0)
        return SceneMotion(
            camera=PinholeCamera(width=int(facts["width"]), height=int(facts["height"]), K=arrays["K"]),
            T_world_camera=arrays["T_world_camera"],
            labels=arrays["labels"],
            points=arrays["points"],
            objects=tuple(
                MovingObject(
                    number=int(number),
                    tracks=arrays["object_tracks"][end[0] - count[0] : end[0]],
                    points=arrays["object_points"][end[1] - count[1] : end[1]],
                    T_world_object=T,
                    nonrigid=float(nonrigid),
                )
                for number, count, end, T, nonrigid in zip(
                    arrays["object_numbers"],
                    arrays["object_counts"],
                    ends,
                    arrays["T_world_object"],
                    arrays["nonrigid"],
                    strict=True,
                )
            ),
            depth_scales=arrays["depth_scales"],
            metric=bool(facts["metric"]),
            rms=float(arrays["rms"]),
            caveats=tuple(map(str, facts["caveats"])),
        )


def _check(arrays: dict[str, NDArray[Any]]) -> None:
    frames, tracks, objects = len(arrays["T_world_camera"]), len(arrays["labels"]), len(arrays["object_numbers"])
    sums = arrays["object_counts"].sum(axis=0) if arrays["object_counts"].ndim == 2 else (-1, -1)
    for name, needed in (
        ("K", (3, 3)),
        ("T_world_camera", (frames, 4, 4)),
        ("labels", (tracks,)),
        ("points", (tracks, 3)),
        ("depth_scales", (frames,)),
        ("object_counts", (objects, 2)),
        ("object_tracks", (int(sums[0]),)),
        ("object_points", (int(sums[1]), 3)),
        ("T_world_object", (objects, frames, 4, 4)),
        ("nonrigid", (objects,)),
        ("rms", ()),
    ):
        if arrays[name].shape != needed:
            raise InvalidResults(f"'{name}' has shape {list(arrays[name].shape)}, needed {list(needed)}")
