"""Imagined futures as ROS 2 data: what happens if the robot does this?"""

__version__ = "0.1.0"
