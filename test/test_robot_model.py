"""One robot with all its parts."""

from fourd_ros.robot.description import RobotDescription
from fourd_ros.robot.model import RobotModel
from fourd_ros.robot.panda import panda_description


def test_moving_links_are_those_behind_a_joint_that_moves() -> None:
    panda = RobotModel(panda_description())
    assert set(panda.kinematics.link_names) - set(panda.moving_links) == {"panda_link0"}
    assert panda.gripper is not None and panda.gripper.carrier == "panda_hand"


def test_a_robot_without_joints_or_gripper() -> None:
    rock = RobotModel(RobotDescription.from_urdf('<robot name="r"><link name="rock"/></robot>'))
    assert rock.moving_links == () and rock.gripper is None
