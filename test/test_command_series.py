"""The commanded motion put together from command messages."""

import numpy as np
import pytest

from fourd_ros.data.command_series import CommandSeries
from fourd_ros.errors import InvalidTrajectory
from fourd_ros.records import RobotTrajectory

NS = 1_000_000_000
START = 1_700_000_000 * NS


def trajectory(
    times: list[float], positions: list[list[float]], names: tuple[str, ...] = ("a", "b")
) -> RobotTrajectory:
    return RobotTrajectory(joint_names=names, times=np.array(times), positions=np.array(positions))


def at(series: CommandSeries, seconds: float, horizon: float, *times: float) -> np.ndarray:
    return series.after(START + round(seconds * NS), horizon).at(np.array(times))


def test_a_command_is_followed_from_where_the_joints_were_and_then_held() -> None:
    measured = CommandSeries()
    measured.add_sample({"a": 1.0, "b": 0.0, "c": 5.0}, START)
    series = CommandSeries()
    series.add(trajectory([2.0], [[3.0, 1.0]]), START, measured=measured)
    assert np.allclose(at(series, 0.0, 4.0, 0.0, 1.0, 2.0, 4.0), [[1, 0], [2, 0.5], [3, 1], [3, 1]])
    assert np.allclose(at(series, 1.0, 4.0, 0.0, 1.0, 4.0), [[2, 0.5], [3, 1], [3, 1]])


def test_a_newer_command_overrides_the_rest_of_the_older_one() -> None:
    series = CommandSeries()
    series.add(trajectory([0.0, 2.0], [[0.0, 0.0], [2.0, 2.0]]), START)
    series.add(trajectory([1.0], [[0.0]], ("a",)), START + NS)
    assert np.allclose(at(series, 0.0, 3.0, 0.5, 1.0, 1.5, 2.0, 3.0), [[0.5, 0.5], [1, 1], [0.5, 1.5], [0, 2], [0, 2]])


def test_commands_given_within_the_horizon_belong_to_it() -> None:
    series = CommandSeries()
    series.add(trajectory([0.0, 0.5], [[0.0], [1.0]], ("a",)), START + NS)
    assert np.allclose(at(series, 0.0, 2.0, 0.0, 1.0, 1.25, 2.0)[:, 0], [0, 0, 0.5, 1])
    with pytest.raises(InvalidTrajectory, match="no command within"):
        series.after(START, 0.9)


def test_times_increase_although_commands_come_close_together() -> None:
    series = CommandSeries()
    for index in range(50):
        series.add(trajectory([0.0, 0.5], [[0.1 * index], [0.1 * index + 0.5]], ("a",)), START + index * 200_000)
    found = series.after(START, 1.0)
    assert np.diff(found.times).min() >= 0.999e-3
    assert found.times[0] == 0.0 and found.times[-1] == pytest.approx(1.0)


def test_stamps_of_today_lose_nothing() -> None:
    series = CommandSeries()
    series.add(trajectory([0.001, 0.002], [[1.0], [2.0]], ("a",)), START + 123_456_789)
    assert series.after(START + 123_456_789, 0.01).times[:2] == pytest.approx([0.0, 0.001], abs=1e-12)
