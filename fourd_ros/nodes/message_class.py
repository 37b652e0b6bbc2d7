"""From the name of a message type to its rclpy class."""

import importlib
from typing import Any

from fourd_ros.errors import MissingDependency


def message_class(typename: str) -> Any:
    """The class of a type like ``sensor_msgs/msg/Image``.

    Raises:
        MissingDependency: its package is not installed, or has no such type.
    """
    package, _, name = typename.partition("/")
    group, _, name = name.partition("/")
    try:
        return getattr(importlib.import_module(f"{package}.{group}"), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise MissingDependency(
            f"no Python class for '{typename}'; install the package '{package}' or source its workspace"
        ) from error
