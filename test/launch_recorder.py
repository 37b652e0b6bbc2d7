"""Stands in for the names of ``launch`` and ``launch_ros`` that the launch files use, where no full ROS 2 is.

Constructors take the same arguments as the originals (others are a TypeError) and record them;
`resolve` does what ``ros2 launch`` would: take arguments, set the environment, return the nodes.
"""

import importlib.util
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import yaml


@dataclass
class LaunchContext:
    launch_configurations: dict[str, str] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)


@dataclass
class LaunchDescription:
    entities: list[Any]


@dataclass
class LaunchConfiguration:
    variable_name: str

    def perform(self, context: LaunchContext) -> str:
        return context.launch_configurations[self.variable_name]


@dataclass
class SetEnvironmentVariable:
    name: str
    value: str


@dataclass
class DeclareLaunchArgument:
    name: str
    default_value: str | None = field(default=None, kw_only=True)
    description: str | None = field(default=None, kw_only=True)


@dataclass
class OpaqueFunction:
    function: Callable[[LaunchContext], list[Any]] = field(kw_only=True)


@dataclass
class ParameterValue:
    value: Any
    value_type: type | None = field(default=None, kw_only=True)


@dataclass(kw_only=True)
class Node:
    executable: str
    package: str
    name: str | None = None
    namespace: str | None = None
    parameters: list[Any] = field(default_factory=list)
    remappings: list[tuple[str, str]] = field(default_factory=list)
    arguments: list[str] = field(default_factory=list)
    respawn: bool = False
    respawn_delay: float | None = None
    output: str = "log"

    def __post_init__(self) -> None:
        """Parameters become what the started node gets: a plain text is read as YAML, a typed one is not."""
        self.parameters = [
            {name: _evaluated(value) for name, value in source.items()} if isinstance(source, dict) else source
            for source in self.parameters
        ]


def _evaluated(value: Any) -> Any:
    if isinstance(value, ParameterValue):
        return value.value if value.value_type is None else value.value_type(value.value)
    return yaml.safe_load(value) if isinstance(value, str) else value


MODULES: dict[str, tuple[Any, ...]] = {
    "launch": (LaunchContext, LaunchDescription),
    "launch.actions": (DeclareLaunchArgument, OpaqueFunction, SetEnvironmentVariable),
    "launch.substitutions": (LaunchConfiguration,),
    "launch_ros": (),
    "launch_ros.actions": (Node,),
    "launch_ros.parameter_descriptions": (ParameterValue,),
}


@dataclass
class Launched:
    """What a launch file leads to."""

    arguments: dict[str, DeclareLaunchArgument]
    environment: dict[str, str]
    nodes: list[Node]


def resolve(launch_file: Path, given: Mapping[str, str]) -> Launched:
    """Load a launch file and carry it out with the arguments `given`.

    Raises:
        KeyError: an argument that the file does not declare, or one that is used and not declared.
    """
    with _installed():
        spec = importlib.util.spec_from_file_location(launch_file.stem.replace(".", "_"), launch_file)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return _carry_out(module.generate_launch_description(), given)


def _carry_out(description: LaunchDescription, given: Mapping[str, str]) -> Launched:
    context, launched = LaunchContext(), Launched({}, {}, [])
    pending = list(description.entities)
    while pending:
        entity = pending.pop(0)
        if isinstance(entity, DeclareLaunchArgument):
            assert entity.default_value is not None
            assert entity.description
            launched.arguments[entity.name] = entity
            context.launch_configurations[entity.name] = given.get(entity.name, entity.default_value)
        elif isinstance(entity, SetEnvironmentVariable):
            launched.environment[entity.name] = entity.value
        elif isinstance(entity, OpaqueFunction):
            pending = [*entity.function(context), *pending]
        else:
            launched.nodes.append(entity)
    unknown = set(given) - set(launched.arguments)
    if unknown:
        raise KeyError(f"undeclared arguments {unknown}")
    return launched


@contextmanager
def _installed() -> Iterator[None]:
    """The recorder as ``launch`` and ``launch_ros``; what was imported against it is forgotten afterwards."""
    names = (*MODULES, "fourd_ros.nodes.launching")
    before = {name: sys.modules.pop(name) for name in names if name in sys.modules}
    for name, members in MODULES.items():
        module = ModuleType(name)
        module.__dict__.update({member.__name__: member for member in members})
        sys.modules[name] = module
    try:
        yield
    finally:
        for name in names:
            sys.modules.pop(name, None)
        sys.modules.update(before)
