"""Compositional objects beside your camera, or on a bag."""

from launch import LaunchDescription

from fourd_ros.nodes.launching import describe


def generate_launch_description() -> LaunchDescription:
    """Called by launch."""
    return describe("compositional_objects")
