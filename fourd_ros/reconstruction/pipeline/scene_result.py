"""``result.json``: what a reconstruction found, in figures, and what it could not do, in words."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fourd_ros.errors import InvalidResults
from fourd_ros.reconstruction.clips.clip import Clip
from fourd_ros.reconstruction.mapping.object_files import twists
from fourd_ros.reconstruction.motion.scene_motion import REJECTED, STATIC, MovingObject, SceneMotion
from fourd_ros.reconstruction.pipeline.stages import StageLog
from fourd_ros.strict_json import read_object
from fourd_ros.whole_file import write_whole

__all__ = ["RESULT", "describe_scene", "read_result", "write_result"]

RESULT = "result.json"
FORMAT = 1

STILL_CAMERA = 0.005
"""A camera that moves by no more than this, in distances of the scene, stands still."""

STILL_TURN = 0.5
"""And turns by no more than this [degrees]."""


def describe_scene(
    clip: Clip,
    log: StageLog,
    motion: SceneMotion | None,
    *,
    experiment: str,
    schedule: str,
    caveats: tuple[str, ...],
    failure: str,
) -> dict[str, Any]:
    """What ``result.json`` holds.

    Args:
        clip: that was reconstructed.
        log: of its stages.
        motion: None where none was found.
        experiment: folder of the results in ``dynamicBA``.
        schedule: that was used.
        caveats: beside those of the stages.
        failure: why nothing was found, empty otherwise.
    """
    facts = {name: stage.done.facts for name, stage in log.stages.items()}
    found: dict[str, Any] = {
        "format": FORMAT,
        "scene": clip.name,
        "frames": clip.frames,
        "width": clip.width,
        "height": clip.height,
        "stamps_ns": [int(stamp) for stamp in clip.stamps_ns],
        "experiment": experiment,
        "schedule": schedule,
        "failure": failure,
        "caveats": list(dict.fromkeys((*caveats, *log.caveats))),
        "key_frames": list(facts.get("flow", {}).get("key_frames", [])),
        "mean_flow": facts.get("flow", {}).get("mean_flow"),
        "stages": {
            name: {"seconds": round(stage.seconds, 3), "fresh": stage.fresh} for name, stage in log.stages.items()
        },
        "depth": dict(facts.get("depth", {})),
        "map": dict(facts.get("points", {})),
    }
    if motion is not None:
        names = facts.get("names", {}).get("names", {})
        found |= _described(motion, clip, names)
    return {name: _without_nan(value) for name, value in found.items()}


def write_result(folder: Path, result: dict[str, Any]) -> None:
    """Write ``result.json``, whole or not at all."""
    write_whole(folder / RESULT, json.dumps(result, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def read_result(folder: Path) -> dict[str, Any]:
    """Read ``result.json``.

    Raises:
        InvalidResults: there is none, or it is of another version.
    """
    result = read_object(folder / RESULT, error=InvalidResults)
    if result.get("format") != FORMAT:
        raise InvalidResults(f"'{folder / RESULT}' has format {result.get('format')}, this version reads {FORMAT}")
    return result


def _described(motion: SceneMotion, clip: Clip, names: dict[str, str]) -> dict[str, Any]:
    K, scales = motion.camera.K, motion.depth_scales
    return {
        "metric": motion.metric,
        "camera": {"fx": float(K[0, 0]), "fy": float(K[1, 1]), "cx": float(K[0, 2]), "cy": float(K[1, 2])},
        "rms": motion.rms,
        "tracks": {
            "all": len(motion.labels),
            "still": int((motion.labels == STATIC).sum()),
            "moving": int((motion.labels > STATIC).sum()),
            "rejected": int((motion.labels == REJECTED).sum()),
        },
        "depth_scales": {"least": float(scales.min()), "median": float(np.median(scales)), "most": float(scales.max())},
        "path": _path(motion),
        "objects": [_object(one, clip, names.get(str(one.number), f"object {one.number}")) for one in motion.objects],
    }


def _path(motion: SceneMotion) -> dict[str, Any]:
    places = motion.T_world_camera[:, :3, 3]
    turns = np.einsum("fii->f", motion.T_world_camera[0, :3, :3].T @ motion.T_world_camera[:, :3, :3])
    turn = float(np.degrees(np.arccos(np.clip((turns - 1) / 2, -1, 1))).max())
    reach = float(np.linalg.norm(places - places[0], axis=1).max())
    points = motion.points[np.isfinite(motion.points).all(axis=1)]
    distance = float(np.median(np.linalg.norm(points - places[0], axis=1))) if len(points) else math.nan
    return {
        "length": float(np.linalg.norm(np.diff(places, axis=0), axis=1).sum()),
        "reach": reach,
        "turn": turn,
        "distance": distance,
        "still": bool(reach <= STILL_CAMERA * distance and turn <= STILL_TURN),
    }


def _object(one: MovingObject, clip: Clip, name: str) -> dict[str, Any]:
    known = np.isfinite(one.T_world_object).all(axis=(1, 2))
    places = one.T_world_object[known, :3, 3]
    speeds = np.linalg.norm(twists(one.T_world_object, clip.stamps_ns)[:, :3], axis=1)
    speeds = speeds[np.isfinite(speeds)]
    return {
        "number": one.number,
        "name": name,
        "tracks": len(one.tracks),
        "frames": int(known.sum()),
        "first": int(known.argmax()) if known.any() else None,
        "way": _way(places),
        "shift": float(np.linalg.norm(places[-1] - places[0])) if len(places) else 0.0,
        "speed": float(np.median(speeds)) if len(speeds) else 0.0,
        "nonrigid": one.nonrigid,
    }


def _way(places: NDArray[np.float64]) -> float:
    return float(np.linalg.norm(np.diff(places, axis=0), axis=1).sum()) if len(places) else 0.0


def _without_nan(value: Any) -> Any:
    """JSON knows no NaN: what is not known becomes null."""
    if isinstance(value, dict):
        return {name: _without_nan(one) for name, one in value.items()}
    if isinstance(value, list):
        return [_without_nan(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
