"""Which published checkpoints can be converted.

A room adds its line here; a program with systems of its own adds its line before it converts::

    CONVERTERS["my_system"] = "my_package.conversion:CONVERTER"
"""

import importlib

from fourd_ros.errors import UnknownSystem
from fourd_ros.model_io.conversion import Converter

CONVERTERS: dict[str, str] = {"lpips": "fourd_ros.evaluation.lpips_conversion:CONVERTER"}
"""Module and name of the `Converter` of each system."""


def find_converter(system: str) -> Converter:
    """The converter of a system, imported now.

    Raises:
        UnknownSystem: nothing is registered under that name.
    """
    if system not in CONVERTERS:
        known = ", ".join(sorted(CONVERTERS))
        raise UnknownSystem(f"no converter is registered for the system '{system}'; registered are: {known}")
    module, _, name = CONVERTERS[system].partition(":")
    found = getattr(importlib.import_module(module), name)
    if not isinstance(found, Converter):
        raise UnknownSystem(f"'{system}' is registered as '{CONVERTERS[system]}', which is no Converter")
    return found
