"""Which published checkpoints can be converted.

A room adds its line here; a program with systems of its own adds its line before it converts::

    CONVERTERS["my_system"] = "my_package.conversion:CONVERTER"
"""

from fourd_ros.errors import UnknownSystem
from fourd_ros.model_io.conversion_rules import Converter
from fourd_ros.registries import find_registered

CONVERTERS: dict[str, str] = {
    "com4d": "fourd_ros.compositional.conversion:CONVERTER",
    "kinema4d": "fourd_ros.world_model.kinema4d.conversion:CONVERTER",
    "langsplat_autoencoder": "fourd_ros.scene_language.conversion:CODEC_CONVERTER",
    "langvggt": "fourd_ros.scene_language.conversion:LANGUAGE_CONVERTER",
    "lgm": "fourd_ros.part_dynamics.conversion:LGM_CONVERTER",
    "lpips": "fourd_ros.evaluation.lpips_conversion:CONVERTER",
    "partrm": "fourd_ros.part_dynamics.conversion:CONVERTER",
    "partrm_objaverse": "fourd_ros.part_dynamics.conversion:OBJAVERSE_CONVERTER",
    "raft": "fourd_ros.reconstruction.tracking.raft_conversion:CONVERTER",
    "streamvggt": "fourd_ros.scene_language.conversion:GEOMETRY_CONVERTER",
}
"""Module and name of the `Converter` of each system."""


def find_converter(system: str) -> Converter:
    """The converter of a system, imported now.

    Args:
        system: registered name, or module and name as in `CONVERTERS`.

    Raises:
        UnknownSystem: nothing is registered under that name, or the line leads nowhere.
        MissingDependency: it needs a module that is not installed.
    """
    found = find_registered(CONVERTERS, system, what="converter", error=UnknownSystem, others=True)
    if not isinstance(found, Converter):
        raise UnknownSystem(f"converter '{system}' is a {type(found).__name__}; needed a Converter")
    return found
