"""The parts of the demo that need no ROS: reaching, candidates, stages."""

import numpy as np
import pytest
from rig import BOX_MAX, BOX_MIN, Rig

from fourd_ros.demo.candidates import MISS_BY, find_target, plan
from fourd_ros.demo.reach import POINTING_DOWN, ToolPose, follow, tool_pose
from fourd_ros.demo.stages import Stages
from fourd_ros.errors import NoObservation


@pytest.fixture(scope="module")
def rig() -> Rig:
    return Rig(size=96)


def test_the_tool_passes_through_its_poses_within_the_speed_limits(rig: Rig) -> None:
    kinematics = rig.robot.kinematics
    start = kinematics.positions_from(rig.joints)
    goals = [
        ToolPose(time=1.5, position=np.array([0.5, 0.2, 0.2]), opening=1.0),
        ToolPose(time=3.0, position=np.array([0.5, -0.2, 0.05]), opening=0.0),
    ]
    trajectory, path = follow(rig.robot, start, goals)
    np.testing.assert_array_equal(trajectory.positions[0], start)
    for goal in goals:
        T = tool_pose(rig.robot, trajectory.at(np.array([goal.time])))[0]
        np.testing.assert_allclose(T[:3, 3], goal.position, atol=2e-3)
        np.testing.assert_allclose(T[:3, :3], POINTING_DOWN, atol=1e-2)
    np.testing.assert_allclose(path[-1], goals[-1].position, atol=2e-3)
    speeds = np.abs(np.diff(trajectory.positions, axis=0)) / np.diff(trajectory.times)[:, None]
    assert (speeds < kinematics.limits.velocity).all()
    assert trajectory.positions[-1, kinematics.joint_names.index("panda_finger_joint1")] == 0.0


def test_what_is_out_of_reach_is_said(rig: Rig) -> None:
    start = rig.robot.kinematics.positions_from(rig.joints)
    with pytest.raises(NoObservation, match="cannot reach"):
        follow(rig.robot, start, [ToolPose(time=1.0, position=np.array([2.0, 0.0, 0.2]), opening=1.0)])


def test_the_box_on_the_table_is_the_target(rig: Rig) -> None:
    target = find_target(rig.robot, rig.observation(views=("front",)))
    np.testing.assert_allclose(target.low, BOX_MIN, atol=0.015)
    np.testing.assert_allclose(target.high, BOX_MAX, atol=0.015)


def test_hit_and_grasp_meet_the_box_and_miss_does_not(rig: Rig) -> None:
    motions = {motion.name: motion for motion in plan(rig.robot, rig.observation())}
    assert list(motions) == ["hit", "miss", "grasp"]

    def inside(path: np.ndarray, margin: float) -> bool:
        return bool(((path > BOX_MIN - margin) & (path < BOX_MAX + margin)).all(axis=1).any())

    assert inside(motions["hit"].path, 0.0)
    assert inside(motions["grasp"].path, 0.0)
    assert not inside(motions["miss"].path, MISS_BY / 2)
    heights = motions["grasp"].path[:, 2]
    assert heights[-1] > heights.min() + 0.1


def test_stages_are_numbered_and_timed() -> None:
    lines: list[str] = []
    stages = Stages(("look", "judge"), write=lines.append)
    for _ in range(2):
        with stages.next() as remark:
            remark("something")
    assert lines[0] == "[1/2] look ..."
    assert lines[3] == "[2/2] judge ..."
    assert all(line.endswith(" s") for line in (lines[2], lines[5]))
    assert stages.elapsed >= 0
