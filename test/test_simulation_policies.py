"""Planning, following, and whether policies do what their names promise."""

from functools import cache

import numpy as np
import pytest

pytest.importorskip("mujoco")

from fourd_ros.errors import UnknownTask
from fourd_ros.records import RobotTrajectory
from fourd_ros.robot.trajectory_follower import TrajectoryFollower
from fourd_ros.simulation.acting import act
from fourd_ros.simulation.controller import (
    ARM_JOINTS,
    JOINTS,
    SPEED_LIMITS,
    Waypoint,
    gripper_rotation,
    nearest_yaw,
    plan,
)
from fourd_ros.simulation.policies import POLICIES, find_policy
from fourd_ros.simulation.recording import record, scene_options
from fourd_ros.simulation.scene import sample_scene
from fourd_ros.simulation.simulator import Simulator
from fourd_ros.simulation.tasks import TASK_KINDS, sample_task


@cache
def succeeded(task: str, policy: str, seed: int) -> bool:
    """One attempt without pictures."""
    spec = sample_scene(seed, scene_options([task], cameras=()))
    with Simulator(spec) as simulator:
        return record(simulator, [task], policy=policy, seed=seed, rate=5, max_duration=30).success


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("task", TASK_KINDS)
def test_experts_succeed(task: str, seed: int) -> None:
    assert succeeded(task, "expert", seed)


@pytest.mark.parametrize("policy", ["freeze", "half_way", "random"])
def test_policies_that_do_not_finish_fail(policy: str) -> None:
    assert not any(succeeded(task, policy, seed) for task in ("push", "pick_place") for seed in (1, 2))
    assert not succeeded("open_lid", policy, 1)


def test_worse_aim_fails_more_often() -> None:
    def rate(policy: str) -> float:
        return float(
            np.mean([succeeded(task, policy, seed) for task in ("push", "pick_place") for seed in range(1, 5)])
        )

    assert rate("expert") == 1.0
    assert rate("noise_6cm") < 0.8


def test_names_are_checked() -> None:
    with pytest.raises(UnknownTask, match="expert"):
        find_policy("genius")
    spec = sample_scene(0, scene_options(["push"], cameras=()))
    with pytest.raises(UnknownTask, match="pick_place"):
        sample_task("juggle", spec, seed=0)
    with pytest.raises(UnknownTask, match="too few"):
        sample_task("push", spec, seed=0, exclude={item.name for item in spec.objects})
    with pytest.raises(UnknownTask, match="one fixture"):
        scene_options(["open_lid", "close_drawer"], cameras=())


@pytest.fixture(scope="module")
def simulator() -> Simulator:
    return Simulator(sample_scene(4, scene_options(["push"], cameras=())))


@pytest.mark.parametrize("policy", POLICIES)
def test_motions_start_where_the_robot_is_and_keep_the_limits(simulator: Simulator, policy: str) -> None:
    task = sample_task("push", simulator.spec, seed=4)
    motion = act(find_policy(policy), task, simulator, seed=4)
    again = act(find_policy(policy), task, simulator, seed=4)
    assert np.array_equal(motion.positions, again.positions)
    assert motion.joint_names == JOINTS
    assert np.allclose(motion.positions[0], list(simulator.commanded_positions().values()))
    speeds = np.abs(np.diff(motion.positions, axis=0)) / np.diff(motion.times)[:, None]
    assert (speeds <= np.array([SPEED_LIMITS[name] for name in JOINTS]) + 1e-9).all()
    limits = np.array([simulator.model.joint(name).range for name in JOINTS])
    assert ((motion.positions >= limits[:, 0] - 1e-9) & (motion.positions <= limits[:, 1] + 1e-9)).all()


def test_a_plan_ends_at_its_waypoints(simulator: Simulator) -> None:
    kinematics = simulator.kinematics()
    goals = [
        Waypoint(position=np.array([0.5, 0.2, 0.1]), yaw=0.6, finger=0.0, pause=0.5),
        Waypoint(position=np.array([0.4, -0.2, 0.3]), yaw=-0.4, pitch=0.3),
    ]
    for count in (1, 2):
        motion = plan(kinematics, goals[:count], simulator.commanded_positions())
        position, rotation = kinematics.pose(motion.positions[-1, : len(ARM_JOINTS)])
        goal = goals[count - 1]
        assert np.linalg.norm(position - goal.position) < 1e-3
        assert np.allclose(rotation, gripper_rotation(goal.yaw, goal.pitch), atol=5e-3)
    assert motion.positions[:, -1].min() == 0.0


def test_the_straight_way_is_straight(simulator: Simulator) -> None:
    kinematics = simulator.kinematics()
    there = plan(kinematics, [Waypoint(position=np.array([0.4, -0.2, 0.1]), yaw=0.0)], simulator.commanded_positions())
    start = dict(zip(JOINTS, there.positions[-1].tolist(), strict=True))
    across = plan(kinematics, [Waypoint(position=np.array([0.5, 0.25, 0.1]), yaw=0.0)], start)
    points = np.array([kinematics.pose(row[: len(ARM_JOINTS)])[0] for row in across.positions])
    along = (points[-1] - points[0]) / np.linalg.norm(points[-1] - points[0])
    offset = points - points[0]
    assert np.linalg.norm(offset - (offset @ along)[:, None] * along, axis=1).max() < 2e-3


def test_the_gripper_never_turns_more_than_a_quarter() -> None:
    for yaw in np.linspace(-7, 7, 50):
        near = nearest_yaw(yaw, 0.3)
        assert abs(near - 0.3) <= np.pi / 2 + 1e-9
        assert np.isclose(np.sin(2 * near), np.sin(2 * yaw)) and np.isclose(np.cos(2 * near), np.cos(2 * yaw))


def motion(times: list[float], positions: list[float], name: str = "a") -> RobotTrajectory:
    return RobotTrajectory(joint_names=(name,), times=np.array(times), positions=np.array(positions)[:, None])


def test_joints_that_are_not_named_keep_their_command() -> None:
    follower = TrajectoryFollower({"a": 0.0, "b": 5.0})
    follower.follow(motion([0.0, 2.0], [0.0, 1.0]), start=10.0, now=10.0)
    positions, velocities = follower.setpoint(11.0)
    assert positions == {"a": 0.5, "b": 5.0}
    assert velocities == {"a": 0.5, "b": 0.0}
    assert follower.setpoint(99.0) == ({"a": 1.0, "b": 5.0}, {"a": 0.0, "b": 0.0})
    assert follower.end == 12.0


def test_a_late_first_point_is_reached_from_where_the_command_stands() -> None:
    follower = TrajectoryFollower({"a": 1.0})
    follower.follow(motion([2.0], [3.0]), start=10.0, now=10.0)
    assert follower.setpoint(11.0)[0]["a"] == pytest.approx(2.0)


def test_a_newer_trajectory_takes_over_without_a_jump() -> None:
    follower = TrajectoryFollower({"a": 0.0})
    follower.follow(motion([0.0, 2.0], [0.0, 2.0]), start=0.0, now=0.0)
    follower.follow(motion([1.0], [0.0]), start=1.0, now=1.0)
    assert follower.setpoint(1.0)[0]["a"] == pytest.approx(1.0)
    assert follower.setpoint(1.5)[0]["a"] == pytest.approx(0.5)
    follower.hold(now=1.5)
    assert follower.setpoint(9.0)[0]["a"] == pytest.approx(0.5)
    assert follower.end == -np.inf
