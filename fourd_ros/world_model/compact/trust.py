"""How far an imagined future is to be trusted: the probability that every thing ends where it is said to.

A logistic regression on a few numbers that the rollout itself offers, fitted on held-out episodes, failures included;
and how much wider than the network says errors were there.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Self

import numpy as np

from fourd_ros.errors import InvalidModel
from fourd_ros.geometry.transforms import apply, to_quaternion
from fourd_ros.records import FloatArray, ObjectMotion, Observation, RolloutFlags
from fourd_ros.strict_json import read_object
from fourd_ros.world_model.base import Question
from fourd_ros.world_model.compact.gripper_path import Approach, GripperPath

TRUST_FILE = "dynamics/trust.json"

PENALTY = 1e-2
"""On squared weights of the regression."""

NEWTON_STEPS = 30

NOTHING = 1.0
"""Distance [m] that is said to the nearest thing where there is none."""

WORKSPACE_SLACK, ELEVATION_SLACK, DISTANCE_SLACK = 0.05, 0.09, 0.1
"""What lies beyond the trained ranges by no more is as good as trained [m, rad, m]."""


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What a rollout says about how sure it can be; zeros where nothing moves.

    Args:
        moving: number of things that move.
        log_sigma: logarithm of the greatest deviation of a moving thing at the end [m].
        travel: greatest way of a thing [m].
        turn: greatest turn of a thing [rad].
        log_pixels: logarithm of the least number of observed pixels of a moving thing.
        clearance: least distance between the grasp point and any thing [m].
        things: number of things.
        after: time from the nearest approach to the end, as a share of the horizon.
    """

    moving: float
    log_sigma: float
    travel: float
    turn: float
    log_pixels: float
    clearance: float
    things: float
    after: float

    @property
    def row(self) -> FloatArray:
        """All of it, shape [F]."""
        return np.array(list(asdict(self).values()))


def gather(objects: Sequence[ObjectMotion], observation: Observation, path: GripperPath) -> Evidence:
    """The evidence of one rollout.

    Args:
        objects: of the rollout.
        observation: that it starts from.
        path: of its gripper alone (C = 1).
    """
    moving = [item for item in objects if (item.motion != np.eye(4)).any()]
    clearance, after = _nearest([_points(item, observation) for item in objects], path)
    return Evidence(
        moving=float(len(moving)),
        log_sigma=max((math.log(max(float(item.sigma[-1]), 1e-4)) for item in moving), default=0.0),
        travel=max((_travel(_points(item, observation), item.motion[-1]) for item in moving), default=0.0),
        turn=max((_turn(item.motion[-1]) for item in moving), default=0.0),
        log_pixels=min((math.log1p(_pixels(item)) for item in moving), default=0.0),
        clearance=clearance,
        things=float(len(objects)),
        after=after,
    )


@dataclass(frozen=True, kw_only=True)
class Trust:
    """A fitted score, and the ranges that were trained on.

    Args:
        mean: of the evidence, shape [F].
        scale: of the evidence, shape [F].
        weights: of the evidence less its mean over its scale, shape [F].
        bias: of the logit.
        widening: of the deviations that the network states.
        workspace: corners of the box around all grasp points, in the robot's root frame [m], shape [2, 3].
        elevation: of cameras over the horizontal, seen from the middle of the workspace [rad], least and greatest.
        distance: of cameras from there [m], least and greatest.
    """

    mean: tuple[float, ...]
    scale: tuple[float, ...]
    weights: tuple[float, ...]
    bias: float
    widening: float
    workspace: tuple[tuple[float, float, float], tuple[float, float, float]]
    elevation: tuple[float, float]
    distance: tuple[float, float]

    def score(self, evidence: Evidence) -> float:
        """Probability that every thing ends within 25 mm of where it is said to."""
        logit = self.bias + np.dot(self.weights, (evidence.row - self.mean) / np.array(self.scale))
        return float(1 / (1 + np.exp(-logit)))

    def flags(self, question: Question, path: GripperPath) -> RolloutFlags:
        """What was not trained on: where the robot goes, and where the cameras stand.

        Args:
            question: what was asked.
            path: of the gripper of one candidate (C = 1).
        """
        flags = RolloutFlags.NONE
        T_robot_world = np.linalg.inv(question.observation.T_world_robot)
        grasp = apply(T_robot_world, path.frames[0, :, :3, 3])
        low, high = np.array(self.workspace)
        if (grasp < low - WORKSPACE_SLACK).any() or (grasp > high + WORKSPACE_SLACK).any():
            flags |= RolloutFlags.OUTSIDE_WORKSPACE
        standing = [view for view in question.observation.views.values() if not view.mounted_on]
        places = [camera_place(T_robot_world @ view.T_world_camera) for view in standing]
        if places and not any(
            _within(elevation, self.elevation, ELEVATION_SLACK) and _within(distance, self.distance, DISTANCE_SLACK)
            for elevation, distance in places
        ):
            flags |= RolloutFlags.CAMERA_UNSEEN
        return flags

    @property
    def text(self) -> str:
        """As JSON, for a model folder."""
        return json.dumps(asdict(self), indent=1) + "\n"

    @classmethod
    def read(cls, path: Path) -> Self:
        """From a model folder.

        Raises:
            InvalidModel: the file does not hold what is needed.
        """
        found = read_object(path, error=InvalidModel)
        if set(found) != {field.name for field in fields(cls)}:
            raise InvalidModel(f"'{path}' holds {sorted(found)}, needed are {sorted(f.name for f in fields(cls))}")
        count = len(fields(Evidence))
        shapes: dict[str, tuple[int, ...]] = dict.fromkeys(("mean", "scale", "weights"), (count,))
        shapes |= {"workspace": (2, 3), "elevation": (2,), "distance": (2,)}
        for name, shape in shapes.items():
            if np.shape(found[name]) != shape:
                raise InvalidModel(f"'{name}' of '{path}' has shape {np.shape(found[name])}, needed is {shape}")
        return cls(
            mean=tuple(found["mean"]),
            scale=tuple(found["scale"]),
            weights=tuple(found["weights"]),
            bias=float(found["bias"]),
            widening=float(found["widening"]),
            workspace=tuple(map(tuple, found["workspace"])),  # type: ignore[arg-type]
            elevation=tuple(found["elevation"]),
            distance=tuple(found["distance"]),
        )


