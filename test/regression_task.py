"""A small training that is real: a network learns a curve with noise. Also for processes that tests start."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from fourd_ros.model_io.safetensors_file import write_tensors
from fourd_ros.training.config import TaskConfig
from fourd_ros.training.settings import setting
from fourd_ros.training.task import Batch, Loss, Sample, TrainingTask, Validation


@dataclass(frozen=True, kw_only=True)
class RegressionConfig(TaskConfig):
    samples: int = setting(50, "size of the dataset", minimum=1)
    noise: float = setting(0.05, "of the values", minimum=0.0)
    dropout: float = setting(0.1, "of the hidden layer", minimum=0.0, maximum=0.9)
    width: int = setting(16, "of the hidden layer", minimum=1)
    spoiled_step: int | None = setting(None, "its loss is not a number", minimum=1)


class CurveNetwork(torch.nn.Module):
    """Two hidden layers; counts its training steps in a buffer."""

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.first = torch.nn.Linear(1, width)
        self.second = torch.nn.Linear(width, width)
        self.last = torch.nn.Linear(width, 1)
        self.dropout = dropout
        self.checkpointing = False
        self.recomputed = 0
        self.register_buffer("calls", torch.zeros((), dtype=torch.int64))

    def enable_gradient_checkpointing(self) -> None:
        self.checkpointing = True

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.training:
            self.calls += 1
        if self.checkpointing and self.training:
            hidden = checkpoint(self._hidden, x, use_reentrant=False)
        else:
            hidden = self._hidden(x)
        return self.last(hidden)[:, 0]

    def _hidden(self, x: torch.Tensor) -> torch.Tensor:
        self.recomputed += 1
        hidden = functional.dropout(torch.tanh(self.first(x)), self.dropout, self.training)
        return torch.tanh(self.second(hidden))


class Curve:
    """Points of a sine; the noise of a point is drawn anew each time."""

    def __init__(self, size: int, noise: float) -> None:
        self.x = np.linspace(-1, 1, size, dtype=np.float32)
        self.noise = noise

    def __len__(self) -> int:
        return len(self.x)

    def sample(self, index: int, rng: np.random.Generator) -> Sample:
        x = self.x[index]
        y = np.sin(math.pi * x) + self.noise * rng.standard_normal()
        return {"x": self.x[index : index + 1], "y": np.float32(y)}


class RegressionTask(TrainingTask[RegressionConfig]):
    config_class = RegressionConfig
    primary = "error"

    def __init__(self, config: RegressionConfig) -> None:
        super().__init__(config)
        self.steps_seen = 0

    def network(self) -> torch.nn.Module:
        return CurveNetwork(self.config.width, self.config.dropout)

    def dataset(self) -> Curve:
        return Curve(self.config.samples, self.config.noise)

    def loss(self, network: torch.nn.Module, batch: Batch) -> Loss:
        self.steps_seen += 1
        error = network(batch["x"]) - batch["y"]
        loss = error**2
        if self.steps_seen == self.config.spoiled_step:
            loss = loss * math.nan
        return Loss(per_sample=loss, terms={"absolute": error.abs()})

    def validate(self, network: torch.nn.Module) -> Validation:
        x = torch.linspace(-1, 1, 32)[:, None].to(next(network.parameters()).device)
        error = network(x) - torch.sin(math.pi * x[:, 0])
        picture = (error.abs().clamp(0, 1) * 255).byte().cpu().numpy().reshape(4, 8)
        return Validation(metrics={"error": float(error.abs().mean())}, pictures={"error": picture})

    def export(self, network: torch.nn.Module, folder: Path, metrics: Mapping[str, float]) -> None:
        folder.mkdir()
        write_tensors(network.state_dict(), folder / "network.safetensors")
        (folder / "metrics.json").write_text(json.dumps(dict(metrics)))
