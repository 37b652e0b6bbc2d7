"""What a model brings to the training loop: its network, samples, loss, validation and export."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Generic, Protocol, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from fourd_ros.training.config import TaskConfig

C = TypeVar("C", bound=TaskConfig)

Sample = Mapping[str, "NDArray[Any] | torch.Tensor | float | int | str"]
Batch = Mapping[str, Any]


class TrainingDataset(Protocol):
    """Samples by index. It may be copied into data loading processes."""

    def __len__(self) -> int: ...

    def sample(self, index: int, rng: np.random.Generator) -> Sample:
        """One sample; the same for the same index and generator.

        Args:
            index: of the sample, 0 .. len - 1.
            rng: seeded by the run's seed, the step and the place in its batch; every random choice
                (crop, noise, diffusion time) is drawn from it.

        Returns:
            arrays, tensors, numbers or strings, with the same names and shapes for every sample.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class Loss:
    """Of one batch.

    Args:
        per_sample: what is minimised in the mean over the batch, shape [B].
        terms: parts of it that are worth a curve, each of shape [B].
    """

    per_sample: torch.Tensor
    terms: Mapping[str, torch.Tensor] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Validation:
    """Of a network at one step.

    Args:
        metrics: numbers by name; the task's `primary` is among them.
        pictures: by name, colour or grey, shape [H, W, 3] or [H, W], uint8.
    """

    metrics: Mapping[str, float]
    pictures: Mapping[str, NDArray[np.uint8]] = field(default_factory=dict)


class TrainingTask(ABC, Generic[C]):
    """One kind of training. A subclass sets the class variables and fills in the five abstract methods.

    Args:
        config: of the run.
    """

    config_class: ClassVar[type[TaskConfig]]
    """Dataclass that `config` is read into."""

    primary: ClassVar[str]
    """Name of the metric that tells the best checkpoint."""

    larger_is_better: ClassVar[bool] = False

    uses_all_parameters: ClassVar[bool] = True
    """Whether every loss depends on every trained parameter; if not, several processes look for the others at each
    step, which costs time."""

    def __init__(self, config: C) -> None:
        self.config = config

    def prepare(self) -> None:
        """Make the files that `dataset` and `validate` read. The main process comes first, so that the others find them
        made; nothing else in a task may wait for other processes."""

    @abstractmethod
    def network(self) -> torch.nn.Module:
        """A fresh network; torch is seeded before. Parameters that need no gradient are neither trained nor saved.

        Parts that are left in evaluation mode stay in it (frozen ones with batch normalisation, say); a network that is
        in evaluation mode as a whole, as ``from_pretrained`` gives it, is put into training mode.
        """

    @abstractmethod
    def dataset(self) -> TrainingDataset:
        """The samples to train on."""

    @abstractmethod
    def loss(self, network: torch.nn.Module, batch: Batch) -> Loss:
        """The loss of a batch, stacked from samples and on the network's device; of each sample by itself, so that
        it does not matter how a batch is cut over processes and accumulation."""

    @abstractmethod
    def validate(self, network: torch.nn.Module) -> Validation:
        """Measure a network (averaged weights, evaluation mode, no gradients) on held-out data; torch, NumPy and Python
        are seeded alike before each time. The main process alone does it."""

    @abstractmethod
    def export(self, network: torch.nn.Module, folder: Path, metrics: Mapping[str, float]) -> None:
        """Write a model folder.

        Args:
            network: with the weights to be used (averaged, adapters merged), on the CPU.
            folder: does not exist yet.
            metrics: of these weights, from `validate`.
        """
