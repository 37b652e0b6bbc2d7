"""The robot that comes with this package."""

from fourd_ros.robot.description import RobotDescription
from fourd_ros.robot.mesh_paths import OWN_PACKAGE, OWN_ROOT

PANDA_URDF = OWN_ROOT / "assets" / "panda" / "panda.urdf"
"""Franka Emika Panda with its hand; mesh references are relative to the file."""

PANDA_READY = {
    "panda_joint1": 0.0,
    "panda_joint2": -0.785398,
    "panda_joint3": 0.0,
    "panda_joint4": -2.356194,
    "panda_joint5": 0.0,
    "panda_joint6": 1.570796,
    "panda_joint7": 0.785398,
    "panda_finger_joint1": 0.04,
}
"""The usual posture before a task, gripper open [rad | m]."""


def panda_description() -> RobotDescription:
    """The Panda; its `text` names the meshes by ``package://``, so that it can be published as it is."""
    text = PANDA_URDF.read_text(encoding="utf-8")
    return RobotDescription.from_urdf(text.replace('"meshes/', f'"package://{OWN_PACKAGE}/assets/panda/meshes/'))
