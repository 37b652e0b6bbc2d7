"""What the training loop costs beside a bare PyTorch loop over the same network, samples and optimizer.

The network is small (three layers of 64, batch 32, no averaged weights), so that a step is mostly what surrounds it.
Rows are medians over repeats, taken in turn, with one thread.

The clock is the processor time of a long run minus that of a short one, divided by the steps between them: start,
validation, checkpoint and export are in both and cancel out.

    python benchmarks/training.py
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch
from measure import report

from fourd_ros.training.config import TaskConfig, TrainingConfig
from fourd_ros.training.loop import train
from fourd_ros.training.task import Batch, Loss, Sample, TrainingTask, Validation

SHORT, LONG = 200, 1200
WIDTH, BATCH, SAMPLES = 64, 32, 4096


class Points:
    """Random points and their norm."""

    def __init__(self) -> None:
        self._x = np.random.default_rng(0).standard_normal((SAMPLES, WIDTH), np.float32)
        self._y = np.linalg.norm(self._x, axis=1)

    def __len__(self) -> int:
        return SAMPLES

    def sample(self, index: int, rng: np.random.Generator) -> Sample:
        return {"x": self._x[index], "y": self._y[index]}


class NormTask(TrainingTask[TaskConfig]):
    """Learns the norm of a point."""

    config_class = TaskConfig
    primary = "loss"

    def network(self) -> torch.nn.Module:
        layers = [torch.nn.Linear(WIDTH, WIDTH), torch.nn.ReLU(), torch.nn.Linear(WIDTH, WIDTH), torch.nn.ReLU()]
        return torch.nn.Sequential(*layers, torch.nn.Linear(WIDTH, 1))

    def dataset(self) -> Points:
        return Points()

    def loss(self, network: torch.nn.Module, batch: Batch) -> Loss:
        return Loss(per_sample=(network(batch["x"])[:, 0] - batch["y"]) ** 2)

    def validate(self, network: torch.nn.Module) -> Validation:
        return Validation(metrics={"loss": 0.0})

    def export(self, network: torch.nn.Module, folder: Path, metrics: Mapping[str, float]) -> None:
        folder.mkdir()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeat", type=int, default=7)
    repeat = parser.parse_args().repeat
    torch.set_num_threads(1)
    loops = {"bare loop": bare, "fourd train": ours}
    for run in loops.values():
        run(SHORT)
    per_step: dict[str, list[float]] = {name: [] for name in loops}
    for _ in range(repeat):
        for name, run in loops.items():
            per_step[name].append((seconds(run, LONG) - seconds(run, SHORT)) / (LONG - SHORT) * 1e3)
    medians = {name: statistics.median(values) for name, values in per_step.items()}
    rows = [{"what": name, "ms_per_step": value} for name, value in medians.items()]
    overhead = medians["fourd train"] - medians["bare loop"]
    report("training", [*rows, {"what": "overhead", "ms_per_step": overhead}])


def seconds(run: Callable[[int], None], steps: int) -> float:
    """Processor time of this process [s]."""
    start = time.process_time()
    run(steps)
    return time.process_time() - start


def ours(steps: int) -> None:
    settings = TrainingConfig(steps=steps, batch_size=BATCH, device="cpu", ema_decay=None, checkpoint_every=LONG)
    with tempfile.TemporaryDirectory() as folder:
        train(NormTask(TaskConfig(training=settings)), Path(folder, "run"), bar=False)


def bare(steps: int) -> None:
    task = NormTask(TaskConfig())
    network, points = task.network(), task.dataset()
    optimizer = torch.optim.AdamW(network.parameters(), fused=True)
    order = np.random.default_rng(0)
    for step in range(steps):
        samples = [points.sample(index, order) for index in order.integers(SAMPLES, size=BATCH)]
        loss = task.loss(network, torch.utils.data.default_collate(samples)).per_sample.mean()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        if step % 50 == 0:
            loss.item()


if __name__ == "__main__":
    main()
