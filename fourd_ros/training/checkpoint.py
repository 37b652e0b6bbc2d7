"""Checkpoints: folders of safetensors and JSON that are there whole or not at all."""

import hashlib
import logging
import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from fourd_ros.errors import InvalidCheckpoint, InvalidModel
from fourd_ros.model_io.safetensors_file import read_header, read_tensor, write_tensors
from fourd_ros.strict_json import read_object, to_bytes
from fourd_ros.training.run_folder import writing

logger = logging.getLogger(__name__)

FORMAT = 1

_NAME = re.compile(r"step_(\d+)")
_STATE = "state.json"

Tensors = Mapping[str, torch.Tensor]


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """What a run was after a step.

    Args:
        step: steps done.
        tensors: by file (``network``, ``optimizer``) and name.
        state: the rest, as plain values.
    """

    step: int
    tensors: Mapping[str, Tensors]
    state: Mapping[str, Any]


class CheckpointFolder:
    """The checkpoints of a run, each in a folder ``step_N``.

    Args:
        path: of the folder; it is made when it is needed.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def write(self, checkpoint: Checkpoint, *, keep: int) -> Path:
        """Write a checkpoint, then remove older ones.

        Args:
            checkpoint: replaces one of the same step.
            keep: how many are left, this one included.

        Raises:
            TrainingFailed: the disk is full or fails; the earlier checkpoints are untouched.
        """
        final = self.path / f"step_{checkpoint.step:08d}"
        partial = self.path / f".{final.name}.partial"
        with writing(f"checkpoint '{final}'"):
            self._sweep()
            partial.mkdir(parents=True)
            try:
                _write_files(checkpoint, partial)
            except OSError:
                shutil.rmtree(partial, ignore_errors=True)
                raise
            if final.exists():
                self._discard(final)
            os.rename(partial, final)
            _sync(self.path)
        earlier = [path for step, path in reversed(self._entries()) if step < checkpoint.step]
        for old in earlier[keep - 1 :]:
            self._discard(old)
        return final

    def write_only(self, checkpoint: Checkpoint) -> Path:
        """Write a checkpoint that takes the place of all others; raises what `write` raises."""
        final = self.write(checkpoint, keep=1)
        for _, path in self._entries():
            if path != final:
                self._discard(path)
        return final

    def newest(self) -> Checkpoint | None:
        """The newest whole checkpoint; damaged ones on the way are renamed and logged."""
        for _, path in reversed(self._entries()):
            try:
                return read_checkpoint(path)
            except InvalidCheckpoint as error:
                aside = path.with_name(f"damaged_{path.name}")
                logger.warning("%s; it is '%s' now, an earlier one is taken", error, aside.name)
                shutil.rmtree(aside, ignore_errors=True)
                os.rename(path, aside)
        return None

    def _entries(self) -> list[tuple[int, Path]]:
        """(step, folder), oldest first."""
        if not self.path.is_dir():
            return []
        found = [(match, path) for path in self.path.iterdir() if (match := _NAME.fullmatch(path.name))]
        return sorted((int(match[1]), path) for match, path in found)

    def _discard(self, path: Path) -> None:
        """Remove a checkpoint, which is no longer one from the first file on."""
        away = path.with_name(f".{path.name}.old")
        os.rename(path, away)
        shutil.rmtree(away)

    def _sweep(self) -> None:
        """Remove what a killed process left half written or half removed."""
        for path in self.path.glob(".step_*"):
            shutil.rmtree(path)


def read_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint, every file of which has to be the one that was written.

    Raises:
        InvalidCheckpoint: a file is missing, damaged, or not of a checkpoint.
    """
    try:
        facts = read_object(path / _STATE, error=InvalidModel)
        if facts.get("format") != FORMAT:
            raise InvalidCheckpoint(f"checkpoint '{path}' has format {facts.get('format')}; {FORMAT} can be read")
        digests, step, state = facts["files"], facts["step"], facts["state"]
        for name, digest in digests.items():
            if _digest(path / f"{name}.safetensors") != digest:
                raise InvalidCheckpoint(f"checkpoint '{path}' is damaged: {name}.safetensors is not what was written")
        tensors = {name: read_tensors(path / f"{name}.safetensors") for name in digests}
    except (InvalidModel, OSError, KeyError, TypeError, AttributeError) as error:
        raise InvalidCheckpoint(f"checkpoint '{path}' cannot be read: {error}") from error
    return Checkpoint(step=step, tensors=tensors, state=state)


def read_tensors(path: Path) -> dict[str, torch.Tensor]:
    """All tensors of a safetensors file."""
    return {name: read_tensor(path, entry) for name, entry in read_header(path).items()}


def fill(target: Tensors, source: Tensors, *, what: str) -> None:
    """Copy tensors into those of the same names.

    Raises:
        InvalidCheckpoint: names or shapes differ; all differences are listed.
    """
    check_shapes({name: tuple(tensor.shape) for name, tensor in target.items()}, source, what=what)
    with torch.no_grad():
        for name, tensor in target.items():
            tensor.copy_(source[name])


def check_shapes(wanted: Mapping[str, tuple[int, ...]], tensors: Tensors, *, what: str) -> None:
    """Raise InvalidCheckpoint, which lists every difference, unless the tensors have these names and shapes."""
    problems = [f"'{name}' is missing" for name in wanted if name not in tensors]
    problems += [f"'{name}' is unknown" for name in tensors if name not in wanted]
    problems += [
        f"'{name}' is {list(tensors[name].shape)}, needed {list(shape)}"
        for name, shape in wanted.items()
        if name in tensors and tensors[name].shape != shape
    ]
    if problems:
        raise InvalidCheckpoint(f"the checkpoint is not of this {what}: {'; '.join(problems)}")


def _write_files(checkpoint: Checkpoint, folder: Path) -> None:
    digests = {}
    for name, tensors in checkpoint.tensors.items():
        path = folder / f"{name}.safetensors"
        write_tensors(tensors, path)
        _sync(path)
        digests[name] = _digest(path)
    facts = {"format": FORMAT, "step": checkpoint.step, "files": digests, "state": checkpoint.state}
    (folder / _STATE).write_bytes(to_bytes(facts))
    _sync(folder / _STATE)
    _sync(folder)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync(path: Path) -> None:
    """On the disk before it is relied upon."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
