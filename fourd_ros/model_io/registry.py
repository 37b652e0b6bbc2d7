"""Which classes a model folder may name; nothing else is ever imported because a file says so.

A room adds its line here; a program with models of its own adds its line before it loads them::

    NETWORKS["MyNetwork"] = "my_package.network:MyNetwork"
"""

import importlib

from fourd_ros.errors import MissingDependency, UnknownModel
from fourd_ros.machine import pip_install

MODELS: dict[str, str] = {
    "DepthCompleter": "fourd_ros.depth_completion.completer:DepthCompleter",
    "Lpips": "fourd_ros.evaluation.perceptual:Lpips",
}
"""Classes of ``model_index.json``: ``from_components(components, card)`` makes one of its components."""

NETWORKS: dict[str, str] = {
    "DepthCompletionNetwork": "fourd_ros.depth_completion.network:DepthCompletionNetwork",
    "ShiftTolerantLpips": "fourd_ros.evaluation.lpips_network:ShiftTolerantLpips",
}
"""Networks of the library ``fourd_ros``: ``from_config(mapping)`` makes one, ``config`` gives the mapping."""


def find_class(registry: dict[str, str], name: str) -> type:
    """The class registered under `name`, imported now.

    Raises:
        UnknownModel: nothing is registered under that name, or the line leads nowhere.
        MissingDependency: the class needs a module that is not installed.
    """
    if name not in registry:
        known = ", ".join(sorted(registry)) or "none yet"
        raise UnknownModel(f"'{name}' is not registered in fourd_ros.model_io.registry; registered are: {known}")
    module, _, attribute = registry[name].partition(":")
    try:
        found = getattr(importlib.import_module(module), attribute)
    except ModuleNotFoundError as error:
        if error.name and not module.startswith(error.name):
            raise MissingDependency(f"'{name}' needs the module {error.name}: {pip_install(error.name)}") from error
        raise UnknownModel(f"'{name}' is registered as '{registry[name]}', which is no module") from error
    except (ImportError, AttributeError) as error:
        raise UnknownModel(
            f"'{name}' is registered as '{registry[name]}', which cannot be imported: {error}"
        ) from error
    if not isinstance(found, type):
        raise UnknownModel(f"'{name}' is registered as '{registry[name]}', which is no class")
    return found
