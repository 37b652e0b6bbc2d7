"""The world model on a simulated robot, or on a bag (bag:=PATH)."""

from launch import LaunchDescription

from fourd_ros.nodes.launching import describe


def generate_launch_description() -> LaunchDescription:
    """Called by launch."""
    return describe("demo")
