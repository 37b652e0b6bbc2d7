"""A reconstructed scene in the live viewer: the static map, the camera on its path, and moving objects over time."""

from pathlib import Path
from typing import Any

import numpy as np

from fourd_ros.errors import InvalidResults
from fourd_ros.geometry.transforms import FloatArray, apply
from fourd_ros.geometry.voxel import reduce
from fourd_ros.reconstruction.mapping.object_files import ObjectCloud, read_objects
from fourd_ros.reconstruction.official.scene_files import SUFFIX, read_fused
from fourd_ros.reconstruction.official.scene_fusion import FusedScene, instance_colour
from fourd_ros.reconstruction.pipeline.scene_result import read_result
from fourd_ros.viewer.content import LABEL_FIRST_OBJECT
from fourd_ros.viewer.film_scene import T_SCENE_OPTICAL
from fourd_ros.viewer.point_colours import by_label
from fourd_ros.viewer.point_scene import (
    FASTEST,
    LABEL,
    RGB,
    SLOWEST,
    PointScene,
    SceneCamera,
    SceneFrame,
    SceneOptions,
    StillCloud,
    Way,
    frame_of,
)
from fourd_ros.viewer.reconstruction_page import read_map

__all__ = ["scene_of_reconstruction"]

VIEW, MAP = "what moves", "static map"
_CAMERA_COLOUR = (60, 60, 60)


def scene_of_reconstruction(folder: Path, options: SceneOptions) -> PointScene:
    """What `fourd reconstruct` left in a folder; z is up if the first camera was held level.

    Args:
        folder: of the scene.
        options: how much of it; half of the points are for the static map.

    Raises:
        InvalidResults: no reconstruction, one that found nothing, or damaged files.
        InvalidRollout: no point is known.
    """
    result = read_result(folder)
    if "path" not in result:
        raise InvalidResults(f"nothing was reconstructed in '{folder}': {result['failure']}")
    bundle = folder / "dynamicBA" / result["experiment"]
    fused = read_fused(bundle / f"fused_4d{SUFFIX}.npz")
    steps = np.arange(0, fused.frames, options.time_stride)
    budget = max(1, options.max_points // 2 // len(steps))
    times = (np.array(result["stamps_ns"], np.int64)[steps] - result["stamps_ns"][0]) * 1e-9
    K = fused.K[0]
    return PointScene(
        title=f"{result['scene']}, reconstructed",
        times=times,
        cameras=(
            SceneCamera(
                view=VIEW,
                true=False,
                frames=tuple(_frame(fused, int(step), budget) for step in steps),
                fov=float(2 * np.arctan2(result["height"] / 2, K[1, 1])),
                aspect=float(result["width"] / K[0, 0] / (result["height"] / K[1, 1])),
            ),
        ),
        rate=_pace(times),
        notes=_notes(result),
        still=(_still(bundle, result, options.max_points // 2),),
        ways=(_camera_way(fused), *(_object_way(one) for one in read_objects(bundle))),
    )


def _frame(fused: FusedScene, step: int, budget: int) -> SceneFrame:
    begin, end = np.searchsorted(fused.moving_frame, (step, step + 1))
    points = fused.moving_points[begin:end]
    chosen = reduce(points, max_points=budget)
    rgb = fused.moving_rgbs[begin:end][chosen]
    labels = (fused.moving_instance[begin:end][chosen] - 1 + LABEL_FIRST_OBJECT).astype(np.uint32)
    return frame_of(
        points[chosen],
        {RGB: rgb, LABEL: by_label(rgb, labels)},
        T_scene_points=T_SCENE_OPTICAL,
        T_scene_camera=T_SCENE_OPTICAL @ fused.T_world_camera[step],
        image=fused.rgb[step],
    )


def _still(bundle: Path, result: dict[str, Any], budget: int) -> StillCloud:
    found = read_map(bundle / "static_map.npz", voxel_size=result["map"]["voxel_size"])
    chosen = reduce(found.points, max_points=budget)
    return StillCloud(name=MAP, points=_in_scene(found.points[chosen]), rgb=found.rgb[chosen])


def _camera_way(fused: FusedScene) -> Way:
    places = _in_scene(fused.T_world_camera[:, :3, 3]).astype(np.float64)
    return Way(name="camera", places=places, colour=_CAMERA_COLOUR)


def _object_way(one: ObjectCloud) -> Way:
    places = one.T_world_object[:, :3, 3]
    known = places[np.isfinite(places).all(axis=1)]
    return Way(
        name=f"object {one.number}: {one.name}",
        places=_in_scene(known).astype(np.float64),
        colour=instance_colour(one.number),
    )


def _in_scene(points: FloatArray | np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return np.asarray(apply(T_SCENE_OPTICAL, points.astype(np.float64)), np.float32)


def _pace(times: FloatArray) -> float:
    steps = np.diff(times)
    return float(np.clip(1 / np.median(steps), SLOWEST, FASTEST)) if len(steps) else SLOWEST


def _notes(result: dict[str, Any]) -> tuple[str, ...]:
    objects = (f"object {one['number']}: {one['name']}" for one in result["objects"])
    unit = "lengths in metres" if result["metric"] else "lengths have no unit"
    return (f"{result['frames']} frames, {unit}", *objects, *result["caveats"])
