"""Forward kinematics, with MuJoCo's of the same URDF as the reference."""

import mujoco
import numpy as np
import pytest

from fourd_ros.errors import InvalidJoints
from fourd_ros.robot.description import RobotDescription
from fourd_ros.robot.kinematics import Kinematics
from fourd_ros.robot.panda import PANDA_READY, PANDA_URDF, panda_description


@pytest.fixture(scope="module")
def panda() -> Kinematics:
    return Kinematics(panda_description())


def random_postures(kinematics: Kinematics, count: int) -> np.ndarray:
    return np.random.default_rng(0).uniform(kinematics.limits.lower, kinematics.limits.upper, (count, 8))


def test_link_poses_are_mujocos(panda: Kinematics) -> None:
    model = mujoco.MjSpec.from_file(str(PANDA_URDF)).compile()
    data = mujoco.MjData(model)
    postures = random_postures(panda, 20)
    poses = panda.link_poses(postures)
    for index, posture in enumerate(postures):
        for name, position in zip(panda.joint_names, posture, strict=True):
            data.joint(name).qpos = position
        data.joint("panda_finger_joint2").qpos = posture[-1]
        mujoco.mj_kinematics(model, data)
        for link in panda.link_names:
            body = data.body(link) if link != panda.root else data.body(0)
            np.testing.assert_allclose(poses[link][index, :3, 3], body.xpos, atol=1e-9)
            np.testing.assert_allclose(poses[link][index, :3, :3], body.xmat.reshape(3, 3), atol=1e-9)


def test_any_batch_of_postures(panda: Kinematics) -> None:
    postures = random_postures(panda, 6)
    many = panda.link_poses(postures.reshape(2, 3, 8))
    one = panda.link_poses(postures[4])
    for link in panda.link_names:
        assert many[link].shape == (2, 3, 4, 4) and one[link].shape == (4, 4)
        np.testing.assert_allclose(many[link][1, 1], one[link], atol=1e-12)


def test_mimic_joints_follow_and_are_not_actuated(panda: Kinematics) -> None:
    assert panda.joint_names == (*(f"panda_joint{i}" for i in range(1, 8)), "panda_finger_joint1")
    poses = panda.link_poses(panda.positions_from(PANDA_READY))
    fingers = np.linalg.inv(poses["panda_hand"]) @ [poses["panda_leftfinger"], poses["panda_rightfinger"]]
    np.testing.assert_allclose(fingers[:, :3, 3], [[0, 0.04, 0.0584], [0, -0.04, 0.0584]], atol=1e-12)


def test_chains_of_mimic_joints_and_offsets() -> None:
    def joint(name: str, parent: str, child: str, mimic: str = "") -> str:
        return (
            f'<joint name="{name}" type="prismatic"><parent link="{parent}"/><child link="{child}"/>'
            f'<axis xyz="0 0 2"/><limit lower="-1" upper="1" velocity="1"/>{mimic}</joint>'
        )

    text = (
        '<robot name="r"><link name="a"/><link name="b"/><link name="c"/><link name="d"/>'
        + joint("first", "a", "b", '<mimic joint="second" multiplier="2" offset="0.1"/>')
        + joint("second", "a", "c", '<mimic joint="third" multiplier="-1" offset="0.5"/>')
        + joint("third", "a", "d")
        + "</robot>"
    )
    kinematics = Kinematics(RobotDescription.from_urdf(text))
    assert kinematics.joint_names == ("third",)
    poses = kinematics.link_poses(np.array([0.2]))
    np.testing.assert_allclose([poses[link][2, 3] for link in "bcd"], [2 * 0.3 + 0.1, 0.5 - 0.2, 0.2])


def test_a_robot_without_joints_is_its_root() -> None:
    kinematics = Kinematics(RobotDescription.from_urdf('<robot name="r"><link name="rock"/></robot>'))
    assert kinematics.joint_names == ()
    np.testing.assert_array_equal(kinematics.link_poses(np.zeros((3, 0)))["rock"], np.tile(np.eye(4), (3, 1, 1)))


def test_positions_in_any_order(panda: Kinematics) -> None:
    permuted = dict(reversed(PANDA_READY.items())) | {"another_robot": np.nan}
    np.testing.assert_array_equal(panda.positions_from(permuted), list(PANDA_READY.values()))


def test_missing_and_senseless_positions(panda: Kinematics) -> None:
    partly = {name: position for name, position in PANDA_READY.items() if name != "panda_joint3"}
    with pytest.raises(InvalidJoints, match="panda_joint3"):
        panda.positions_from(partly)
    assert panda.positions_from({}, strict=False)[3] == 0
    with pytest.raises(InvalidJoints, match="panda_joint2"):
        panda.positions_from(PANDA_READY | {"panda_joint2": np.nan})
    with pytest.raises(InvalidJoints):
        panda.link_poses(np.zeros(7))
