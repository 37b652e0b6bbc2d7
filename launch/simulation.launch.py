"""A simulated tabletop with a Panda, its cameras and controllers."""

from launch import LaunchDescription

from fourd_ros.nodes.launching import describe


def generate_launch_description() -> LaunchDescription:
    """Called by launch."""
    return describe("simulation")
