"""What is found by name: lines ``module:attribute``, imported only when they are asked for."""

import importlib
from collections.abc import Mapping

from fourd_ros.errors import FourdError, MissingDependency
from fourd_ros.machine import pip_install


def find_registered(
    registry: Mapping[str, str], name: str, *, what: str, error: type[FourdError], others: bool
) -> object:
    """What a registered name stands for, imported now.

    Args:
        registry: name -> ``module:attribute``.
        name: of it.
        what: it is, for the messages.
        error: what is raised.
        others: whether `name` may itself be ``module:attribute``, for things of a user's own.

    Raises:
        FourdError: `error`, where nothing is registered under that name or the line leads nowhere.
        MissingDependency: it needs a module that is not installed.
    """
    there = f"there are {sorted(registry)}" + ("; your own is named as 'module:name'" if others else "")
    line = registry.get(name, name if others and ":" in name else None)
    if line is None:
        raise error(f"{what} '{name}' is not registered; {there}")
    module, _, attribute = line.partition(":")
    try:
        return getattr(importlib.import_module(module), attribute)
    except ModuleNotFoundError as cause:
        if cause.name and not f"{module}.".startswith(f"{cause.name}."):
            raise MissingDependency(
                f"{what} '{name}' needs the module {cause.name}: {pip_install(cause.name)}"
            ) from cause
        raise error(f"{what} '{name}' is '{line}', which is no module; {there}") from cause
    except (ImportError, AttributeError, ValueError, TypeError) as cause:
        raise error(f"{what} '{name}' is '{line}', which cannot be imported: {cause}; {there}") from cause
