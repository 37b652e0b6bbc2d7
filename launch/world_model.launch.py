"""The world model beside your robot or simulator."""

from launch import LaunchDescription

from fourd_ros.nodes.launching import describe


def generate_launch_description() -> LaunchDescription:
    """Called by launch."""
    return describe("world_model")
