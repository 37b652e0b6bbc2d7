"""From somebody's checkpoint to a model folder: every tensor accounted for, whole or not at all.

First everything is matched by names and shapes alone (`conversion_plan`); only when nothing is unknown and nothing
missing are weights read, one at a time, and written in shards.
"""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from fourd_ros.errors import InvalidConfig, TooLarge, WeightMismatch
from fourd_ros.model_io.checkpoint_reader import Checkpoint
from fourd_ros.model_io.components import Component
from fourd_ros.model_io.conversion_plan import Conversion, Step, open_checkpoint, plan
from fourd_ros.model_io.conversion_rules import Converter
from fourd_ros.model_io.folder import check_target, write_model
from fourd_ros.model_io.weights import MAX_SHARD_BYTES
from fourd_ros.strict_json import to_bytes

if TYPE_CHECKING:
    import torch

REPORT = "conversion.json"

Progress = Callable[[int, int], None]


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
        InvalidConfig: a weight has values beyond the range of `dtype`.
        TooLarge: the disk has not enough room.
    """
    check_target(Path(target), overwrite=overwrite)
    with open_checkpoint(converter, source) as checkpoint:
        conversion = plan(converter, checkpoint, dtype=dtype)
        if conversion.problems:
            lines = "".join(f"\n  {problem}" for problem in conversion.problems)
            raise WeightMismatch(
                f"'{source}' is not what '{converter.system}' expects ({converter.summary}); "
                f"{len(conversion.problems)} problems:{lines}"
            )
        _check_room(conversion, Path(target))
        counter = _Counter(checkpoint.check_bytes + conversion.source_bytes, progress)
        hashes = checkpoint.check(progress=counter.add)
        write_model(
            target,
            {
                **{name: _component(name, conversion, checkpoint, counter) for name in conversion.networks},
                **converter.self_reading(checkpoint.path),
            },
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
            yield name, _cast(tensor, getattr(torch, conversion.dtypes[step.component, name]), name)
        counter.add(sum(source.size for source in step.sources))


def _cast(tensor: "torch.Tensor", dtype: "torch.dtype", name: str) -> "torch.Tensor":
    import torch

    cast = tensor.to(dtype)
    if dtype is torch.float16 and tensor.dtype is not dtype and cast.isinf().any() and not tensor.isinf().any():
        raise InvalidConfig(
            f"'{name}' has values up to {float(tensor.abs().max()):.3g}, beyond what float16 holds; choose bf16 or fp32"
        )
    return cast


def _check_room(conversion: Conversion, target: Path) -> None:
    needed = conversion.target_bytes
    folder = next(parent for parent in (target, *target.absolute().parents) if parent.exists())
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise TooLarge(f"'{target}' needs {needed:,} bytes, '{folder}' has {free:,}; name a folder on another disk")
