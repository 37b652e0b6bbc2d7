"""From somebody's checkpoint to a model folder: every tensor accounted for, whole or not at all.

A `Converter` says which networks come out and by which rules the names and values of the original become theirs.
First everything is matched by names and shapes alone (`plan`); only when nothing is unknown and nothing missing are
weights read, one at a time, and written in shards.
"""

import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fourd_ros.errors import TooLarge, WeightMismatch
from fourd_ros.model_io.card import ModelCard
from fourd_ros.model_io.checkpoint_reader import Checkpoint, SourceTensor
from fourd_ros.model_io.components import Component
from fourd_ros.model_io.folder import write_model
from fourd_ros.model_io.strict_json import to_bytes
from fourd_ros.model_io.weights import MAX_SHARD_BYTES

if TYPE_CHECKING:
    import torch

REPORT = "conversion.json"
DTYPES = {"bf16": "bfloat16", "fp16": "float16", "fp32": "float32"}

Transform = Callable[..., "torch.Tensor | tuple[torch.Tensor, ...]"]
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Rule:
    """Source tensors that become target tensors.

    Several sources belong together when the groups of their patterns caught the same text.

    Args:
        component: whose weights the targets are.
        sources: regular expression that a whole name must match, or several.
        targets: name, with groups of the pattern as in ``re.sub``, or several names.
        transform: gets the sources, returns the targets (a tuple, where there are several); operators of torch
            only, whose shapes do not depend on values, since shapes are tried out first. By default the sources are
            the targets; one source may have several.
        file: pattern (as of a shell) of the files that it is for.
    """

    component: str
    sources: str | tuple[str, ...]
    targets: str | tuple[str, ...]
    transform: Transform | None = None
    file: str = "*"


@dataclass(frozen=True)
class Drop:
    """Source tensors that nothing needs.

    Args:
        source: regular expression that a whole name must match.
        reason: why they are left out.
        file: pattern (as of a shell) of the files that it is for.
    """

    source: str
    reason: str
    file: str = "*"


@dataclass(frozen=True, kw_only=True)
class Network:
    """A network that comes out.

    Args:
        class_name: as registered, or of the other library.
        library: ``fourd_ros``, ``diffusers`` or ``transformers``.
        config: what its ``from_config`` needs.
    """

    class_name: str
    library: str = "fourd_ros"
    config: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Converter:
    """How the checkpoints of one system become a model folder.

    Args:
        system: its name on the command line.
        summary: what is converted, and where it is found, in a line.
        model_class: name in `registry.MODELS` of what the networks make up.
        networks: by component name, maybe after a look at what was found (the number of layers, for example).
        rules: the first that matches a tensor counts.
        card: what is known about the result.
        documents: text by file name that goes into the folder, such as the licence that must go with the weights.
        wrappers: prefixes taken off all names, see `Checkpoint`.
        skipped_files: reason by pattern of files that are not opened (``training_args.bin``).
        allowed_types: full names of types that its pickles may mention; they are left out, never built.
    """

    system: str
    summary: str
    model_class: str
    networks: Callable[[Checkpoint], Mapping[str, Network]]
    rules: tuple[Rule | Drop, ...]
    card: ModelCard
    documents: Mapping[str, str] = field(default_factory=dict)
    wrappers: tuple[str, ...] = ()
    skipped_files: Mapping[str, str] = field(default_factory=dict)
    allowed_types: tuple[str, ...] = ()


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


def convert(
    converter: Converter,
    source: Path | str,
    target: Path | str,
    *,
    dtype: str | None = None,
    max_shard_bytes: int = MAX_SHARD_BYTES,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Conversion:
    """Write a model folder from a checkpoint, whole or not at all, with a `REPORT` of every tensor in it.

    Memory: the sources of one step and one shard, whatever the size of the checkpoint; a pickle in the format of
    before torch 1.6 as a whole.

    Args:
        converter: of the system.
        source: file or folder.
        target: folder to create.
        dtype: of floating-point weights, one of `DTYPES`; as they are by default. What a network keeps in float32
            (``_keep_in_fp32_modules``) becomes that.
        max_shard_bytes: weights beyond this are split.
        overwrite: replace a model folder at `target`.
        progress: is told bytes done and bytes in all, of both checking and converting.

    Raises:
        InvalidCheckpoint: `source` cannot be read.
        UnsafeCheckpoint: a pickle mentions types that are not allowed; nothing was run.
        WeightMismatch: unknown or missing tensors or wrong shapes; all in one message.
        InvalidModel: `target` exists.
        TooLarge: the disk has not enough room.
    """
    from fourd_ros.model_io.conversion_plan import plan

    with open_checkpoint(converter, source) as checkpoint:
        conversion = plan(converter, checkpoint, dtype=dtype)
        if conversion.problems:
            lines = "".join(f"\n  {problem}" for problem in conversion.problems)
            raise WeightMismatch(
                f"'{source}' is not what '{converter.system}' expects ({converter.summary}); "
                f"{len(conversion.problems)} problems:{lines}"
            )
        _check_room(conversion, Path(target))
        counter = _Counter(checkpoint.file_bytes + conversion.source_bytes, progress)
        hashes = checkpoint.check(progress=counter.add)
        write_model(
            target,
            {name: _component(name, conversion, checkpoint, counter) for name in conversion.networks},
            card=converter.card,
            model_class=converter.model_class,
            extra={
                REPORT: to_bytes(conversion.report() | {"sha256": hashes}),
                **{name: text.encode() for name, text in converter.documents.items()},
            },
            max_shard_bytes=max_shard_bytes,
            overwrite=overwrite,
        )
    return conversion


class _Counter:
    def __init__(self, total: int, progress: Progress | None) -> None:
        self._done = 0
        self._total = total
        self._progress = progress

    def add(self, count: int) -> None:
        self._done += count
        if self._progress is not None:
            self._progress(self._done, self._total)


def _component(name: str, conversion: Conversion, checkpoint: Checkpoint, counter: _Counter) -> Component:
    network = conversion.networks[name]
    steps = [step for step in conversion.steps if step.component == name]
    return Component(
        library=network.library,
        class_name=network.class_name,
        config=network.config,
        weights=_weights(steps, conversion, checkpoint, counter),
    )


def _weights(
    steps: list[Step], conversion: Conversion, checkpoint: Checkpoint, counter: _Counter
) -> "Iterator[tuple[str, torch.Tensor]]":
    import torch

    for step in steps:
        made = step.apply([checkpoint.read(source) for source in step.sources])
        for name, tensor in zip(step.targets, made, strict=True):
            yield name, tensor.to(getattr(torch, conversion.dtypes[step.component, name]))
        counter.add(sum(source.size for source in step.sources))


def _check_room(conversion: Conversion, target: Path) -> None:
    needed = conversion.target_bytes
    folder = next(parent for parent in (target, *target.absolute().parents) if parent.exists())
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise TooLarge(f"'{target}' needs {needed:,} bytes, '{folder}' has {free:,}; name a folder on another disk")
