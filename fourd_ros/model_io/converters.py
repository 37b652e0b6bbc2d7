"""Which published checkpoints can be converted.

A room adds its line here; a program with systems of its own adds its line before it converts::

    CONVERTERS["my_system"] = "my_package.conversion:CONVERTER"
"""

import importlib

from fourd_ros.errors import UnknownSystem
from fourd_ros.model_io.conversion_rules import Converter

CONVERTERS: dict[str, str] = {"lpips": "fourd_ros.evaluation.lpips_conversion:CONVERTER"}
"""Module and name of the `Converter` of each system."""


def find_converter(system: str) -> Converter:
    """The converter of a system, imported now.

    Args:
        system: registered name, or module and name as in `CONVERTERS`.

    Raises:
        UnknownSystem: nothing is registered under that name, or the line leads nowhere.
    """
    line = system if ":" in system else CONVERTERS.get(system)
    if line is None:
        known = ", ".join(sorted(CONVERTERS))
        raise UnknownSystem(f"no converter is registered for the system '{system}'; registered are: {known}")
    module, _, name = line.partition(":")
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise UnknownSystem(f"the converter '{line}' cannot be imported: {error}") from error
    if not isinstance(found, Converter):
        raise UnknownSystem(f"'{line}' is no Converter but a {type(found).__name__}")
    return found
