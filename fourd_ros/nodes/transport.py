"""Fast DDS settings under which images and clouds larger than its default segment arrive."""

import os

from fourd_ros.resources import find_resource

PROFILE = "config/fastdds_large_messages.xml"
FAST_DDS_2_DISTROS = {"humble", "iron", "jazzy"}


def transport_environment() -> dict[str, str]:
    """The environment variable that points Fast DDS at the shipped profile; empty if the user chose one."""
    older = os.environ.get("ROS_DISTRO") in FAST_DDS_2_DISTROS
    variable = "FASTRTPS_DEFAULT_PROFILES_FILE" if older else "FASTDDS_DEFAULT_PROFILES_FILE"
    return {} if variable in os.environ else {variable: str(find_resource(PROFILE))}


def use_large_messages() -> None:
    """Set :func:`transport_environment` for this process and its children; call it before ``rclpy.init``."""
    os.environ.update(transport_environment())
