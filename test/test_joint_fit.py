"""Joints from moved points."""

import numpy as np
import pytest

from fourd_ros.errors import InvalidCloud
from fourd_ros.geometry.transforms import apply, rotation_about
from fourd_ros.part_dynamics.joint_fit import JointType, fit_joint


def _door(rng: np.random.Generator, count: int = 300) -> np.ndarray:
    """Points of a plate of 0.4 x 0.6 m with a handle."""
    plate = np.column_stack([rng.uniform(0, 0.4, count), rng.normal(0, 0.003, count), rng.uniform(0, 0.6, count)])
    plate[: count // 10, 1] += 0.04
    return plate


def _turned(points: np.ndarray, origin: np.ndarray, axis: np.ndarray, angle: float) -> np.ndarray:
    T = np.eye(4)
    T[:3, :3] = rotation_about(axis, angle)[:3, :3]
    return apply(T, points - origin) + origin


@pytest.mark.parametrize("degrees", [4.0, 30.0, 90.0, 150.0])
@pytest.mark.parametrize("noise", [0.0, 0.004])
def test_a_door_turns_about_its_hinge(degrees: float, noise: float) -> None:
    rng = np.random.default_rng(int(degrees))
    points, origin, axis = _door(rng), np.array([0.02, 0.0, 0.3]), np.array([0.0, 0.0, 1.0])
    moved = _turned(points, origin, axis, np.deg2rad(degrees)) + rng.normal(0, 1, points.shape) * noise
    joint = fit_joint(points, moved)
    assert joint.kind is JointType.REVOLUTE
    close = 0.002 + 3 * noise / np.deg2rad(degrees)
    assert np.degrees(joint.amount) == pytest.approx(degrees, abs=0.1 + 300 * noise)
    assert joint.axis @ axis > np.cos(np.deg2rad(0.5 + 1500 * noise))
    assert np.linalg.norm((joint.origin - origin)[:2]) < close
    assert joint.residual == pytest.approx(noise * np.sqrt(3), abs=0.25 * noise + 1e-6)
    assert joint.confidence > (0.6 if noise else 0.95) or degrees < 10
    np.testing.assert_allclose(joint.moved(points), moved, atol=6 * noise + 1e-6)


@pytest.mark.parametrize("distance", [0.02, 0.3])
@pytest.mark.parametrize("noise", [0.0, 0.002])
def test_a_drawer_slides(distance: float, noise: float) -> None:
    rng = np.random.default_rng(1)
    points, axis = _door(rng), np.array([0.6, -0.8, 0.0])
    moved = points + distance * axis + rng.normal(0, 1, points.shape) * noise
    joint = fit_joint(points, moved)
    assert joint.kind is JointType.PRISMATIC
    assert joint.amount == pytest.approx(distance, abs=0.001)
    assert joint.axis @ axis > 0.99
    assert joint.confidence > 0.6
    np.testing.assert_allclose(joint.moved(points, 0.5), points + distance / 2 * axis, atol=0.002)


def test_points_that_stayed_behind_do_not_matter() -> None:
    rng = np.random.default_rng(2)
    points = _door(rng)
    moved = _turned(points, np.zeros(3), np.array([0.0, 0.0, -1.0]), 0.6)
    moved[:60] = points[:60]
    joint = fit_joint(points, moved, np.full(len(points), 0.5))
    assert joint.kind is JointType.REVOLUTE
    assert joint.axis[2] < -0.999
    assert joint.amount == pytest.approx(0.6, abs=0.01)


def test_what_does_not_move_has_no_joint() -> None:
    points = _door(np.random.default_rng(3))
    still = fit_joint(points, points.copy())
    assert still.kind is JointType.UNKNOWN and still.confidence == 0 and still.amount == 0
    crumpled = fit_joint(points, points + np.random.default_rng(4).normal(0, 0.05, points.shape))
    assert crumpled.confidence < 0.2


def test_bad_points_are_named() -> None:
    points = _door(np.random.default_rng(5))
    with pytest.raises(InvalidCloud, match="N >= 4"):
        fit_joint(points[:3], points[:3])
    with pytest.raises(InvalidCloud, match="needed are two"):
        fit_joint(points, points[:-1])
    points[0] = np.nan
    with pytest.raises(InvalidCloud, match="finite"):
        fit_joint(points, points)
