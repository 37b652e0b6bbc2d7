"""A training in stages: each begins with the model of the one before, and a run that stopped goes on where it was."""

import logging
from collections.abc import Callable
from dataclasses import MISSING, dataclass
from pathlib import Path
from typing import Any

from fourd_ros.errors import InvalidConfig
from fourd_ros.resources import find_resource
from fourd_ros.training.loop import TrainingResult, train
from fourd_ros.training.records import Row
from fourd_ros.training.run_folder import RunFolder
from fourd_ros.training.settings import read_config, setting
from fourd_ros.training.tasks import load_task

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One training."""

    name: str = setting(MISSING, "of its folder")
    model: str = setting(MISSING, "what is trained, see 'fourd train --list'")
    config: str = setting(MISSING, "YAML file beside the schedule, or of the package")
    set: tuple[str, ...] = setting((), "changes to it, KEY=VALUE")
    begins_with: str = setting("", "setting that names the model of the stage before; empty for none")


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """Stages one after the other."""

    stages: tuple[Stage, ...] = setting(MISSING, "in their order")

    def __post_init__(self) -> None:
        names = [stage.name for stage in self.stages]
        if not names or "" in names or len(set(names)) != len(names) or any("/" in name for name in names):
            raise InvalidConfig(f"stages {names}; each needs a name of its own without '/'")


def read_schedule(path: Path) -> Schedule:
    """The schedule of a YAML file.

    Raises:
        InvalidConfig: it cannot be read, or names stages that cannot be.
    """
    return read_config(Schedule, path)


def train_stages(
    schedule_file: Path,
    folder: Path,
    *,
    changes: tuple[str, ...] = (),
    bar: bool = True,
    report: Callable[[Row], None] | None = None,
) -> TrainingResult:
    """Train all stages that are not done yet, each in a folder of its own.

    Args:
        schedule_file: see `Schedule`.
        folder: of the whole; what is in it is gone on with.
        changes: to the configurations of all stages.
        bar: show progress.
        report: called with each row of metrics.

    Returns:
        Of the last stage that was trained.

    Raises:
        InvalidConfig: a schedule or configuration that cannot be.
        InvalidCheckpoint, TrainingFailed: as of `train`.
    """
    schedule = read_schedule(schedule_file)
    before: Path | None = None
    result: TrainingResult | None = None
    for stage in schedule.stages:
        run = RunFolder(folder / stage.name)
        if run.model.is_dir():
            before = run.model
            continue
        logger.info("stage %s", stage.name)
        task_class = load_task(stage.model)
        result = train(
            task_class(_config(task_class, stage, run, schedule_file.parent, before, changes)),
            run.path,
            resume=run.config.exists(),
            bar=bar,
            report=report,
        )
        if result.interrupted:
            return result
        before = run.model
    if result is None:
        raise InvalidConfig(f"all stages of '{schedule_file}' are done in '{folder}'; name another folder")
    return result


def _config(
    task_class: type[Any], stage: Stage, run: RunFolder, beside: Path, before: Path | None, changes: tuple[str, ...]
) -> Any:
    if run.config.exists():
        return run.read_config(task_class.config_class, changes)
    path = beside / stage.config
    if not path.is_file():
        path = find_resource(f"config/train/{stage.config}")
    begin = (f"{stage.begins_with}={before}",) if stage.begins_with and before is not None else ()
    return read_config(task_class.config_class, path, (*stage.set, *begin, *changes))
