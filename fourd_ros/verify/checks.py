"""Which check belongs to which file of which system.

A system's checks live in one module, which is imported when that system is verified::

    @check("partrm", "cameras/rays.safetensors")
    def rays(folder: VectorFolder, vectors: Tensors, compare: Comparison) -> None:
        compare("rays", camera_rays(vectors["pose"], vectors["fovy"]))
"""

import importlib
from collections.abc import Callable
from typing import Any

from fourd_ros.errors import UnknownSystem
from fourd_ros.verify.comparison import Comparison
from fourd_ros.verify.manifest import covers
from fourd_ros.verify.vectors import VectorFolder

Check = Callable[[VectorFolder, Any, Comparison], None]

SYSTEMS: dict[str, str] = {
    "com4d": "fourd_ros.verify.com4d",
    "dynamicverse": "fourd_ros.verify.dynamicverse",
    "kinema4d": "fourd_ros.verify.kinema4d",
    "langvggt": "fourd_ros.verify.langvggt",
    "partrm": "fourd_ros.verify.partrm",
}
"""Module with the checks of each system; a room adds its line when it lands."""

_checks: dict[str, dict[str, Check]] = {}


def check(system: str, pattern: str) -> Callable[[Check], Check]:
    """Register a check for the files of `system` that a path or glob means.

    The check receives the folder (to load other files), what the file holds, and the recorder of comparisons.
    """

    def register(function: Check) -> Check:
        _checks.setdefault(system, {})[pattern] = function
        return function

    return register


def find_check(system: str, file: str) -> Check | None:
    """The check of a file: the one with its very path, else the first whose pattern means it."""
    checks = _checks.get(system, {})
    return checks.get(file) or next((one for pattern, one in checks.items() if covers(pattern, file)), None)


def load_system(system: str) -> None:
    """Import the checks of a system.

    Raises:
        UnknownSystem: nothing is registered under that name; the message lists what is.
    """
    if system not in SYSTEMS:
        known = ", ".join(sorted(SYSTEMS)) or "none yet"
        raise UnknownSystem(f"no checks are registered for the system '{system}'; registered are: {known}")
    importlib.import_module(SYSTEMS[system])
