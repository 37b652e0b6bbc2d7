"""Settings: frozen dataclasses that are read strictly from YAML with overrides."""

import dataclasses
import enum
import math
import re
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import MISSING, dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar

import yaml

from fourd_ros.errors import InvalidConfig
from fourd_ros.whole_file import write_whole

C = TypeVar("C")


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What a field of a configuration means and may be, besides its type."""

    description: str
    minimum: float = -math.inf
    maximum: float = math.inf
    above: float = -math.inf
    changes_result: bool = True

    @property
    def range_text(self) -> str:
        """The range of a number; empty where every finite one is legal."""
        parts = [
            f">= {self.minimum:.10g}" if math.isfinite(self.minimum) else "",
            f"> {self.above:.10g}" if math.isfinite(self.above) else "",
            f"<= {self.maximum:.10g}" if math.isfinite(self.maximum) else "",
        ]
        return " and ".join(filter(None, parts))

    def allows(self, number: float) -> bool:
        """Whether a number is finite and in the range."""
        return math.isfinite(number) and self.above < number and self.minimum <= number <= self.maximum


def setting(
    default: Any,
    description: str,
    *,
    minimum: float = -math.inf,
    maximum: float = math.inf,
    above: float = -math.inf,
    changes_result: bool = True,
) -> Any:
    """A field of a configuration dataclass.

    Args:
        default: value; a class is called for it; ``MISSING`` for a field that has to be given.
        description: one line, with the unit.
        minimum: smallest number (of a tuple: smallest element).
        maximum: largest number.
        above: numbers have to be larger than this.
        changes_result: False for what a resumed run may change, since the weights stay the same up to rounding.
    """
    rule = Setting(
        description=description, minimum=minimum, maximum=maximum, above=above, changes_result=changes_result
    )
    metadata = {"setting": rule}
    if isinstance(default, type):
        return field(default_factory=default, metadata=metadata)
    return field(default=default, metadata=metadata)


@dataclass(frozen=True, kw_only=True)
class Difference:
    """A setting that two configurations do not share."""

    key: str
    before: Any
    after: Any
    changes_result: bool

    def __str__(self) -> str:
        return f"{self.key}: {_shown(self.before)} -> {_shown(self.after)}"


@dataclass(frozen=True, kw_only=True)
class SettingRow:
    """One line of a table of settings."""

    key: str
    type: str
    default: str
    range: str
    description: str


def read_config(cls: type[C], path: str | Path | None = None, overrides: Sequence[str] = ()) -> C:
    """Read a configuration; every key has to be known and every value has to fit.

    Args:
        cls: frozen dataclass whose fields are made by `setting`; they may be bool, int, float, str, `Path`, enums,
            literals, tuples, mappings, dataclasses, and any of them or None.
        path: YAML file (without one: the defaults).
        overrides: such as ``training.steps=100``; the value is YAML.

    Raises:
        InvalidConfig: what is wrong, where, and what would be legal.
    """
    tree = {} if path is None else _read_yaml(Path(path))
    for override in overrides:
        _override(tree, override)
    return make_config(cls, tree)


def make_config(cls: type[C], tree: Mapping[str, Any]) -> C:
    """A configuration from a tree of plain values, as strict as `read_config`."""
    return typing.cast(C, _dataclass(cls, tree, ""))


def config_tree(config: Any) -> dict[str, Any]:
    """A configuration as plain values, which YAML and JSON hold."""
    return {f.name: _plain(getattr(config, f.name)) for f in dataclasses.fields(config)}


def config_text(config: Any) -> str:
    """A configuration as YAML, with every default written out."""
    return str(yaml.safe_dump(config_tree(config), sort_keys=False))


def write_config(config: Any, path: Path) -> None:
    """Write `config_text` to a file, whole or not at all."""
    write_whole(path, config_text(config))


def differences(before: C, after: C) -> list[Difference]:
    """The settings in which two configurations of one class differ, with dotted keys."""
    return list(_differences(before, after, ""))


def setting_rows(cls: type[Any]) -> list[SettingRow]:
    """All settings of a configuration class with dotted keys, for help and documentation."""
    return list(_rows(cls, ""))


class _Loader(yaml.SafeLoader):
    """YAML in which `no` is a word, `1e-4` a number, and a key cannot be given twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        twice = sorted({str(key) for key in keys if keys.count(key) > 1})
        if twice:
            raise yaml.constructor.ConstructorError(None, None, f"{twice} given twice", node.start_mark)
        return super().construct_mapping(node, deep)