WORKSPACE_MIDDLE = np.array([0.45, 0.0, 0.05])
"""Cameras are described as seen from here, in the robot's root frame [m]."""


def camera_place(T_robot_camera: FloatArray) -> tuple[float, float]:
    """Elevation over the horizontal [rad] and distance [m] of a camera from the middle of the workspace."""
    away = T_robot_camera[:3, 3] - WORKSPACE_MIDDLE
    distance = float(np.linalg.norm(away))
    return math.asin(min(1.0, max(-1.0, away[2] / distance))), distance


def fit(evidence: FloatArray, found: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray, float]:
    """Logistic regression with a small penalty, by Newton's method.

    Args:
        evidence: a row for every rollout, shape [N, F].
        found: 1 where everything ended as said, else 0, shape [N].

    Returns:
        Mean, scale and weights of the evidence, each [F], and the bias.
    """
    mean, scale = evidence.mean(axis=0), np.maximum(evidence.std(axis=0), 1e-6)
    rows = np.concatenate([(evidence - mean) / scale, np.ones((len(evidence), 1))], axis=1)
    penalty = PENALTY * len(rows) * np.diag([1.0] * evidence.shape[1] + [0.0])
    weights = np.zeros(rows.shape[1])
    for _ in range(NEWTON_STEPS):
        probability = 1 / (1 + np.exp(-rows @ weights))
        gradient = rows.T @ (probability - found) + penalty @ weights
        curvature = (rows * (probability * (1 - probability))[:, None]).T @ rows + penalty
        weights -= np.linalg.solve(curvature + 1e-9 * np.eye(len(weights)), gradient)
    return mean, scale, weights[:-1], float(weights[-1])


def _points(item: ObjectMotion, observation: Observation) -> FloatArray:
    """Observed points of an object in the world, shape [N, 3]."""
    clouds = [
        apply(view.T_world_camera, view.points[item.pixels[name]].astype(np.float64))
        for name, view in observation.views.items()
    ]
    cloud = np.concatenate(clouds)
    return np.asarray(cloud[np.isfinite(cloud[:, 2])])


def _nearest(clouds: Sequence[FloatArray], path: GripperPath) -> tuple[float, float]:
    """Least distance [m] of the grasp point from any cloud, and the share of the path that follows it."""
    best = (NOTHING, 0.0)
    last = path.frames.shape[1] - 1
    for cloud in clouds:
        if len(cloud):
            approach = Approach.of(cloud[None], path)
            place = int((path.frames[0, :, :3, 3] == approach.frame[0, 0, :3, 3]).all(axis=1).argmax())
            best = min(best, (float(approach.distance[0, 0]), 1.0 - place / last))
    return best


def _travel(points: FloatArray, motion: FloatArray) -> float:
    middle = points.mean(axis=0) if len(points) else np.zeros(3)
    return float(np.linalg.norm(apply(motion, middle) - middle))


def _turn(motion: FloatArray) -> float:
    _, rotation = to_quaternion(motion)
    return float(2 * np.arccos(np.clip(abs(rotation[3]), 0.0, 1.0)))


def _pixels(item: ObjectMotion) -> int:
    return int(sum(mask.sum() for mask in item.pixels.values()))


def _within(value: float, limits: tuple[float, float], slack: float) -> bool:
    return limits[0] - slack <= value <= limits[1] + slack
