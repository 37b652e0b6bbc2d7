"""A robot to drive: simulated, or imagined (robot:=imagined)."""

from launch import LaunchDescription

from fourd_ros.nodes.launching import describe


def generate_launch_description() -> LaunchDescription:
    """Called by launch."""
    return describe("robot")
