"""How an object came to move: pushed, grasped, moved by another object, knocked, or part of a fixture."""

import numpy as np
from numpy.typing import NDArray

from fourd_ros.evaluation.tabletop_truth import Truth
from fourd_ros.geometry.transforms import apply, interpolate, invert
from fourd_ros.robot.model import RobotModel

FloatArray = NDArray[np.float64]

PUSHED, GRASPED, INDIRECT, KNOCKED, FIXTURE = "pushed", "grasped", "indirectly moved", "knocked", "fixture part"
CASES = (PUSHED, GRASPED, INDIRECT, KNOCKED, FIXTURE)

SWEEP = "sweep"
"""The behaviour whose contacts are accidents."""

TOUCH = 0.025
"""Fingers have touched an object when their middle line came nearer to its bounding box [m]."""

_FINGER_POINTS = (0.0, -0.015, -0.03, -0.045)
_BETWEEN = 4


def case_of(truth: Truth, index: int, *, carried: bool, robot: RobotModel) -> str:
    """Which of the `CASES` an object that moved belongs to.

    Args:
        truth: what happened.
        index: of the object.
        carried: it moved in the gripper.
        robot: of the episode.
    """
    if _belongs_to_fixture(truth, index):
        return FIXTURE
    if carried:
        return GRASPED
    if SWEEP in truth.episode.tasks:
        return KNOCKED
    return PUSHED if _touched(truth, index, robot) else INDIRECT


def _belongs_to_fixture(truth: Truth, index: int) -> bool:
    """Moving parts are called ``<fixture>_<kind>``."""
    names = truth.episode.object_names
    return any(names[index].startswith(f"{name}_") for name in names)


def _touched(truth: Truth, index: int, robot: RobotModel) -> bool:
    """Whether the fingers came near the object's box, looked at `_BETWEEN` times a frame."""
    fingers = _between(_finger_points(truth, robot))
    poses = truth.episode.object_poses[:, index]
    shares = np.arange(_BETWEEN) / _BETWEEN
    T_world_object = interpolate(poses[:-1, None], poses[1:, None], shares).reshape(-1, 4, 4)
    local = apply(invert(T_world_object), fingers)
    outside = np.maximum(np.abs(local) - truth.episode.object_sizes[index] / 2, 0.0)
    return bool((np.linalg.norm(outside, axis=-1) < TOUCH).any())


def _finger_points(truth: Truth, robot: RobotModel) -> FloatArray:
    """Points on the inner faces of the fingers, from the tips upwards, in the world [m], shape [T + 1, P, 3]."""
    assert robot.gripper is not None
    poses = robot.kinematics.link_poses(truth.episode.measured)
    half = robot.gripper.gaps(poses) / 2
    points = np.zeros((len(half), 2, len(_FINGER_POINTS), 3))
    points[..., 0] = np.stack([-half, half], axis=1)[..., None]
    points[..., 2] = _FINGER_POINTS
    T_world_grasp = poses[robot.gripper.carrier] @ robot.gripper.grasp_frame
    return np.asarray(apply(T_world_grasp, points.reshape(len(half), -1, 3)))


def _between(points: FloatArray) -> FloatArray:
    """`_BETWEEN` sets of points from each frame to the next, shape [T * _BETWEEN, P, 3]."""
    shares = (np.arange(_BETWEEN) / _BETWEEN)[:, None, None]
    ways = points[:-1, None] + shares * (points[1:] - points[:-1])[:, None]
    return ways.reshape(-1, *points.shape[1:])