def _plain_yaml() -> None:
    removed = {"tag:yaml.org,2002:bool", "tag:yaml.org,2002:float", "tag:yaml.org,2002:timestamp"}
    _Loader.yaml_implicit_resolvers = {
        first: [(tag, pattern) for tag, pattern in resolvers if tag not in removed]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }
    _Loader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile(r"^(true|false)$"), list("tf"))
    number = re.compile(r"^[-+]?((\d+\.\d*|\.\d+)([eE][-+]?\d+)?|\d+[eE][-+]?\d+|\.inf|\.nan)$")
    _Loader.add_implicit_resolver("tag:yaml.org,2002:float", number, list("-+.0123456789"))


_plain_yaml()


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        tree = yaml.load(path.read_text(encoding="utf-8"), _Loader)
    except OSError as error:
        raise InvalidConfig(f"'{path}' cannot be read ({error.strerror}); name a YAML file") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InvalidConfig(f"'{path}' is not YAML: {error}") from error
    if tree is None:
        return {}
    if not isinstance(tree, dict):
        raise InvalidConfig(f"'{path}' holds {_shown(tree)}; needed keys with values")
    return tree


def _override(tree: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    path = key.strip().split(".")
    if not equals or not all(path):
        raise InvalidConfig(f"'{override}' is not of the form key=value, such as training.steps=100")
    try:
        value = yaml.load(text, _Loader)
    except yaml.YAMLError as error:
        raise InvalidConfig(f"the value of '{override}' is not YAML: {error}") from error
    for name in path[:-1]:
        if not isinstance(tree.get(name), dict):
            tree[name] = {}
        tree = tree[name]
    tree[path[-1]] = value


def _dataclass(cls: type[Any], value: Any, key: str) -> Any:
    if not isinstance(value, Mapping):
        raise InvalidConfig(f"'{key}' is {_shown(value)}; needed the keys {_names(cls)}")
    unknown = [str(name) for name in value if name not in _names(cls)]
    if unknown:
        where = f"'{key}'" if key else "the configuration"
        raise InvalidConfig(f"{where} has no {unknown}; its keys are {_names(cls)}")
    hints = typing.get_type_hints(cls)
    given = {
        f.name: _value(hints[f.name], value[f.name], _below(key, f.name), f.metadata["setting"])
        for f in dataclasses.fields(cls)
        if f.name in value
    }
    missing = [f.name for f in dataclasses.fields(cls) if _is_required(f) and f.name not in given]
    if missing:
        raise InvalidConfig(f"'{_below(key, missing[0])}' has to be given: {_rule(cls, missing[0]).description}")
    try:
        return cls(**given)
    except (InvalidConfig, ValueError) as error:
        raise InvalidConfig(f"'{key}': {error}" if key else str(error)) from error


def _value(hint: Any, value: Any, key: str, rule: Setting) -> Any:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if dataclasses.is_dataclass(hint):
        return _dataclass(typing.cast(type[Any], hint), value, key)
    if origin in (typing.Union, types.UnionType):
        return _any_of(arguments, value, key, rule)
    if origin is Literal:
        return _choice({str(choice): choice for choice in arguments}, value, key)
    if origin is tuple:
        return _tuple(arguments, value, key, rule)
    if origin in (dict, Mapping):
        return _mapping(arguments[1], value, key, rule)
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        return _choice({str(member.value): member for member in hint}, value, key)
    if hint is Path and isinstance(value, str):
        return Path(value)
    return _scalar(hint, value, key, rule)


def _any_of(hints: tuple[Any, ...], value: Any, key: str, rule: Setting) -> Any:
    if value is None and types.NoneType in hints:
        return None
    wanted = [hint for hint in hints if hint is not types.NoneType]
    if len(wanted) == 1:
        return _value(wanted[0], value, key, rule)
    for hint in wanted:
        try:
            return _value(hint, value, key, rule)
        except InvalidConfig:
            continue
    raise InvalidConfig(f"'{key}' is {_shown(value)}; needed {' or '.join(map(_type_name, hints))}")


def _choice(choices: Mapping[str, Any], value: Any, key: str) -> Any:
    if isinstance(value, Mapping | list) or str(value) not in choices:
        raise InvalidConfig(f"'{key}' is {_shown(value)}; choose one of {list(choices)}")
    return choices[str(value)]


def _tuple(hints: tuple[Any, ...], value: Any, key: str, rule: Setting) -> tuple[Any, ...]:
    if not isinstance(value, list | tuple):
        raise InvalidConfig(f"'{key}' is {_shown(value)}; needed a list")
    if hints[-1] is Ellipsis:
        hints = (hints[0],) * len(value)
    if len(value) != len(hints):
        raise InvalidConfig(f"'{key}' has {len(value)} elements; needed {len(hints)}")
    return tuple(_value(h, v, f"{key}[{i}]", rule) for i, (h, v) in enumerate(zip(hints, value, strict=True)))


def _mapping(hint: Any, value: Any, key: str, rule: Setting) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise InvalidConfig(f"'{key}' is {_shown(value)}; needed keys with values")
    return {str(name): _value(hint, item, _below(key, str(name)), rule) for name, item in value.items()}


def _scalar(hint: Any, value: Any, key: str, rule: Setting) -> Any:
    if hint is float and type(value) is int:
        value = float(value)
    if type(value) is not hint:
        raise InvalidConfig(f"'{key}' is {_shown(value)}; needed {_type_name(hint)}")
    if hint in (int, float) and not rule.allows(value):
        raise InvalidConfig(f"'{key}' is {value}; needed {rule.range_text or 'a finite number'}")
    return value


def _differences(before: Any, after: Any, key: str) -> Iterator[Difference]:
    for f in dataclasses.fields(before):
        old, new, name = getattr(before, f.name), getattr(after, f.name), _below(key, f.name)
        if dataclasses.is_dataclass(old) and type(old) is type(new):
            yield from _differences(old, new, name)
        elif old != new:
            rule: Setting = f.metadata["setting"]
            yield Difference(key=name, before=_plain(old), after=_plain(new), changes_result=rule.changes_result)


def _rows(cls: type[Any], key: str) -> Iterator[SettingRow]:
    hints = typing.get_type_hints(cls)
    for f in dataclasses.fields(cls):
        hint, name, rule = hints[f.name], _below(key, f.name), f.metadata["setting"]
        nested = next((h for h in (hint, *typing.get_args(hint)) if dataclasses.is_dataclass(h)), None)
        if nested is None or f.default is None:
            yield SettingRow(
                key=name,
                type=_type_name(hint),
                default="needed" if _is_required(f) else _shown(_default(f)),
                range=rule.range_text,
                description=rule.description,
            )
        if nested is not None:
            yield from _rows(typing.cast(type[Any], nested), name)


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value):
        return config_tree(value)
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    if isinstance(value, Mapping):
        return {name: _plain(item) for name, item in value.items()}
    return value


