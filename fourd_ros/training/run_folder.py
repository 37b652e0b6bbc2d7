"""The folder of a run: where everything lies, and a record of what made it."""

import errno
import fcntl
import functools
import hashlib
import importlib.metadata
import json
import logging
import os
import platform
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from fourd_ros.errors import InvalidConfig, TrainingFailed
from fourd_ros.resources import CHECKOUT
from fourd_ros.training.settings import read_config, write_config
from fourd_ros.whole_file import whole_file, write_whole

C = TypeVar("C")

logger = logging.getLogger(__name__)

RUNS = Path("out/train")

_DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS)


class RunFolder:
    """Names of what lies in a run's folder.

    Args:
        path: of the folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.config = path / "config.yaml"
        self.environment = path / "environment.json"
        self.log = path / "log.txt"
        self.metrics = path / "metrics.jsonl"
        self.tensorboard = path / "tensorboard"
        self.pictures = path / "pictures"
        self.checkpoints = path / "checkpoints"
        self.best = path / "best"
        self.model = path / "model"

    def refuse_run(self) -> None:
        """Raise InvalidConfig if the folder holds a run."""
        if self.config.exists():
            raise InvalidConfig(f"'{self.path}' holds a run; continue it with --resume or name another folder")

    def begin(self, config: Any, *, task: type[Any], step: int, processes: int) -> None:
        """Note what the run is (re)started with: `config`, and one more entry of `environment`.

        Raises:
            TrainingFailed: the disk is full or fails.
        """
        for path in self.path.rglob(".*.partial"):
            if path.is_file():  # a killed process left it
                path.unlink()
        with writing("the configuration"):
            write_config(config, self.config)
            starts = json.loads(self.environment.read_text(encoding="utf-8")) if self.environment.exists() else []
            starts.append({"from_step": step, "processes": processes, **environment(task)})
            write_whole(self.environment, json.dumps(starts, indent=1) + "\n")

    def read_config(self, cls: type[C], overrides: Sequence[str] = ()) -> C:
        """The configuration the run was begun or last continued with, and changes to it.

        Raises:
            InvalidConfig: there is no run in the folder, or it is one of another task.
        """
        if not self.config.exists():
            raise InvalidConfig(f"'{self.path}' holds no run (no {self.config.name}); leave --resume out to begin one")
        return read_config(cls, self.config, overrides)

    @contextmanager
    def claimed(self) -> Iterator[None]:
        """Keep other processes from writing into the folder.

        Raises:
            InvalidConfig: one does already, or the folder cannot be made.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            file = (self.path / ".lock").open("w")
        except OSError as error:
            raise InvalidConfig(f"'{self.path}' cannot be the folder of a run: {error}; name another") from error
        with file:
            try:
                # Unlike those of flock, these locks stay with their process: a data loading process that outlives a
                # killed run by some seconds holds none.
                fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except (BlockingIOError, PermissionError) as error:
                raise InvalidConfig(f"another process trains in '{self.path}'; wait for it or stop it") from error
            except OSError as error:
                logger.warning("'%s' cannot be locked (%s); start one run only in it", self.path, error.strerror)
            yield

    def save_pictures(self, pictures: Mapping[str, NDArray[np.uint8]], *, step: int) -> None:
        """Save pictures as ``pictures/NAME/STEP.png``."""
        from PIL import Image

        for name, picture in pictures.items():
            with whole_file(self.pictures / name / f"{step:08d}.png") as file:
                Image.fromarray(picture).save(file, format="png")


@contextmanager
def writing(what: str) -> Iterator[None]:
    """Raise TrainingFailed, which says what to do, where the block meets a full or broken disk."""
    try:
        yield
    except OSError as error:
        if error.errno not in _DISK_ERRORS:
            raise
        raise TrainingFailed(
            f"{what} cannot be written: {error.strerror or error}; make room and continue with --resume, "
            "the checkpoints up to here are whole"
        ) from error


def next_run(model: str, *, runs: Path = RUNS) -> Path:
    """The folder for a new run of a model: ``runs/MODEL/N``."""
    return runs / model / str(max(_numbers(runs / model), default=0) + 1)


def newest_run(model: str, *, runs: Path = RUNS) -> Path:
    """The newest folder made by `next_run`.

    Raises:
        InvalidConfig: there is none.
    """
    numbers = _numbers(runs / model)
    if not numbers:
        raise InvalidConfig(f"'{runs / model}' holds no run; name its folder with --run")
    return runs / model / str(max(numbers))


def environment(task: type[Any]) -> dict[str, Any]:
    """What a result may depend on: Python, packages, processor, revision of this package and of the one that a task
    comes from; no names of hosts or people."""
    import torch

    gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "processor": torch.backends.cpu.get_cpu_capability(),
        "cores": len(os.sched_getaffinity(0)),
        "gpus": gpus,
        "cuda": torch.version.cuda,
        "command": [Path(sys.argv[0]).name, *sys.argv[1:]],
        "git": {"fourd_ros": _git(CHECKOUT), "task": _git(_checkout_of(task))},
        "packages": _packages(),
    }


@functools.cache
def _packages() -> dict[str, str]:
    """Versions of all that is installed, by name."""
    descriptions = (distribution.metadata for distribution in importlib.metadata.distributions())
    return dict(sorted((str(found["Name"]), str(found["Version"])) for found in descriptions))


def _checkout_of(task: type[Any]) -> Path | None:
    """The innermost git checkout around the module of a class; None for one that was typed in."""
    file = getattr(sys.modules.get(task.__module__), "__file__", None)
    return (
        next((folder for folder in Path(file).resolve().parents if (folder / ".git").exists()), None) if file else None
    )


def _git(checkout: Path | None) -> dict[str, Any] | None:
    """Revision of a checkout, and whether and how it was changed; None where there is none."""
    if checkout is None or not (checkout / ".git").exists():
        return None
    try:
        difference = _run_git(checkout, "diff", "HEAD", "--binary")
        return {
            "revision": _run_git(checkout, "rev-parse", "HEAD").decode().strip(),
            "dirty": bool(_run_git(checkout, "status", "--porcelain")),
            "difference_sha256": hashlib.sha256(difference).hexdigest() if difference else None,
        }
    except (OSError, subprocess.SubprocessError):
        return None


def _run_git(checkout: Path, *words: str) -> bytes:
    command = ["git", "-C", str(checkout), *words]
    return subprocess.run(command, check=True, capture_output=True, timeout=60).stdout


def _numbers(folder: Path) -> list[int]:
    if not folder.is_dir():
        return []
    return [int(path.name) for path in folder.iterdir() if path.name.isdecimal()]
