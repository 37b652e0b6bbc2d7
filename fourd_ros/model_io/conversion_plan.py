"""Matching what was found against what the networks need, by names and shapes alone."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fourd_ros.errors import InvalidConfig
from fourd_ros.model_io.checkpoint_reader import Checkpoint, SourceTensor
from fourd_ros.model_io.components import build_network, find_component_class
from fourd_ros.model_io.conversion_rules import Converter, Drop, Network, Rule, Rules, Transform
from fourd_ros.model_io.safetensors_file import STORED_TYPES, type_name
from fourd_ros.model_io.weights import tied_names, type_kind, weight_dtype

if TYPE_CHECKING:
    import torch
    from torch import nn

DTYPES = {"bf16": "bfloat16", "fp16": "float16", "fp32": "float32"}


@dataclass(frozen=True, kw_only=True)
class Step:
    """Sources and the targets they become.

    Args:
        sources: what is read.
        component: whose weights come out.
        targets: their names.
        transform: see `Rule`.
    """

    sources: tuple[SourceTensor, ...]
    component: str
    targets: tuple[str, ...]
    transform: Transform | None

    def apply(self, values: "list[torch.Tensor]") -> "tuple[torch.Tensor, ...]":
        """The targets."""
        if self.transform is None:
            return (values[0],) * len(self.targets) if len(values) == 1 else tuple(values)
        made = self.transform(*values)
        return made if isinstance(made, tuple) else (made,)


@dataclass(frozen=True, kw_only=True)
class Unused:
    """A source tensor that is left out, and why."""

    source: SourceTensor
    reason: str


@dataclass(frozen=True, kw_only=True)
class Conversion:
    """What becomes of every tensor.

    Args:
        system: whose checkpoint it is.
        source: name of the file or folder.
        found: all tensors there.
        others: type by file and name of what is no tensor and so left out.
        skipped: reason by file that was not opened.
        networks: what comes out.
        dtypes: by component and name, the type in which each target is stored.
        steps: what becomes what.
        unused: what is left out on purpose.
        target_bytes: of all tensors that are written.
        problems: what stands in the way: unknown or missing tensors, wrong shapes; empty if it can be done.
    """

    system: str
    source: str
    found: tuple[SourceTensor, ...]
    others: Mapping[tuple[str, str], str]
    skipped: Mapping[str, str]
    networks: Mapping[str, Network]
    dtypes: Mapping[tuple[str, str], str]
    steps: tuple[Step, ...]
    unused: tuple[Unused, ...]
    target_bytes: int
    problems: tuple[str, ...]

    @property
    def source_bytes(self) -> int:
        """Of all tensors that are read."""
        return sum(source.size for step in self.steps for source in step.sources)

    def report(self) -> dict[str, Any]:
        """All of it, for JSON."""
        return {
            "system": self.system,
            "source": self.source,
            "found": [
                {"file": one.file, "name": one.name, "shape": list(one.shape), "dtype": one.dtype} for one in self.found
            ],
            "mapped": [
                {
                    "sources": [{"file": one.file, "name": one.name} for one in step.sources],
                    "targets": [
                        {"component": step.component, "name": name, "dtype": self.dtypes[step.component, name]}
                        for name in step.targets
                    ],
                }
                for step in self.steps
            ],
            "unused": [{"file": one.source.file, "name": one.source.name, "reason": one.reason} for one in self.unused],
            "others": [{"file": file, "name": name, "type": kind} for (file, name), kind in self.others.items()],
            "skipped_files": dict(self.skipped),
            "problems": list(self.problems),
        }


def open_checkpoint(converter: Converter, source: Path | str) -> Checkpoint:
    """What the converter would see of a file or folder; see `Checkpoint` for the errors."""
    return Checkpoint(
        source,
        allowed_types=converter.allowed_types,
        wrappers=converter.wrappers,
        skipped_files=converter.skipped_files,
    )


def plan(converter: Converter, checkpoint: Checkpoint, *, dtype: str | None = None) -> Conversion:
    """What a conversion would do; no weight is read.

    Raises:
        InvalidConfig: `dtype` is none of `DTYPES`.
        UnknownModel: a network of the converter is not registered.
    """
    networks, stored = converter.networks(checkpoint), _torch_dtype(dtype)
    rules = converter.rules(checkpoint, stored) if callable(converter.rules) else converter.rules
    matching = _match(rules, checkpoint.tensors)
    ledger = _Ledger({name: _build(network) for name, network in networks.items()}, stored)
    for step in matching.steps:
        ledger.enter(step)
    return Conversion(
        system=converter.system,
        source=checkpoint.path.name,
        found=checkpoint.tensors,
        others=checkpoint.others,
        skipped=checkpoint.skipped,
        networks=networks,
        dtypes={target: type_name(made.dtype) for target, made in ledger.made.items()},
        steps=ledger.in_order(matching.steps),
        unused=tuple(matching.unused),
        target_bytes=sum(made.numel() * made.element_size() for made in ledger.made.values()),
        problems=(*matching.problems, *ledger.problems, *ledger.missing()),
    )


def _torch_dtype(name: str | None) -> "torch.dtype | None":
    import torch

    if name is None:
        return None
    if name not in DTYPES:
        raise InvalidConfig(f"'{name}' is no type of weights; choose one of {', '.join(DTYPES)}")
    found: torch.dtype = getattr(torch, DTYPES[name])
    return found


def _build(network: Network) -> "nn.Module":
    from fourd_ros.model_io.meta_device import parameters_on_meta

    found = find_component_class(network.library, network.class_name)
    with parameters_on_meta():
        return build_network(network.library, found, network.config)


@dataclass
class _Matching:
    """Which rule took which tensors."""

    steps: list[Step] = field(default_factory=list)
    unused: list[Unused] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


@dataclass
class _Group:
    """The sources of one step, as far as they were found."""

    rule: Rule
    match: re.Match[str]
    sources: dict[int, SourceTensor] = field(default_factory=dict)


def _match(rules: Rules, tensors: tuple[SourceTensor, ...]) -> _Matching:
    result = _Matching()
    groups: dict[tuple[int, tuple[str | None, ...]], _Group] = {}
    for tensor in tensors:
        for number, rule in enumerate(rules):
            if isinstance(rule, Drop):
                if fnmatchcase(tensor.file, rule.file) and re.fullmatch(rule.source, tensor.name):
                    result.unused.append(Unused(source=tensor, reason=rule.reason))
                    break
            elif found := _position(rule, tensor):
                position, match = found
                group = groups.setdefault((number, match.groups()), _Group(rule, match))
                if position in group.sources:
                    result.problems.append(f"twice: '{tensor}' and '{group.sources[position]}' would be the same")
                group.sources[position] = tensor
                break
        else:
            result.problems.append(f"unknown: '{tensor}' {list(tensor.shape)} is of no use to any network")
    for group in groups.values():
        _close(group, result)
    return result


def _position(rule: Rule, tensor: SourceTensor) -> tuple[int, re.Match[str]] | None:
    """Which of the rule's sources a tensor is."""
    if fnmatchcase(tensor.file, rule.file):
        for position, pattern in enumerate(_tuple(rule.sources)):
            if match := re.fullmatch(pattern, tensor.name):
                return position, match
    return None


