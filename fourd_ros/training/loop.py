"""The one training loop: for one process, several GPUs, several machines."""

import logging
import math
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object, send_to_device

from fourd_ros.errors import InvalidConfig, TrainingFailed
from fourd_ros.training.checkpoint import Checkpoint, CheckpointFolder
from fourd_ros.training.learner import Learner
from fourd_ros.training.processes import StopRequest, make_accelerator, seed_everything
from fourd_ros.training.records import Recorder, Row, Window, logging_to
from fourd_ros.training.run_folder import RunFolder, writing
from fourd_ros.training.sampler import GlobalBatches, make_loader, micro_batches, share_of
from fourd_ros.training.settings import config_tree, differences, make_config
from fourd_ros.training.task import TrainingTask

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class TrainingResult:
    """How a call of `train` ended.

    Args:
        step: steps done in all.
        interrupted: it was told to stop; a checkpoint of this step was written.
        metrics: of the exported weights, empty if interrupted.
        is_main: whether this is the process that writes; the others return the same step.
    """

    step: int
    interrupted: bool
    metrics: Mapping[str, float]
    is_main: bool


def train(
    task: TrainingTask[Any],
    run_folder: Path,
    *,
    resume: bool = False,
    bar: bool = True,
    report: Callable[[Row], None] | None = None,
) -> TrainingResult:
    """Train a task and export its model to ``run_folder/model``.

    With several processes, started together by ``accelerate launch`` or ``torchrun``, each calls this; on several
    machines the folder is on a file system that all of them see. SIGINT and SIGTERM end the run after the current
    step, with a checkpoint.

    Args:
        task: with its configuration.
        run_folder: where everything goes.
        resume: continue with the newest whole checkpoint; from the beginning where there is none yet.
        bar: show progress.
        report: called in the main process with each row of metrics.

    Raises:
        InvalidConfig: the configuration does not fit the network, the processes, or the run that is continued.
        InvalidCheckpoint: the checkpoint is of another network.
        TrainingFailed: the loss or gradient is not finite, or the disk is full; the last checkpoint stays.
    """
    run = RunFolder(run_folder)
    accelerator = make_accelerator(task.config.training, uses_all_parameters=task.uses_all_parameters)
    with ExitStack() as stack:
        if accelerator.is_main_process:
            stack.enter_context(run.claimed())
            if not resume:
                run.refuse_run()
            stack.enter_context(logging_to(run.log))
        return _Run(task, run, accelerator, resume=resume).go(bar=bar, report=report)


