"""A rollout in a file, with what truly happened where that is known.

The file is a NumPy ``.npz`` archive without pickled objects: what is a number for every frame or pixel is an array
(such as ``view/front/points``), the rest is in the member ``rollout.json``. What is read is what was saved, to the
last bit.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fourd_ros.data.array_archive import MAX_BYTES, ArchiveKind
from fourd_ros.data.episode import camera_facts, camera_from_facts
from fourd_ros.errors import InvalidRollout
from fourd_ros.records import ObjectMotion, Observation, RobotTrajectory, Rollout, RolloutFlags, RolloutView, View

FACTS = "rollout.json"
ROLLOUT_FILE = ArchiveKind(
    what="a rollout",
    made_by="'fourd imagine BAG --save FOLDER' and save_rollout write rollouts",
    error=InvalidRollout,
    facts=FACTS,
    version=1,
)
MAX_NAME = 200

Arrays = dict[str, NDArray[Any]]
Expected = dict[str, tuple[tuple[int, ...], type]]

_TEXTS = ("frame", "backend", "model_sha256")
_INTEGERS = ("stamp_ns", "candidate", "sample", "seed", "flags")
_NUMBERS = ("trust", "compute_time")
_VIEW = ("T_world_camera", "rgb", "points", "sigma", "robot_mask", "observed_mask")
_TRUE_VIEW = ("T_world_camera", "rgb", "points")


@dataclass(frozen=True, kw_only=True)
class SavedRollout:
    """What a file holds.

    Args:
        rollout: the imagined future.
        truth: what the same cameras saw, in the order of time, as far as that is known; the first may be the
            observation that the rollout starts from.
    """

    rollout: Rollout
    truth: tuple[Observation, ...] = ()


def save_rollout(rollout: Rollout, path: Path | str, *, truth: Sequence[Observation] = ()) -> None:
    """Write a rollout, whole or not at all; an existing file is replaced.

    Args:
        rollout: the imagined future.
        path: of the file.
        truth: what truly happened, in the order of time; every observation has the same cameras and joints, in the
            world frame of the rollout.

    Raises:
        InvalidRollout: arrays of another shape or type than the records say, names that cannot be printed, or
            observations that do not belong together.
    """
    facts = {**_rollout_facts(rollout), "truth": _truth_facts(rollout, truth)}
    arrays = {**_rollout_arrays(rollout), **(_truth_arrays(truth) if truth else {})}
    _check(arrays, _expected(facts))
    ROLLOUT_FILE.write(path, facts, arrays)


def load_rollout(path: Path | str, *, max_bytes: int = MAX_BYTES) -> SavedRollout:
    """Read a rollout.

    Args:
        path: of the file.
        max_bytes: of all arrays together; checked before anything is allocated.

    Raises:
        InvalidRollout: missing or broken file, missing arrays, wrong shapes or types, or larger than allowed.
    """
    with ROLLOUT_FILE.open(path, max_bytes=max_bytes) as archive:
        facts = archive.facts()
        expected = _expected(facts)
        arrays = {name: archive.read(name) for name in expected}
        _check(arrays, expected)
        return SavedRollout(rollout=_rollout(facts, arrays), truth=_truth(facts, arrays))


def _expected(facts: Mapping[str, Any]) -> Expected:
    """Shape and type of every array of a file with those facts."""
    frames, points, joints = int(facts["frames"]), int(facts["joint_points"]), len(facts["joint_names"])
    expected: Expected = {
        **dict.fromkeys(_NUMBERS, ((), np.float64)),
        "times": ((frames,), np.float64),
        "T_world_robot": ((4, 4), np.float64),
        "joint_times": ((points,), np.float64),
        "joint_positions": ((points, joints), np.float64),
    }
    for name, view in facts["views"].items():
        expected |= _expected_view(f"view/{name}", view, frames)
    for number, moved in enumerate(facts["objects"]):
        expected[f"object/{number}/motion"] = ((frames, 4, 4), np.float64)
        expected[f"object/{number}/sigma"] = ((frames,), np.float64)
        for name, (height, width) in moved["pixels"].items():
            expected[f"object/{number}/pixels/{name}"] = ((height, width), np.bool_)
    if facts["truth"]:
        expected |= _expected_truth(facts["truth"])
    return expected


def _expected_view(prefix: str, facts: Mapping[str, Any], frames: int) -> Expected:
    pixels = (frames, facts["height"], facts["width"])
    return {
        **_expected_pictures(prefix, facts, frames),
        f"{prefix}/sigma": (pixels, np.float32),
        f"{prefix}/robot_mask": (pixels, np.bool_),
        f"{prefix}/observed_mask": (pixels, np.bool_),
        **({f"{prefix}/labels": (pixels, np.uint32)} if facts["labels"] else {}),
    }


def _expected_pictures(prefix: str, facts: Mapping[str, Any], frames: int) -> Expected:
    pixels = (frames, facts["height"], facts["width"])
    return {
        f"{prefix}/T_world_camera": ((frames, 4, 4), np.float64),
        f"{prefix}/rgb": ((*pixels, 3), np.uint8),
        f"{prefix}/points": ((*pixels, 3), np.float32),
    }


def _expected_truth(facts: Mapping[str, Any]) -> Expected:
    frames = int(facts["frames"])
    expected: Expected = {
        "truth/stamps_ns": ((frames,), np.int64),
        "truth/joint_positions": ((frames, len(facts["joint_names"])), np.float64),
        "truth/T_world_robot": ((frames, 4, 4), np.float64),
    }
    for name, view in facts["views"].items():
        expected |= _expected_pictures(f"truth/view/{name}", view, frames)
    return expected


def _check(arrays: Arrays, expected: Expected) -> None:
    for name, (shape, dtype) in expected.items():
        found = arrays[name]
        if found.shape != shape or found.dtype != dtype:
            raise InvalidRollout(f"'{name}' is {found.dtype}{list(found.shape)}, needed {np.dtype(dtype)}{list(shape)}")


def _check_names(names: Iterable[str]) -> None:
    for name in names:
        if not name or not name.isprintable() or len(name) > MAX_NAME:
            raise InvalidRollout(
                f"a view cannot be called {name[:MAX_NAME]!r}; needed are 1 to {MAX_NAME} printable characters"
            )


def _rollout_facts(rollout: Rollout) -> dict[str, Any]:
    _check_names([*rollout.views, *(name for moved in rollout.objects for name in moved.pixels)])
    return {
        **{name: str(getattr(rollout, name)) for name in _TEXTS},
        **{name: int(getattr(rollout, name)) for name in _INTEGERS},
        "frames": len(rollout.times),
        "joint_points": len(rollout.joints.times),
        "joint_names": list(rollout.joints.joint_names),
        "views": {
            name: {**camera_facts(view.camera), "mounted_on": view.mounted_on, "labels": view.labels is not None}
            for name, view in rollout.views.items()
        },
        "objects": [
            {"label": int(moved.label), "pixels": {name: list(mask.shape) for name, mask in moved.pixels.items()}}
            for moved in rollout.objects
        ],
    }


def _rollout_arrays(rollout: Rollout) -> Arrays:
    arrays: Arrays = {
        **{name: np.asarray(getattr(rollout, name), np.float64) for name in _NUMBERS},
        "times": rollout.times,
        "T_world_robot": rollout.T_world_robot,
        "joint_times": rollout.joints.times,
        "joint_positions": rollout.joints.positions,
    }
    for name, view in rollout.views.items():
        arrays |= {f"view/{name}/{field}": getattr(view, field) for field in _VIEW}
        if view.labels is not None:
            arrays[f"view/{name}/labels"] = view.labels
    for number, moved in enumerate(rollout.objects):
        arrays |= {f"object/{number}/{field}": getattr(moved, field) for field in ("motion", "sigma")}
        arrays |= {f"object/{number}/pixels/{name}": mask for name, mask in moved.pixels.items()}
    return arrays


def _rollout(facts: Mapping[str, Any], arrays: Arrays) -> Rollout:
    known: dict[str, Any] = {
        **{name: str(facts[name]) for name in _TEXTS},
        **{name: int(facts[name]) for name in _INTEGERS},
        **{name: float(arrays[name]) for name in _NUMBERS},
    }
    joints = RobotTrajectory(
        joint_names=tuple(map(str, facts["joint_names"])),
        times=arrays["joint_times"],
        positions=arrays["joint_positions"],
    )
    return Rollout(
        **{**known, "flags": RolloutFlags(known["flags"])},
        times=arrays["times"],
        T_world_robot=arrays["T_world_robot"],
        joints=joints,
        views={name: _view(f"view/{name}", view, arrays) for name, view in facts["views"].items()},
        objects=tuple(_moved(f"object/{number}", moved, arrays) for number, moved in enumerate(facts["objects"])),
    )


def _view(prefix: str, facts: Mapping[str, Any], arrays: Arrays) -> RolloutView:
    fields: dict[str, Any] = {field: arrays[f"{prefix}/{field}"] for field in _VIEW}
    return RolloutView(
        camera=camera_from_facts(facts),
        mounted_on=str(facts["mounted_on"]),
        labels=arrays.get(f"{prefix}/labels"),
        **fields,
    )


def _moved(prefix: str, facts: Mapping[str, Any], arrays: Arrays) -> ObjectMotion:
    return ObjectMotion(
        label=int(facts["label"]),
        pixels={name: arrays[f"{prefix}/pixels/{name}"] for name in facts["pixels"]},
        motion=arrays[f"{prefix}/motion"],
        sigma=arrays[f"{prefix}/sigma"],
    )


def _truth_facts(rollout: Rollout, truth: Sequence[Observation]) -> dict[str, Any] | None:
    if not truth:
        return None
    first = truth[0]
    _check_names(first.views)
    kinds = [_kind(observation) for observation in truth]
    strange = next((index for index, kind in enumerate(kinds) if kind != kinds[0]), None)
    if strange is not None:
        raise InvalidRollout(f"observation {strange} of the truth has other cameras or joints than the first one")
    if any(observation.frame != rollout.frame for observation in truth):
        raise InvalidRollout(f"the truth is told in '{first.frame}', the rollout in '{rollout.frame}'")
    if any(later.stamp_ns <= earlier.stamp_ns for earlier, later in pairwise(truth)):
        raise InvalidRollout("the observations of the truth are not in the order of time")
    return {
        "frames": len(truth),
        "joint_names": list(first.joint_positions),
        "views": {
            name: {**camera_facts(view.camera), "mounted_on": view.mounted_on} for name, view in first.views.items()
        },
    }


def _kind(observation: Observation) -> object:
    views = {name: (view.camera, view.mounted_on) for name, view in observation.views.items()}
    return views, set(observation.joint_positions)


def _truth_arrays(truth: Sequence[Observation]) -> Arrays:
    names = list(truth[0].joint_positions)
    positions = [[observation.joint_positions[name] for name in names] for observation in truth]
    return {
        "truth/stamps_ns": np.array([observation.stamp_ns for observation in truth], np.int64),
        "truth/joint_positions": np.array(positions, np.float64).reshape(len(truth), len(names)),
        "truth/T_world_robot": np.stack([observation.T_world_robot for observation in truth]),
        **{
            f"truth/view/{name}/{field}": np.stack([getattr(one.views[name], field) for one in truth])
            for name in truth[0].views
            for field in _TRUE_VIEW
        },
    }


def _truth(facts: Mapping[str, Any], arrays: Arrays) -> tuple[Observation, ...]:
    told = facts["truth"]
    if not told:
        return ()
    positions = arrays["truth/joint_positions"].tolist()
    return tuple(
        Observation(
            stamp_ns=int(stamp_ns),
            frame=str(facts["frame"]),
            views={name: _seen(f"truth/view/{name}", view, arrays, step) for name, view in told["views"].items()},
            joint_positions=dict(zip(map(str, told["joint_names"]), positions[step], strict=True)),
            T_world_robot=arrays["truth/T_world_robot"][step],
        )
        for step, stamp_ns in enumerate(arrays["truth/stamps_ns"])
    )


def _seen(prefix: str, facts: Mapping[str, Any], arrays: Arrays, step: int) -> View:
    fields: dict[str, Any] = {field: arrays[f"{prefix}/{field}"][step] for field in _TRUE_VIEW}
    return View(camera=camera_from_facts(facts), mounted_on=str(facts["mounted_on"]), **fields)
