"""Everything the models need to know about one robot."""

from functools import cached_property

from fourd_ros.robot.description import RobotDescription
from fourd_ros.robot.gripper import Gripper, find_gripper
from fourd_ros.robot.kinematics import Kinematics
from fourd_ros.robot.renderer import RobotRenderer


class RobotModel:
    """A robot with its kinematics, its renderer and its gripper.

    Args:
        description: from its URDF.

    Raises:
        MeshUnavailable: a mesh file that is missing, unreadable or too large.
    """

    def __init__(self, description: RobotDescription) -> None:
        self.description = description
        self.kinematics = Kinematics(description)
        self.renderer = RobotRenderer(description)

    @cached_property
    def joint_names(self) -> frozenset[str]:
        """Names of all joints of the description, those that are fixed or follow others included."""
        return frozenset(joint.name for joint in self.description.joints)

    @cached_property
    def gripper(self) -> Gripper | None:
        """The gripper; None where the robot has none that is recognised."""
        return find_gripper(self.description, self.kinematics)

    @property
    def moving_links(self) -> tuple[str, ...]:
        """Names of the links that some joint moves against the root."""
        return self.kinematics.moving_links
