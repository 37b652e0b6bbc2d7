"""A part that a timid network moves too little goes where it is pulled; what is not pulled stays."""

import numpy as np
import pytest

from fourd_ros.geometry.transforms import rotation_about
from fourd_ros.part_dynamics.drags import SpaceDrags
from fourd_ros.part_dynamics.gaussians import Gaussians
from fourd_ros.part_dynamics.joint_fit import JointType
from fourd_ros.part_dynamics.model import PartMotion, motion_between
from fourd_ros.part_dynamics.pulled_part import as_pulled

HINGE = np.array([0.4, 0.0, 0.0])
SHARE = 0.4
"""Of the true motion that is predicted."""


def gaussians(positions: np.ndarray) -> Gaussians:
    values = np.full((len(positions), 14), 0.5, np.float32)
    values[:, :3], values[:, 3] = positions, 0.9
    return Gaussians(values=values)


def scene() -> tuple[np.ndarray, np.ndarray]:
    """A door in the plane y = 0 and a box behind it; which points are the door's."""
    rng = np.random.default_rng(0)
    door = np.stack([rng.uniform(-0.4, 0.4, 300), np.zeros(300), rng.uniform(-0.3, 0.3, 300)], axis=1)
    box = rng.uniform([-0.4, 0.1, -0.3], [0.4, 0.6, 0.3], (300, 3))
    return np.concatenate([door, box]), np.arange(600) < 300


def predicted(before: np.ndarray, after: np.ndarray) -> PartMotion:
    """A prediction that goes a share of the way, and is noisy."""
    noise = np.random.default_rng(1).normal(scale=0.004, size=before.shape)
    return motion_between(gaussians(before), gaussians(before + SHARE * (after - before) + noise))


def drag(before: np.ndarray, after: np.ndarray, *rows: int) -> SpaceDrags:
    chosen = list(rows)
    return SpaceDrags(start=before[chosen], displacement=(after - before)[chosen])


@pytest.mark.parametrize("handles", [1, 3])
def test_a_door_opens_as_far_as_its_handle_is_pulled(handles: int) -> None:
    before, door = scene()
    after, angle = before.copy(), 0.7
    after[door] = (before[door] - HINGE) @ rotation_about([0, 0, 1], angle).T + HINGE
    far = np.argsort(before[:, 0] + 10 * ~door)[:handles]
    timid = predicted(before, after)
    pulled = as_pulled(timid, drag(before, after, *far))
    joint = pulled.joint
    assert joint is not None and joint.kind is JointType.REVOLUTE and 0 < joint.confidence <= 1
    assert joint.amount == pytest.approx(angle, abs=0.08) and joint.axis[2] > 0.98
    assert np.linalg.norm(joint.origin[:2] - HINGE[:2]) < 0.06
    way = np.linalg.norm(after - before, axis=1)[door].mean()
    assert np.linalg.norm(pulled.after.positions - after, axis=1)[door].mean() < 0.2 * way
    assert np.linalg.norm(timid.after.positions - after, axis=1)[door].mean() > 0.5 * way
    assert not pulled.displacement[~door].any()


def test_a_drawer_slides_as_far_as_it_is_pulled() -> None:
    before, front = scene()
    after = before + front[:, None] * np.array([0.0, -0.3, 0.0])
    pulled = as_pulled(predicted(before, after), drag(before, after, 7))
    assert pulled.joint is not None and pulled.joint.kind is JointType.PRISMATIC
    assert np.allclose(pulled.joint.axis, [0, -1, 0]) and pulled.joint.amount == pytest.approx(0.3)
    assert np.abs(pulled.after.positions - after).max() < 1e-6


def test_a_prediction_that_no_turn_about_its_axis_brings_to_the_drag_is_a_shift() -> None:
    before, door = scene()
    after = before.copy()
    after[door] = (before[door] - HINGE) @ rotation_about([0, 0, 1], 0.5).T + HINGE
    up = SpaceDrags(start=before[[0]], displacement=np.array([[0.0, 0.0, 0.2]]))
    joint = as_pulled(predicted(before, after), up).joint
    assert joint is not None and joint.kind is JointType.PRISMATIC and np.allclose(joint.axis, [0, 0, 1])


def test_what_is_not_moved_or_not_pulled_stays_as_predicted() -> None:
    before, _ = scene()
    still = motion_between(gaussians(before), gaussians(before))
    assert as_pulled(still, drag(before, before + 0.1, 0)) is still
    moved = motion_between(gaussians(before), gaussians(before + 0.1))
    assert as_pulled(moved, drag(before, before, 0)) is moved