def _close(group: _Group, result: _Matching) -> None:
    patterns = _tuple(group.rule.sources)
    absent = [pattern for position, pattern in enumerate(patterns) if position not in group.sources]
    if absent:
        there = ", ".join(f"'{tensor}'" for tensor in group.sources.values())
        result.problems.append(f"incomplete: {there} came without what matches {absent}")
        return
    result.steps.append(
        Step(
            sources=tuple(group.sources[position] for position in range(len(patterns))),
            component=group.rule.component,
            targets=tuple(group.match.expand(target) for target in _tuple(group.rule.targets)),
            transform=group.rule.transform,
        )
    )


def _tuple(value: str | tuple[str, ...]) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else value


class _Ledger:
    """What the networks need, what the steps make of it, and what does not fit.

    Attributes:
        made: stand-ins without memory, of the shape and type in which each target will be stored.
        problems: found so far.
    """

    def __init__(self, networks: "Mapping[str, nn.Module]", dtype: "torch.dtype | None") -> None:
        self._networks = networks
        self._dtype = dtype
        self._needed = {
            (component, name): tensor
            for component, network in networks.items()
            for name, tensor in network.state_dict().items()
        }
        self.made: dict[tuple[str, str], torch.Tensor] = {}
        self.problems: list[str] = []

    def enter(self, step: Step) -> None:
        """Try a step out on shapes."""
        origin = ", ".join(f"'{source}' {list(source.shape)}" for source in step.sources)
        try:
            made = step.apply([_stand_in(source) for source in step.sources])
        except (RuntimeError, ValueError, TypeError, IndexError) as error:
            self.problems.append(f"transform: {origin} cannot be transformed: {error}")
            return
        if len(made) != len(step.targets):
            self.problems.append(f"transform: {origin} became {len(made)} tensors, needed {list(step.targets)}")
            return
        for name, tensor in zip(step.targets, made, strict=True):
            target = (step.component, name)
            problem = self._problem(target, tensor)
            if problem:
                self.problems.append(f"{problem}; it would come from {origin}")
            else:
                self.made[target] = tensor.to(self._stored_type(target, tensor))

    def missing(self) -> list[str]:
        """What no step makes; of tied weights one is enough."""
        return [
            f"missing: '{component}/{' = '.join(names)}' {list(self._needed[component, names[0]].shape)} has no source"
            for component, network in self._networks.items()
            for names in tied_names(network)
            if not any((component, name) in self.made for name in names)
        ]

    def in_order(self, steps: list[Step]) -> tuple[Step, ...]:
        """The steps in the order in which the networks name their weights."""
        place = {target: number for number, target in enumerate(self._needed)}
        return tuple(sorted(steps, key=lambda step: place.get((step.component, step.targets[0]), len(place))))

    def _problem(self, target: tuple[str, str], made: "torch.Tensor") -> str:
        path = "/".join(target)
        if target not in self._needed:
            return f"unexpected: no network has '{path}'"
        if target in self.made:
            return f"twice: '{path}' has another source already"
        needed = self._needed[target]
        if made.shape != needed.shape:
            return f"shape: '{path}' would be {list(made.shape)}, needed {list(needed.shape)}"
        dtype, kind = type_name(self._stored_type(target, made)), type_kind(type_name(needed.dtype))
        if type_kind(dtype) != kind:
            return f"type: '{path}' would be {dtype}, needed {kind}"
        if dtype not in STORED_TYPES:
            return f"type: '{path}' would be {dtype}, which safetensors cannot hold; ask for one of {', '.join(DTYPES)}"
        return ""

    def _stored_type(self, target: tuple[str, str], made: "torch.Tensor") -> "torch.dtype":
        component, name = target
        return weight_dtype(self._networks[component], name, made, self._dtype)


def _stand_in(source: SourceTensor) -> "torch.Tensor":
    import torch

    return torch.empty(source.shape, dtype=getattr(torch, source.dtype), device="meta")
