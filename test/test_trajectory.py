"""Trajectories against a robot: what can be followed, and the motion of all joints."""

import numpy as np
import pytest

from fourd_ros.errors import FourdError, InvalidJoints, InvalidTrajectory, JointLimitExceeded
from fourd_ros.records import RobotTrajectory
from fourd_ros.robot.kinematics import Kinematics
from fourd_ros.robot.panda import PANDA_READY, panda_description
from fourd_ros.robot.trajectory import check_trajectory, complete

KINEMATICS = Kinematics(panda_description())
START = KINEMATICS.positions_from(PANDA_READY)


def moving(joints: tuple[str, ...], times: list[float], positions: list[list[float]]) -> RobotTrajectory:
    return RobotTrajectory(joint_names=joints, times=np.array(times), positions=np.array(positions))


def check(trajectory: RobotTrajectory, **bounds: float) -> None:
    check_trajectory(trajectory, KINEMATICS, START, **bounds)


def test_a_slow_motion_within_limits_is_taken() -> None:
    check(moving(("panda_joint1", "panda_finger_joint1"), [1.0, 2.0], [[0.5, 0.02], [-0.5, 0.0]]))


def test_a_first_point_where_the_robot_is_is_taken() -> None:
    check(moving(("panda_joint1",), [0.0, 1.0], [[0.01], [0.5]]))


@pytest.mark.parametrize(
    ("trajectory", "bounds", "error", "says"),
    [
        (moving(("elbow",), [1.0], [[0.0]]), {}, InvalidJoints, "elbow"),
        (moving(("panda_finger_joint2",), [1.0], [[0.0]]), {}, InvalidJoints, "panda_finger_joint2"),
        (moving(("panda_joint4",), [9.0], [[0.1]]), {}, JointLimitExceeded, "panda_joint4"),
        (moving(("panda_joint2",), [9.0], [[-1.9]]), {}, JointLimitExceeded, "-1.833"),
        (moving(("panda_joint1",), [0.2], [[2.0]]), {}, JointLimitExceeded, "would move at 10"),
        (moving(("panda_joint1",), [1.0, 1.1], [[0.0], [1.0]]), {}, JointLimitExceeded, "point 1"),
        (moving(("panda_joint1",), [0.0], [[1.0]]), {}, JointLimitExceeded, "point 0"),
        (moving(("panda_joint1",), [1.0], [[2.5]]), {"speed_tolerance": 1.0}, JointLimitExceeded, "more time"),
        (moving(("panda_joint1",), [1.0, 2.0], [[0.0], [0.0]]), {"max_points": 1}, InvalidTrajectory, "2 points"),
        (moving(("panda_joint1",), [61.0], [[0.0]]), {"max_duration": 60.0}, InvalidTrajectory, "61"),
    ],
)
def test_what_cannot_be_followed_is_refused(
    trajectory: RobotTrajectory, bounds: dict[str, float], error: type[FourdError], says: str
) -> None:
    with pytest.raises(error, match=says):
        check(trajectory, **bounds)


@pytest.mark.parametrize(
    ("joints", "times", "positions", "error"),
    [
        (("panda_joint1",), [], np.zeros((0, 1)), InvalidTrajectory),
        ((), [1.0], np.zeros((1, 0)), InvalidTrajectory),
        (("panda_joint1",), [1.0, 1.0], np.zeros((2, 1)), InvalidTrajectory),
        (("panda_joint1",), [2.0, 1.0], np.zeros((2, 1)), InvalidTrajectory),
        (("panda_joint1",), [-1.0], np.zeros((1, 1)), InvalidTrajectory),
        (("panda_joint1",), [1.0], np.zeros((1, 2)), InvalidTrajectory),
        (("panda_joint1",) * 2, [1.0], np.zeros((1, 2)), InvalidJoints),
        (("panda_joint1",), [1.0], np.full((1, 1), np.nan), InvalidJoints),
    ],
)
def test_records_that_mean_nothing_are_refused(
    joints: tuple[str, ...], times: list[float], positions: np.ndarray, error: type[FourdError]
) -> None:
    with pytest.raises(error):
        RobotTrajectory(joint_names=joints, times=np.array(times), positions=positions)


def test_joints_that_are_not_commanded_hold_from_the_observed_posture() -> None:
    whole = complete(moving(("panda_joint3", "panda_joint1"), [1.0, 2.0], [[0.3, 0.1], [0.6, 0.2]]), KINEMATICS, START)
    assert whole.joint_names == KINEMATICS.joint_names
    np.testing.assert_array_equal(whole.times, [0, 1, 2])
    np.testing.assert_array_equal(whole.positions[:, [2, 0]], [START[[2, 0]], [0.3, 0.1], [0.6, 0.2]])
    others = [1, 3, 4, 5, 6, 7]
    np.testing.assert_array_equal(whole.positions[:, others], np.tile(START[others], (3, 1)))


def test_a_commanded_first_instant_is_kept() -> None:
    whole = complete(moving(("panda_joint1",), [0.0, 1.0], [[0.1], [0.2]]), KINEMATICS, START)
    np.testing.assert_array_equal(whole.positions[:, 0], [0.1, 0.2])


def test_a_gripper_is_told_where_to_go_not_how() -> None:
    close = moving(("panda_finger_joint1",), [0.0, 0.1], [[0.0], [0.04]])
    check_trajectory(close, KINEMATICS, START, targets=("panda_finger_joint1",))
    with pytest.raises(JointLimitExceeded, match="panda_finger_joint1"):
        check_trajectory(close, KINEMATICS, START)
