"""``clips/<name>.json``: where a clip is from and what its numbers mean."""

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fourd_ros.data.episode import camera_facts, camera_from_facts
from fourd_ros.data.robo4d_placement import Fit, Rectangle
from fourd_ros.errors import FourdError, InvalidDataset
from fourd_ros.geometry.camera import PinholeCamera
from fourd_ros.geometry.pointmap_range import Convention, PointmapRange
from fourd_ros.strict_json import read_object
from fourd_ros.whole_file import write_whole

FORMAT = 1


@dataclass(frozen=True, kw_only=True, eq=False)
class ClipFacts:
    """What is known about a clip.

    Args:
        name: of the clip.
        episode: that it was cut out of.
        source: of the episode.
        view: name of the camera.
        mounted_on: the robot link that carries the camera, empty for a camera that stands still.
        start_ns: stamp of the first frame [ns].
        steps: number in the episode of every frame; frames that go on backwards have a smaller one than those before.
        rate: frames a second [Hz].
        tasks: of the episode.
        instructions: of the episode.
        camera: calibration of the pictures as they are here.
        T_world_camera: of the first frame, shape [4, 4].
        fit: how the pictures came to their size.
        content: where the pictures show the scene; beside it their edges are repeated.
        convention: how the range was chosen.
        range: of both pointmaps.
        known: share of the pixels with a depth.
        robot: share of the pixels that show the robot.
        commanded: share of the joint positions that were commanded; the others are measured ones.
        robot_sha256: hash of the robot description.
    """

    name: str
    episode: str
    source: str
    view: str
    mounted_on: str
    start_ns: int
    steps: tuple[int, ...]
    rate: float
    tasks: tuple[str, ...]
    instructions: tuple[str, ...]
    camera: PinholeCamera
    T_world_camera: NDArray[np.float64]
    fit: Fit
    content: Rectangle
    convention: Convention
    range: PointmapRange
    known: float
    robot: float
    commanded: float
    robot_sha256: str


def _texts(values: Iterable[Any]) -> tuple[str, ...]:
    return tuple(str(value) for value in values)


def _numbers(values: Iterable[Any]) -> tuple[int, ...]:
    return tuple(int(value) for value in values)


def _rectangle(values: Iterable[Any]) -> Rectangle:
    top, left, height, width = _numbers(values)
    return top, left, height, width


_PLAIN: dict[str, Callable[[Any], Any]] = {
    "name": str,
    "episode": str,
    "source": str,
    "view": str,
    "mounted_on": str,
    "start_ns": int,
    "steps": _numbers,
    "rate": float,
    "tasks": _texts,
    "instructions": _texts,
    "fit": Fit,
    "content": _rectangle,
    "convention": Convention,
    "known": float,
    "robot": float,
    "commanded": float,
    "robot_sha256": str,
}


def write_facts(facts: ClipFacts, path: Path) -> None:
    """Write them, whole or not at all."""
    written = {
        "format": FORMAT,
        **{name: getattr(facts, name) for name in _PLAIN},
        "camera": camera_facts(facts.camera),
        "T_world_camera": facts.T_world_camera.tolist(),
        "range": {"centre": facts.range.centre.tolist(), "scale": facts.range.scale},
    }
    write_whole(path, json.dumps(written, indent=1) + "\n")


def read_facts(path: Path) -> ClipFacts:
    """Read them.

    Raises:
        InvalidDataset: missing or damaged, or of another format.
    """
    found = read_object(path, error=InvalidDataset)
    if found.get("format") != FORMAT:
        raise InvalidDataset(f"'{path}' has format {found.get('format')}, this version reads {FORMAT}")
    try:
        return ClipFacts(
            **{name: convert(found[name]) for name, convert in _PLAIN.items()},
            camera=camera_from_facts(found["camera"]),
            T_world_camera=np.array(found["T_world_camera"], np.float64).reshape(4, 4),
            range=PointmapRange(
                centre=np.array(found["range"]["centre"], np.float64), scale=float(found["range"]["scale"])
            ),
        )
    except (KeyError, TypeError, ValueError, AttributeError, FourdError) as error:
        raise InvalidDataset(f"'{path}' is damaged: {type(error).__name__}: {error}") from error
