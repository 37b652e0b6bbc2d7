"""Joint states and trajectories: any order is fine, wrong ones are refused by name."""

import numpy as np
import pytest
from builtin_interfaces.msg import Duration
from sensor_msgs.msg import JointState
from std_msgs.msg import Header
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

from fourd_ros.bridge.joints import joint_positions, make_joint_state
from fourd_ros.bridge.times import duration_to_seconds, ns_to_stamp, readable, seconds_to_duration, stamp_to_ns
from fourd_ros.bridge.trajectories import trajectory_from_message, trajectory_to_message
from fourd_ros.errors import InvalidJoints, InvalidTrajectory
from fourd_ros.records import RobotTrajectory

NAN = float("nan")


def test_joint_state_goes_there_and_back_in_any_order():
    message = make_joint_state(Header(), ["b", "a"], np.array([0.5, -1.0]))
    assert joint_positions(message) == {"a": -1.0, "b": 0.5}


def test_velocities_alone_say_nothing_about_positions():
    assert joint_positions(JointState(name=["a"], velocity=[1.0])) == {}


@pytest.mark.parametrize(
    ("names", "positions", "told"),
    [
        (["a", "a"], [0.0, 0.0], "'a'"),
        (["a", "b"], [0.0], "1 positions for 2"),
        (["a", "b"], [0.0, NAN], "'b'"),
        (["a", "b"], [float("inf"), 0.0], "'a'"),
        (["", "b"], [0.0, 0.0], "empty"),
        ([str(i) for i in range(5000)], [0.0] * 5000, "5000"),
    ],
)
def test_bad_joint_states_are_refused(names, positions, told):
    with pytest.raises(InvalidJoints, match=told):
        joint_positions(JointState(name=names, position=positions))


def trajectory(times, positions, names=("a", "b")):
    points = [
        JointTrajectoryPoint(positions=list(p), time_from_start=seconds_to_duration(t))
        for t, p in zip(times, positions, strict=True)
    ]
    return JointTrajectory(joint_names=list(names), points=points)


def test_trajectory_goes_there_and_back():
    motion = RobotTrajectory(
        joint_names=("b", "a"), times=np.array([0.1, 0.25, 2.0]), positions=np.arange(6, dtype=float).reshape(3, 2)
    )
    again = trajectory_from_message(trajectory_to_message(motion, Header()))
    assert again.joint_names == ("b", "a")
    np.testing.assert_allclose(again.times, motion.times, atol=1e-9)
    np.testing.assert_array_equal(again.positions, motion.positions)


@pytest.mark.parametrize(
    ("message", "error"),
    [
        (trajectory([], []), InvalidTrajectory),
        (trajectory([0.0], [[]], names=()), InvalidTrajectory),
        (trajectory([0.0, 0.0], [[0.0, 0.0]] * 2), InvalidTrajectory),
        (trajectory([1.0, 0.5], [[0.0, 0.0]] * 2), InvalidTrajectory),
        (trajectory([-1.0, 0.5], [[0.0, 0.0]] * 2), InvalidTrajectory),
        (trajectory([0.0, 1.0], [[0.0, 0.0], [0.0]]), InvalidTrajectory),
        (trajectory(range(10_001), [[0.0, 0.0]] * 10_001), InvalidTrajectory),
        (trajectory([0.0], [[0.0, NAN]]), InvalidJoints),
        (trajectory([0.0], [[0.0, 0.0]], names=("a", "a")), InvalidJoints),
    ],
    ids=["empty", "no joints", "equal times", "backwards", "negative", "ragged", "too long", "nan", "duplicate"],
)
def test_bad_trajectories_are_refused(message, error):
    with pytest.raises(error):
        trajectory_from_message(message)


def test_stamps_are_exact_where_floats_are_not():
    stamp_ns = 1_767_225_600_123_456_789
    assert stamp_to_ns(ns_to_stamp(stamp_ns)) == stamp_ns
    assert readable(stamp_ns) == "1767225600.123456789"


@pytest.mark.parametrize("seconds", [0.0, 0.1, 1 / 3, -0.25, 86400.0])
def test_durations_go_there_and_back(seconds):
    assert duration_to_seconds(seconds_to_duration(seconds)) == pytest.approx(seconds, abs=1e-9)
    assert seconds_to_duration(-0.25) == Duration(sec=-1, nanosec=750_000_000)
