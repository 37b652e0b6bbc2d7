"""Fast DDS settings under which images and clouds larger than its default segment arrive."""

import os

from fourd_ros.resources import find_resource

PROFILE = "config/fastdds_large_messages.xml"

VARIABLES = ("FASTDDS_DEFAULT_PROFILES_FILE", "FASTRTPS_DEFAULT_PROFILES_FILE")
"""Fast DDS 3 (ROS 2 Kilted) and Fast DDS 2 (Jazzy)."""


def use_large_messages() -> None:
    """Point Fast DDS at the shipped profile unless the user chose one; call it before ``rclpy.init``."""
    if not any(name in os.environ for name in VARIABLES):
        for name in VARIABLES:
            os.environ[name] = str(find_resource(PROFILE))
