"""An evaluator of policies, beside nothing else."""

from launch import LaunchDescription

from fourd_ros.nodes.launching import describe


def generate_launch_description() -> LaunchDescription:
    """Called by launch."""
    return describe("policy_evaluator")
