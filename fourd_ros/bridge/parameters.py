"""Node parameters: one frozen dataclass a node, from which descriptors, checks and documentation follow."""

import dataclasses
import math
import typing
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from fourd_ros.errors import FourdError, InvalidParameter

P = TypeVar("P")

MAX_INTEGER = 2**63 - 1

FixedWhile = Literal["", "active", "configured"]

_FREE_IN = {"active": ("unconfigured", "inactive"), "configured": ("unconfigured",)}
"""Lifecycle states in which a parameter can be set that is otherwise fixed."""

_FREE_FIRST = {"active": "deactivate the node first", "configured": "deactivate the node and clean it up first"}


@dataclass(frozen=True, kw_only=True)
class Declaration:
    """What a parameter may be, besides its default and type."""

    description: str
    minimum: float | None = None
    maximum: float | None = None
    choices: tuple[Any, ...] = ()
    read_only: bool = False
    fixed_while: FixedWhile = ""

    @property
    def condition(self) -> str:
        """When it can be set, if not always."""
        if self.read_only:
            return "at start only"
        return f"while {' or '.join(_FREE_IN[self.fixed_while])}" if self.fixed_while else ""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of a parameter table."""

    name: str
    type: str
    default: str
    range: str
    description: str


def parameter(
    default: Any,
    description: str,
    *,
    minimum: float | None = None,
    maximum: float | None = None,
    choices: Sequence[Any] = (),
    read_only: bool = False,
    fixed_while: FixedWhile = "",
) -> Any:
    """A field of a parameter dataclass.

    Args:
        default: bool, int, float, str, or a tuple of str, int, float or bool.
        description: one line, with the unit.
        minimum: smallest value of a number (or of each number of a tuple).
        maximum: largest one.
        choices: the values allowed (for a tuple: the elements allowed).
        read_only: set at start only, through YAML or the command line.
        fixed_while: the node takes it over when it is activated ("active") or configured ("configured"), and
            refuses another value until it is no longer so.
    """
    declaration = Declaration(
        description=description,
        minimum=minimum,
        maximum=maximum,
        choices=tuple(choices),
        read_only=read_only,
        fixed_while=fixed_while,
    )
    return dataclasses.field(default=default, metadata={"declaration": declaration})


def declare(
    node: Any,
    cls: type[P],
    *,
    on_change: Callable[[P], None] | None = None,
    state: Callable[[], str] = lambda: "unconfigured",
) -> P:
    """Declare all fields of a parameter dataclass on a node and return their values.

    Called again for the same node it returns the values of now. Later changes (``ros2 param set``) are checked like the
    first values and refused with a reason; an accepted change arrives as a new instance at `on_change`.

    Args:
        node: rclpy node.
        cls: frozen dataclass whose fields are all made by `parameter`.
        on_change: called with the new instance after a change of any of its fields.
        state: label of the lifecycle state of now, for parameters that are fixed in some.

    Raises:
        InvalidParameter: a value given at start has the wrong type, is out of range or none of the choices.
    """
    specifications = _specifications(cls)
    fresh = [spec for spec in specifications.values() if not node.has_parameter(spec.name)]
    for spec in fresh:
        _declare_one(node, spec)
    values = {name: spec.from_ros(node.get_parameter(name).value) for name, spec in specifications.items()}
    current = _make(cls, specifications, values)
    if fresh:
        _follow_changes(node, cls, specifications, current, on_change, state)
    return current


def table(cls: type[Any]) -> list[Row]:
    """The parameters of a dataclass in order of declaration, for documentation."""
    return [
        Row(
            name=spec.name,
            type=spec.type_name,
            default=_shown(spec.default),
            range=spec.range_text,
            description=spec.rule.description,
        )
        for spec in _specifications(cls).values()
    ]


@dataclass(frozen=True, kw_only=True)
class _Specification:
    name: str
    element: type
    is_tuple: bool
    default: Any
    rule: Declaration

    @property
    def type_name(self) -> str:
        return f"{self.element.__name__}[]" if self.is_tuple else self.element.__name__

    @property
    def limits_text(self) -> str:
        rule = self.rule
        if rule.choices:
            return " | ".join(_shown(choice) for choice in rule.choices)
        if rule.minimum is None and rule.maximum is None:
            return ""
        low = "" if rule.minimum is None else _shown(rule.minimum)
        high = "" if rule.maximum is None else _shown(rule.maximum)
        return f"{low} .. {high}".strip()

    @property
    def range_text(self) -> str:
        return ", ".join(filter(None, (self.limits_text, self.rule.condition)))

    def from_ros(self, value: Any) -> Any:
        return tuple(value or ()) if self.is_tuple else value

    def check(self, value: Any) -> None:
        """Raises InvalidParameter unless the value has the type and lies in the range."""
        for element in value if self.is_tuple else (value,):
            if type(element) is not self.element:
                hint = f" (write {element}.0)" if self.element is float and type(element) is int else ""
                self._refuse(element, f"needed {self.type_name}{hint}")
            if self.rule.choices and element not in self.rule.choices:
                self._refuse(element, f"choose one of {list(self.rule.choices)}")
            if self.element in (int, float):
                self._check_number(element)

    def check_change(self, old: Any, new: Any, state: str) -> None:
        """Raises InvalidParameter when a new value would have no effect in this lifecycle state."""
        fixed_while = self.rule.fixed_while
        if fixed_while and new != old and state not in _FREE_IN[fixed_while]:
            raise InvalidParameter(
                f"parameter '{self.name}' can be set {self.rule.condition}, the node is {state}; "
                f"{_FREE_FIRST[fixed_while]}"
            )

    def _check_number(self, number: float) -> None:
        low, high = self.rule.minimum, self.rule.maximum
        if not math.isfinite(number) or (low is not None and number < low) or (high is not None and number > high):
            self._refuse(number, f"needed {self.limits_text or 'a finite number'}")

    def _refuse(self, value: Any, needed: str) -> None:
        raise InvalidParameter(f"parameter '{self.name}' is {_shown(value)}; {needed}")


def _specifications(cls: type[Any]) -> dict[str, _Specification]:
    hints = typing.get_type_hints(cls)
    return {field.name: _specification(field, hints[field.name]) for field in dataclasses.fields(cls)}


def _specification(field: "dataclasses.Field[Any]", hint: Any) -> _Specification:
    is_tuple = typing.get_origin(hint) is tuple
    element = typing.get_args(hint)[0] if is_tuple else hint
    if element not in (bool, int, float, str):
        raise TypeError(f"parameter '{field.name}' is declared as {hint}; ROS knows bool, int, float, str and tuples")
    return _Specification(
        name=field.name,
        element=element,
        is_tuple=is_tuple,
        default=field.default,
        rule=field.metadata["declaration"],
    )


def _declare_one(node: Any, spec: _Specification) -> None:
    from rclpy.exceptions import InvalidParameterTypeException, InvalidParameterValueException, ParameterException

    try:
        if spec.default == ():
            _declare_empty(node, spec)
        else:
            node.declare_parameter(spec.name, spec.default, _descriptor(spec))
    except InvalidParameterTypeException as error:
        raise InvalidParameter(
            f"parameter '{spec.name}' has the wrong type; needed {spec.type_name}: {error}"
        ) from error
    except (InvalidParameterValueException, ParameterException) as error:
        raise InvalidParameter(f"parameter '{spec.name}': {error}; needed {spec.limits_text}") from error


def _declare_empty(node: Any, spec: _Specification) -> None:
    """An empty list does not tell its type, so the type is declared and the value set."""
    from rclpy.parameter import Parameter

    kind = {
        bool: Parameter.Type.BOOL_ARRAY,
        int: Parameter.Type.INTEGER_ARRAY,
        float: Parameter.Type.DOUBLE_ARRAY,
        str: Parameter.Type.STRING_ARRAY,
    }[spec.element]
    declared = node.declare_parameter(spec.name, kind)
    if declared.type_ == Parameter.Type.NOT_SET:
        node.set_parameters([Parameter(spec.name, kind, [])])
    descriptor = _descriptor(spec)
    descriptor.type = kind.value
    node.set_descriptor(spec.name, descriptor)


def _descriptor(spec: _Specification) -> Any:
    from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor

    rule = spec.rule
    choices = f"one of {list(rule.choices)}" if rule.choices else ""
    descriptor = ParameterDescriptor(
        description=rule.description,
        read_only=rule.read_only,
        additional_constraints=", ".join(filter(None, (choices, rule.condition))),
    )
    if spec.is_tuple or (rule.minimum is None and rule.maximum is None):
        return descriptor
    if spec.element is float:
        low = -math.inf if rule.minimum is None else rule.minimum
        high = math.inf if rule.maximum is None else rule.maximum
        descriptor.floating_point_range = [FloatingPointRange(from_value=float(low), to_value=float(high))]
    else:
        low = -MAX_INTEGER if rule.minimum is None else int(rule.minimum)
        high = MAX_INTEGER if rule.maximum is None else int(rule.maximum)
        descriptor.integer_range = [IntegerRange(from_value=low, to_value=high)]
    return descriptor


def _make(cls: type[P], specifications: dict[str, _Specification], values: dict[str, Any]) -> P:
    for name, value in values.items():
        specifications[name].check(value)
    return cls(**values)


def _follow_changes(
    node: Any,
    cls: type[P],
    specifications: dict[str, _Specification],
    current: P,
    on_change: Callable[[P], None] | None,
    state: Callable[[], str],
) -> None:
    """Check every later change against the whole dataclass, and hand over the new instance once it is set."""
    from rcl_interfaces.msg import SetParametersResult

    def changed(parameters: Sequence[Any]) -> dict[str, Any]:
        return {p.name: specifications[p.name].from_ros(p.value) for p in parameters if p.name in specifications}

    def check(parameters: Sequence[Any]) -> Any:
        changes = changed(parameters)
        try:
            for name, value in changes.items():
                specifications[name].check_change(getattr(current, name), value, state())
            _make(cls, specifications, {**_values(current), **changes})
        except (FourdError, ValueError) as error:
            return SetParametersResult(successful=False, reason=str(error))
        return SetParametersResult(successful=True)

    def apply(parameters: Sequence[Any]) -> None:
        nonlocal current
        changes = changed(parameters)
        if not changes:
            return
        current = _make(cls, specifications, {**_values(current), **changes})
        if on_change is not None:
            on_change(current)

    node.add_on_set_parameters_callback(check)
    node.add_post_set_parameters_callback(apply)


def _values(instance: Any) -> dict[str, Any]:
    return {field.name: getattr(instance, field.name) for field in dataclasses.fields(instance)}


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return f"[{', '.join(_shown(element) for element in value)}]"
    if isinstance(value, float):
        return f"{value:g}"
    return f"'{value}'" if isinstance(value, str) else str(value)