class _Run:
    """One process's part in a run."""

    def __init__(self, task: TrainingTask[Any], run: RunFolder, accelerator: Accelerator, *, resume: bool) -> None:
        self._task, self._run, self._accelerator = task, run, accelerator
        self._config = task.config.training
        self._share = share_of(
            process=accelerator.process_index,
            processes=accelerator.num_processes,
            batch_size=self._config.batch_size,
            parts=self._config.gradient_accumulation,
        )
        self._checkpoints, self._best = CheckpointFolder(run.checkpoints), CheckpointFolder(run.best)
        seed_everything(self._config.seed, 0, 0, accelerator.device)
        self._learner = Learner(task, accelerator)
        self._step = 0
        self._fresh: list[torch.Tensor] = []  # numbers of steps that are still on the device
        self._window = Window()
        self._validated = 0
        self._metrics: dict[str, float] = {}
        self._best_score = -math.inf
        self._recorder: Recorder | None = None
        if resume:
            self._resume()

    def go(self, *, bar: bool, report: Callable[[Row], None] | None) -> TrainingResult:
        """Train, validate, save and export, from the step reached so far."""
        steps = self._config.steps
        if self._accelerator.is_main_process:
            self._run.begin(
                self._task.config,
                task=type(self._task),
                step=self._step,
                processes=self._accelerator.num_processes,
            )
            self._recorder = Recorder(self._run, step=self._step, steps=steps, bar=bar, report=report)
        try:
            self._train()
            finished = self._step == steps
            if finished and self._recorder is not None:
                self._export()
        except TrainingFailed as error:
            logger.error("%s", error)
            raise
        finally:
            if self._recorder is not None:
                self._recorder.close()
        self._accelerator.wait_for_everyone()
        return TrainingResult(
            step=self._step,
            interrupted=not finished,
            metrics=self._metrics if finished else {},
            is_main=self._recorder is not None,
        )

    def _train(self) -> None:
        config, process = self._config, self._accelerator.process_index
        steps = range(self._step, config.steps)
        with self._accelerator.main_process_first():
            self._task.prepare()
        dataset = self._task.dataset()
        batches = GlobalBatches(size=len(dataset), batch_size=config.batch_size, seed=config.seed)
        loader = make_loader(
            dataset,
            micro_batches(batches, self._share, steps),
            seed=config.seed,
            workers=config.workers,
            pin=self._accelerator.device.type == "cuda",
        )
        logger.info("training from step %d to %d in %s", self._step, config.steps, self._run.path)
        with StopRequest(self._accelerator) as stop:
            for step in steps:
                seed_everything(config.seed, step + 1, process, self._accelerator.device)
                self._fresh.append(self._learner.step(step, self._next_parts(loader)))
                self._step = step + 1
                if self._recorder is not None:
                    self._recorder.stepped(config.batch_size)
                stopping = stop.agreed()
                self._follow_up(stopping=stopping)
                if stopping:
                    break
        if self._step == config.steps and self._validated != self._step:
            self._validate()

    def _next_parts(self, loader: Iterator[dict[str, Any]]) -> list[dict[str, Any]]:
        device = self._accelerator.device
        return [send_to_device(next(loader), device, non_blocking=True) for _ in range(self._share.parts)]

    def _follow_up(self, *, stopping: bool) -> None:
        """What is due after a step."""
        config = self._config
        last = self._step == config.steps
        if last or self._step % config.log_every == 0:
            self._fetch()
            numbers = self._window.take(self._learner.names)
            if self._recorder is not None:
                self._recorder.trained(self._step, {**numbers, "learning_rate": self._learner.learning_rate})
        if last or self._step % config.validate_every == 0:
            self._validate()
        if last or stopping or self._step % config.checkpoint_every == 0:
            self._save()

    def _fetch(self) -> None:
        """Bring the numbers of the last steps from the device, as means over all processes, and look at them.

        Raises:
            TrainingFailed: one is not finite. No checkpoint is written without this look.
        """
        if not self._fresh:
            return
        rows = self._accelerator.reduce(torch.stack(self._fresh), reduction="mean").tolist()
        first = self._step - len(rows) + 1
        self._fresh = []
        for step, numbers in enumerate(rows, first):
            loss, gradient_norm = numbers[:2]
            # With fp16 the scaler leaves out steps whose gradient overflows.
            if not math.isfinite(loss) or (self._accelerator.scaler is None and not math.isfinite(gradient_norm)):
                raise TrainingFailed(
                    f"step {step}: the loss is {loss}, the norm of its gradient {gradient_norm}; the checkpoints up to "
                    f"here are whole. Lower training.learning_rate or look at the samples of that step"
                )
            self._window.add(numbers)

    def _validate(self) -> None:
        self._fetch()
        self._validated = self._step
        if self._recorder is not None:
            seed_everything(self._config.seed, 0, 0, self._accelerator.device)
            with self._learner.evaluating() as network:
                found = self._task.validate(network)
            self._metrics = {name: float(value) for name, value in found.metrics.items() if math.isfinite(value)}
            self._recorder.validated(self._step, self._metrics, found.pictures)
            logger.info("validation at step %d: %s", self._step, self._metrics)
            self._keep_best(found.metrics)
        self._accelerator.wait_for_everyone()

    def _keep_best(self, metrics: Mapping[str, float]) -> None:
        primary = self._task.primary
        if primary not in metrics:
            raise InvalidConfig(f"{type(self._task).__name__}.validate gives {list(metrics)}; needed its '{primary}'")
        score = float(metrics[primary]) * (1 if self._task.larger_is_better else -1)
        if score > self._best_score:
            self._best_score = score
            tensors = {"network": self._learner.exported_tensors}
            self._best.write_only(Checkpoint(step=self._step, tensors=tensors, state={"metrics": self._metrics}))

    def _save(self) -> None:
        self._fetch()
        if self._recorder is None:
            return
        state = {
            "config": config_tree(self._task.config),
            "learner": self._learner.state(),
            "window": self._window.steps,
            "validated": self._validated,
            "metrics": self._metrics,
            "best_score": self._best_score if math.isfinite(self._best_score) else None,
        }
        checkpoint = Checkpoint(step=self._step, tensors=self._learner.files(), state=state)
        path = self._checkpoints.write(checkpoint, keep=self._config.keep_checkpoints)
        logger.info("checkpoint %s", path.name)

    def _resume(self) -> None:
        with self._accelerator.main_process_first():
            checkpoint = self._checkpoints.newest()
        steps = gather_object([checkpoint.step if checkpoint else None])
        if len(set(steps)) > 1:
            raise InvalidConfig(
                f"the processes find the checkpoints {steps} in '{self._checkpoints.path}'; the folder of a run has to "
                "be on a file system that all machines see"
            )
        if checkpoint is None:
            logger.info("no checkpoint in %s yet", self._checkpoints.path)
        else:
            self._take_over(checkpoint)

    def _take_over(self, checkpoint: Checkpoint) -> None:
        state = checkpoint.state
        before = make_config(type(self._task.config), state["config"])
        changes = differences(before, self._task.config)
        refused = [str(change) for change in changes if change.changes_result]
        if refused:
            raise InvalidConfig(f"a resumed run cannot change {'; '.join(refused)}; begin a new run")
        if self._config.steps < checkpoint.step:
            raise InvalidConfig(f"'training.steps' is {self._config.steps}; the run has done {checkpoint.step} already")
        for change in changes:
            logger.info("changed %s", change)
        self._learner.restore(checkpoint.tensors, state["learner"])
        self._step, self._window = checkpoint.step, Window(state["window"])
        self._validated, self._metrics = state["validated"], dict(state["metrics"])
        self._best_score = -math.inf if state["best_score"] is None else state["best_score"]

    def _export(self) -> None:
        tensors = self._learner.exported_tensors
        best = self._best.newest() if self._config.export == "best" else None
        if best is not None:
            tensors, self._metrics = dict(best.tensors["network"]), dict(best.state["metrics"])
        network = self._learner.finish(tensors)
        partial = self._run.model.with_name(".model.partial")
        with writing("the model"):
            shutil.rmtree(partial, ignore_errors=True)
            self._task.export(network, partial, self._metrics)
            shutil.rmtree(self._run.model, ignore_errors=True)
            os.rename(partial, self._run.model)
        logger.info("exported %s", self._run.model)