def _names(cls: type[Any]) -> list[str]:
    return [f.name for f in dataclasses.fields(cls)]


def _rule(cls: type[Any], name: str) -> Setting:
    return typing.cast(Setting, cls.__dataclass_fields__[name].metadata["setting"])


def _is_required(f: "dataclasses.Field[Any]") -> bool:
    return f.default is MISSING and f.default_factory is MISSING


def _default(f: "dataclasses.Field[Any]") -> Any:
    return f.default if f.default_factory is MISSING else f.default_factory()


def _below(key: str, name: str) -> str:
    return f"{key}.{name}" if key else name


def _type_name(hint: Any) -> str:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if hint is types.NoneType:
        return "null"
    if origin in (typing.Union, types.UnionType):
        return " | ".join(map(_type_name, arguments))
    if origin is Literal:
        return " | ".join(map(str, arguments))
    if origin is tuple:
        return f"[{', '.join('...' if a is Ellipsis else _type_name(a) for a in arguments)}]"
    if dataclasses.is_dataclass(hint):
        return "keys"
    return str(getattr(hint, "__name__", hint)).lower()


def _shown(value: Any) -> str:
    if isinstance(value, str):
        return f"'{value}'"
    return str(yaml.safe_dump(_plain(value), default_flow_style=True).removesuffix("...\n")).strip()
