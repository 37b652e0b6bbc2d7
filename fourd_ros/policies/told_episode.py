"""What a policy is told of an episode beyond colour and joints, as plain values for a message, and back.

Other than the rest of the protocol this is our own: only a `WebsocketPolicy` tells it, and only a `PolicyServer` hears.
"""

import types
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import numpy as np

from fourd_ros.errors import InvalidMessage
from fourd_ros.geometry.camera import PinholeCamera
from fourd_ros.policies.base import Assignment
from fourd_ros.records import Observation, View
from fourd_ros.simulation.scene import SceneSpec
from fourd_ros.simulation.tasks import Close, Open, PickPlace, Push, Reach, Stack, Task

_GOALS: dict[str, type[Task]] = {kind.__name__: kind for kind in (Reach, Push, PickPlace, Stack, Open, Close)}


def tell_assignment(assignment: Assignment, *, elapsed: float, scene: bool) -> dict[str, Any]:
    """An assignment without its instruction, and the time since the episode began [s].

    Args:
        assignment: what is told.
        elapsed: time since the episode began [s].
        scene: tell where everything truly is.
    """
    told: dict[str, Any] = {"task": assignment.task, "seed": assignment.seed, "elapsed": elapsed}
    if assignment.goal is not None:
        told["goal"] = {type(assignment.goal).__name__: to_plain(assignment.goal)}
    if scene and assignment.scene is not None:
        told["scene"] = to_plain(assignment.scene)
    return told


def hear_assignment(told: Mapping[str, Any], instruction: str) -> Assignment:
    """The assignment that was told; nothing but the instruction has to be.

    Raises:
        InvalidMessage: something else was told.
    """
    goal = told.get("goal")
    if goal is not None:
        if not isinstance(goal, Mapping) or len(goal) != 1 or not set(goal) <= set(_GOALS):
            raise InvalidMessage(f"a goal is a map with one of {sorted(_GOALS)}, not {goal!r:.200}")
        ((kind, values),) = goal.items()
        goal = from_plain(_GOALS[kind], values, "goal")
    return Assignment(
        task=from_plain(str, told.get("task", ""), "task"),
        instruction=instruction,
        goal=goal,
        scene=from_plain(SceneSpec, told["scene"], "scene") if "scene" in told else None,
        seed=from_plain(int, told.get("seed", 0), "seed"),
    )


def tell_views(observation: Observation, cameras: tuple[str, ...]) -> dict[str, Any]:
    """All that is known of some views: in their own size, with points and calibration."""
    views = {name: observation.views[name] for name in cameras}
    return {
        name: {
            "rgb": view.rgb,
            "points": view.points,
            "K": view.camera.K,
            "distortion_model": view.camera.distortion_model,
            "distortion": view.camera.distortion,
            "T_world_camera": view.T_world_camera,
            "mounted_on": view.mounted_on,
        }
        for name, view in views.items()
    }


def hear_views(told: object) -> dict[str, View]:
    """The views that were told.

    Raises:
        InvalidMessage: something else was told, or something is missing.
        InvalidImage: sizes do not fit together.
        InvalidCamera: a calibration is none.
    """
    try:
        return {str(name): _view(values) for name, values in told.items()}  # type: ignore[attr-defined]
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise InvalidMessage(f"the views that were told are none: {error!r}") from error


def _view(told: Mapping[str, Any]) -> View:
    rgb, points = told["rgb"], told["points"]
    if rgb.dtype != np.uint8 or points.dtype != np.float32 or rgb.ndim != 3:
        raise ValueError(f"colour is {rgb.dtype} {rgb.shape}, points are {points.dtype}; needed: uint8 and float32")
    camera = PinholeCamera(
        width=rgb.shape[1],
        height=rgb.shape[0],
        K=told["K"].astype(np.float64),
        distortion_model=told["distortion_model"],
        distortion=told["distortion"].astype(np.float64),
    )
    pose = told["T_world_camera"].astype(np.float64)
    return View(camera=camera, T_world_camera=pose, rgb=rgb, points=points, mounted_on=str(told["mounted_on"]))


def to_plain(value: Any) -> Any:
    """A record of numbers, texts, tuples, maps and other records, as maps and lists."""
    if is_dataclass(value):
        return {field.name: to_plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {key: to_plain(item) for key, item in value.items()}
    return [to_plain(item) for item in value] if isinstance(value, tuple) else value


def from_plain(kind: Any, value: Any, where: str) -> Any:
    """What `to_plain` was given.

    Args:
        kind: type of it, or of a field of a record.
        value: maps and lists.
        where: name of it, for messages.

    Raises:
        InvalidMessage: `value` is of another type somewhere.
    """
    origin, inner = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        if value is None and type(None) in inner:
            return None
        kind = next(choice for choice in inner if choice is not type(None))
        return from_plain(kind, value, where)
    if origin is Literal and isinstance(value, str) and value in inner:
        return value
    if isinstance(kind, type) and is_dataclass(kind) and isinstance(value, Mapping):
        hints = get_type_hints(kind)
        if set(value) != {field.name for field in fields(kind)}:
            raise InvalidMessage(f"{where} has {sorted(map(str, value))}, needed are {sorted(hints)}")
        return kind(**{name: from_plain(hints[name], item, f"{where}.{name}") for name, item in value.items()})
    if origin is tuple and isinstance(value, list):
        kinds = inner[:1] * len(value) if inner[-1] is Ellipsis else inner
        if len(kinds) == len(value):
            return tuple(from_plain(*pair, where) for pair in zip(kinds, value, strict=True))
    if origin is dict and isinstance(value, Mapping):
        return {name: from_plain(inner[1], item, f"{where}.{name}") for name, item in value.items()}
    if kind is float and type(value) in (int, float, np.float64):
        return float(value)
    if kind in (bool, int, str) and type(value) is kind:
        return value
    raise InvalidMessage(f"{where} is {value!r:.100}, needed is {kind}")
