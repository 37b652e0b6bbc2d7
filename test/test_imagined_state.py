"""A world that is imagined under all commands since an observation."""

import numpy as np
import pytest
from rig import Rig

from fourd_ros.errors import InvalidTrajectory
from fourd_ros.records import RobotTrajectory
from fourd_ros.world_model.imagined_state import ImaginedState
from fourd_ros.world_model.kinematic import KinematicModel


@pytest.fixture(scope="module")
def rig() -> Rig:
    return Rig()


def imagined(rig: Rig, *, horizon: float = 60.0) -> ImaginedState:
    return ImaginedState(KinematicModel(), rig.robot, rig.observation(), horizon=horizon)


def turn(joint: str, goal: float, *, end: float = 1.0) -> RobotTrajectory:
    """One joint moves from where it is commanded to be to `goal`."""
    return RobotTrajectory(joint_names=(joint,), times=np.array([end]), positions=np.array([[goal]]))


def test_commands_are_followed_from_the_moment_they_are_given(rig: Rig) -> None:
    state = imagined(rig)
    start = dict(state.observation().joint_positions)
    state.advance(np.array([0.5]))
    state.command(turn("panda_joint1", start["panda_joint1"] + 0.4))
    (rollout,) = state.advance(np.array([0.25, 0.5, 1.5]))
    column = rollout.joints.joint_names.index("panda_joint1")
    moved = rollout.joints.positions[:, column] - start["panda_joint1"]
    np.testing.assert_allclose(moved, [0.1, 0.2, 0.4], atol=1e-4)
    np.testing.assert_allclose(rollout.times, [0.75, 1.0, 2.0])
    assert state.now == pytest.approx(2.0)


def test_a_later_command_changes_its_own_joints_and_nothing_that_has_been(rig: Rig) -> None:
    state = imagined(rig)
    start = dict(state.observation().joint_positions)
    state.command(turn("panda_joint1", start["panda_joint1"] + 0.4, end=2.0))
    state.advance(np.array([1.0]))
    before = state.commanded
    state.command(turn("panda_joint2", start["panda_joint2"] - 0.2))
    times = np.linspace(0.0, 3.0, 31)
    after, names = state.commanded.at(times), state.commanded.joint_names
    first, second = names.index("panda_joint1"), names.index("panda_joint2")
    np.testing.assert_allclose(after[times < 0.95], before.at(times)[times < 0.95], atol=1e-9)
    np.testing.assert_allclose(after[:, first], before.at(times)[:, first], atol=1e-6)
    np.testing.assert_allclose(after[-1, second], start["panda_joint2"] - 0.2)


def test_it_goes_on_from_its_own_frame_when_the_horizon_has_passed(rig: Rig) -> None:
    whole, parts = imagined(rig), imagined(rig, horizon=0.8)
    goal = whole.observation().joint_positions["panda_joint1"] + 0.4
    for state in (whole, parts):
        state.command(turn("panda_joint1", goal, end=2.0))
    times = np.arange(1, 11) * 0.2
    (once,) = whole.advance(times)
    several = parts.advance(times)
    assert [len(rollout.times) for rollout in several] == [4, 4, 2]
    assert (whole.anchors, parts.anchors) == (0, 2)
    joined = np.concatenate([rollout.joints.positions for rollout in several])
    np.testing.assert_allclose(joined, once.joints.positions, atol=1e-6)
    assert parts.observation().stamp_ns == whole.observation().stamp_ns


def test_an_instant_beyond_the_horizon_is_imagined_at_once(rig: Rig) -> None:
    state = imagined(rig, horizon=0.5)
    (rollout,) = state.advance(np.array([2.0]))
    assert rollout.times.tolist() == [2.0]
    assert state.anchors == 0


def test_joints_that_are_not_there_are_refused(rig: Rig) -> None:
    state = imagined(rig)
    wrong = RobotTrajectory(joint_names=("elbow",), times=np.array([1.0]), positions=np.zeros((1, 1)))
    with pytest.raises(InvalidTrajectory, match="elbow"):
        state.command(wrong)
