"""Stages of a long work on files: what is done is not done again, and what was interrupted goes on."""

import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fourd_ros.errors import InvalidResults
from fourd_ros.strict_json import read_object
from fourd_ros.whole_file import write_whole

__all__ = ["Done", "Stage", "StageLog"]

FOLDER = "stages"

VERSION = 1
"""Of what stages write; it rises with every change, and all is done anew."""

Progress = Callable[[float], None]
"""Told the share that is done."""


@dataclass(frozen=True, kw_only=True)
class Done:
    """What a stage leaves beside its files.

    Args:
        caveats: what it could not do, in words.
        facts: what else is to be told of it, as JSON can hold it.
        again: whether it failed for a reason that may be gone the next time, so that it shall be tried then.
    """

    caveats: tuple[str, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)
    again: bool = False


@dataclass(frozen=True, kw_only=True)
class Stage:
    """A stage that is done.

    Args:
        name: of the stage.
        key: of everything that it depends on.
        seconds: that it took when it was done [s].
        fresh: whether it was done now; else its files were there.
        done: what it left beside its files.
    """

    name: str
    key: str
    seconds: float
    fresh: bool
    done: Done


class StageLog:
    """The stages of one folder. Each has a marker, ``stages/<name>.json``, that is written when its files are whole.

    A marker holds a hash of the inputs and options of its stage and of the stages that it builds on. While it agrees
    and the files are there, the stage is not done again.

    Args:
        folder: where files and markers go.
        progress: told the stage and the share of it that is done.

    Attributes:
        stages: those that were asked for, in their order.
        lines: what happened when, as the logs of DynamicVerse have it.
    """

    def __init__(self, folder: Path, *, progress: Callable[[str, float], None] | None = None) -> None:
        self.folder = folder
        self.stages: dict[str, Stage] = {}
        self.lines: list[str] = []
        self._progress = progress or (lambda name, share: None)

    def run(
        self,
        name: str,
        work: Callable[[Progress], Done],
        *,
        inputs: Mapping[str, Any],
        after: Sequence[str] = (),
        files: Sequence[str],
    ) -> Stage:
        """Do a stage, unless it is done.

        Args:
            name: of the stage.
            work: does it and writes its files.
            inputs: and options that it depends on, as JSON can hold them.
            after: stages that it builds on; they were run before.
            files: that it writes, relative to the folder; where one is gone the stage is done again.
        """
        key = self._key(name, inputs, after)
        stage = self._found(name, key, files)
        if stage is None:
            self._marker(name).unlink(missing_ok=True)
            self._progress(name, 0.0)
            self.note("INFO", f"{name}: begins")
            began = time.perf_counter()
            done = work(lambda share: self._progress(name, share))
            stage = Stage(name=name, key=key, seconds=time.perf_counter() - began, fresh=True, done=done)
            if not done.again:
                self._write(stage)
        self._progress(name, 1.0)
        self.note("INFO", f"{name}: {f'took {stage.seconds:.1f} s' if stage.fresh else 'was done before'}")
        for caveat in stage.done.caveats:
            self.note("WARNING", f"{name}: {caveat}")
        self.stages[name] = stage
        return stage

    def note(self, level: str, message: str) -> None:
        """Add a line, ``YYYY-MM-DD HH:MM:SS - LEVEL - message``."""
        self.lines.append(f"{time.strftime('%Y-%m-%d %H:%M:%S')} - {level} - {message}")

    def is_done(self, name: str, *, inputs: Mapping[str, Any], after: Sequence[str] = (), files: Sequence[str]) -> bool:
        """Whether `run` with the same arguments would find the stage done."""
        return self._found(name, self._key(name, inputs, after), files) is not None

    @property
    def caveats(self) -> list[str]:
        """Of all stages, each once."""
        return list(dict.fromkeys(caveat for stage in self.stages.values() for caveat in stage.done.caveats))

    @property
    def seconds(self) -> dict[str, float]:
        """That the stages took when they were done [s]."""
        return {name: stage.seconds for name, stage in self.stages.items()}

    def _key(self, name: str, inputs: Mapping[str, Any], after: Sequence[str]) -> str:
        return _hash(
            {
                "version": VERSION,
                "stage": name,
                "inputs": dict(inputs),
                "after": [self.stages[other].key for other in after],
            }
        )

    def _marker(self, name: str) -> Path:
        return self.folder / FOLDER / f"{name}.json"

    def _found(self, name: str, key: str, files: Sequence[str]) -> Stage | None:
        """The stage as its marker tells, None where it has to be done."""
        if not all((self.folder / file).exists() for file in files):
            return None
        try:
            said = read_object(self._marker(name), error=InvalidResults)
            if said["key"] != key:
                return None
            done = Done(caveats=tuple(map(str, said["caveats"])), facts=dict(said["facts"]))
            return Stage(name=name, key=key, seconds=float(said["seconds"]), fresh=False, done=done)
        except (InvalidResults, KeyError, TypeError, ValueError):
            return None

    def _write(self, stage: Stage) -> None:
        said = {
            "key": stage.key,
            "seconds": round(stage.seconds, 3),
            "caveats": list(stage.done.caveats),
            "facts": dict(stage.done.facts),
        }
        write_whole(self._marker(stage.name), json.dumps(said, indent=1, allow_nan=False) + "\n")


def _hash(value: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, allow_nan=False).encode()).hexdigest()
