"""The trainings that `fourd train` knows by name."""

import importlib
from typing import Any

from fourd_ros.errors import UnknownModel

TASKS: dict[str, str] = {
    "depth_completion": "fourd_ros.training.depth_completion:DepthCompletionTask",
}
"""Name -> ``module:Class``, a `TrainingTask`; a model adds its line."""


def load_task(name: str) -> type[Any]:
    """The task class behind a name, or behind ``module:Class`` for a model of your own.

    Raises:
        UnknownModel: no such name, module or class.
    """
    from fourd_ros.training.task import TrainingTask

    module, _, attribute = TASKS.get(name, name).partition(":")
    try:
        found = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, ValueError, TypeError) as error:
        raise UnknownModel(
            f"training '{name}' ({error}); there are {list(TASKS)}; your own is named as 'module:Class'"
        ) from error
    if not (isinstance(found, type) and issubclass(found, TrainingTask)):
        raise UnknownModel(f"training '{name}' is {found!r}; needed a subclass of TrainingTask")
    return found
