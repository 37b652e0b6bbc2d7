"""Which samples a step trains on: a function of the seed and the step, whatever the number of processes."""

import signal
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from fourd_ros.errors import InvalidConfig
from fourd_ros.training.task import TrainingDataset

_ORDER, _SAMPLE, _STEP = range(3)
"""Streams of random numbers that never meet."""


class Place(NamedTuple):
    """One sample of one step.

    Args:
        sample: its index in the dataset.
        step: steps done before.
        position: in the global batch.
    """

    sample: int
    step: int
    position: int


@dataclass(frozen=True, kw_only=True)
class Share:
    """What one process takes of each global batch: `parts` pieces of `size` samples, in a row.

    Args:
        first: position of its first sample in the global batch.
        parts: micro batches of a step.
        size: samples of a micro batch.
    """

    first: int
    parts: int
    size: int


def share_of(*, process: int, processes: int, batch_size: int, parts: int) -> Share:
    """The share of one of several processes.

    Raises:
        InvalidConfig: the batch cannot be cut evenly.
    """
    if batch_size % (processes * parts):
        raise InvalidConfig(
            f"'training.batch_size' is {batch_size}; with {processes} processes and gradient_accumulation {parts} "
            f"it has to be a multiple of {processes * parts}"
        )
    mine = batch_size // processes
    return Share(first=process * mine, parts=parts, size=mine // parts)


class GlobalBatches:
    """The dataset in a new order each epoch, cut into batches that may reach into the next epoch.

    Args:
        size: of the dataset.
        batch_size: over all processes.
        seed: of the run.
    """

    def __init__(self, *, size: int, batch_size: int, seed: int) -> None:
        if size < 1:
            raise InvalidConfig("the dataset is empty; nothing can be trained on")
        self._size, self._batch_size, self._seed = size, batch_size, seed
        self._orders: dict[int, NDArray[np.int64]] = {}

    def indices(self, step: int) -> NDArray[np.int64]:
        """Indices into the dataset, shape [batch_size]."""
        draws = np.arange(step * self._batch_size, (step + 1) * self._batch_size)
        epochs = draws // self._size
        self._orders = {epoch: self._order(epoch) for epoch in np.unique(epochs).tolist()}
        orders = [self._orders[epoch][draw] for epoch, draw in zip(epochs.tolist(), draws % self._size, strict=True)]
        return np.array(orders, np.int64)

    def _order(self, epoch: int) -> NDArray[np.int64]:
        if epoch in self._orders:
            return self._orders[epoch]
        return _generator(self._seed, _ORDER, epoch).permutation(self._size)


def micro_batches(batches: GlobalBatches, share: Share, steps: range) -> Iterator[list[Place]]:
    """The micro batches of one process, `share.parts` for each step."""
    for step in steps:
        indices = batches.indices(step)
        for part in range(share.parts):
            first = share.first + part * share.size
            yield [Place(int(indices[p]), step, p) for p in range(first, first + share.size)]


def make_loader(
    dataset: TrainingDataset, places: Iterator[list[Place]], *, seed: int, workers: int, pin: bool
) -> Iterator[dict[str, Any]]:
    """Stacked micro batches in the order of `places`.

    Args:
        dataset: of the task.
        places: from `micro_batches`.
        seed: of the run.
        workers: data loading processes; 0 loads in this one.
        pin: in memory that a GPU can fetch from.
    """
    loader = torch.utils.data.DataLoader(
        _Drawn(dataset, seed),
        batch_sampler=places,
        num_workers=workers,
        pin_memory=pin,
        worker_init_fn=_leave_signals_to_the_parent,
    )
    return iter(loader)


def step_seed(seed: int, step: int, process: int) -> int:
    """What torch, NumPy and Python are seeded with before a step, so that no state of theirs has to be kept."""
    return int(np.random.SeedSequence(seed, spawn_key=(_STEP, step, process)).generate_state(1)[0])


class _Drawn(torch.utils.data.Dataset[dict[str, Any]]):
    """Samples by place, each with random numbers of its own."""

    def __init__(self, dataset: TrainingDataset, seed: int) -> None:
        self._dataset, self._seed = dataset, seed

    def __getitem__(self, place: Place) -> dict[str, Any]:
        return dict(self._dataset.sample(place.sample, _generator(self._seed, _SAMPLE, place.step, place.position)))


def _generator(seed: int, *stream: int) -> np.random.Generator:
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=stream))


def _leave_signals_to_the_parent(worker: int) -> None:
    """Ctrl-C reaches the whole group of processes, and the batches of the last step are still needed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
