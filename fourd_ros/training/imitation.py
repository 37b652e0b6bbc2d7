"""Training of the learned policy: behaviour cloning of simulated demonstrations."""

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from fourd_ros.model_io.card import ModelCard
from fourd_ros.model_io.folder import write_model
from fourd_ros.model_io.onnx_export import export_onnx
from fourd_ros.policies.imitation import MODEL, ImitationPolicy, onnx_file
from fourd_ros.policies.imitation_inputs import SCALE, TASKS
from fourd_ros.policies.imitation_network import Chunks, ImitationNetwork
from fourd_ros.training.config import TaskConfig
from fourd_ros.training.imitation_samples import DemonstrationOptions, ImitationSamples, prepare_demonstrations
from fourd_ros.training.settings import setting
from fourd_ros.training.task import Batch, Loss, TrainingTask, Validation

INPUTS = ("points", "state")
PLACE_WEIGHT, TURN_WEIGHT, FINGER_WEIGHT = 1.0, 0.5, 0.3
"""Of errors of the place [0.1 m], of the direction, and of the fingers."""

STEP_WEIGHTS = (1.4, 0.6)
"""Of the first and the last step of a chunk: the last ones are seldom done."""

CHOICE_WEIGHT, ALL_WAYS_WEIGHT = 0.1, 0.03
"""Of the choice of the way that comes nearest, and of the errors of all ways: without it some might never be taken."""


@dataclass(frozen=True, kw_only=True)
class DemonstrationSettings:
    """Demonstrations by the scripted expert, made once."""

    folder: Path = setting(Path("out/imitation"), "where demonstrations are kept", changes_result=False)
    tasks: tuple[str, ...] = setting(TASKS, "kinds that are shown, in turn")
    count: int = setting(320, "to train on", minimum=1)
    validation: int = setting(40, "held out", minimum=1)
    seed: int = setting(4000, "of their start states; those held out are of the next one", minimum=0, maximum=4998)
    disturbed: float = setting(0.5, "share that begins in the midst of a worse attempt", minimum=0.0, maximum=1.0)
    disturbance: float = setting(0.04, "standard deviation of the aim of that attempt [m]", minimum=0.0)
    gripper_noise: float = setting(0.01, "of where free fingers are said to be [m]", minimum=0.0)
    workers: int = setting(1, "processes that make them", minimum=1, changes_result=False)


@dataclass(frozen=True, kw_only=True)
class ImitationNetworkSettings:
    """The network."""

    width: int = setting(64, "features of a token", minimum=8)
    layers: int = setting(3, "of the transformer", minimum=1)
    heads: int = setting(4, "of its attention", minimum=1)
    steps: int = setting(12, "of a chunk, 0.2 s each", minimum=1)
    ways: int = setting(3, "chunks to choose from", minimum=1)


@dataclass(frozen=True, kw_only=True)
class ImitationConfig(TaskConfig):
    """Everything that a run needs."""

    demonstrations: DemonstrationSettings = setting(DemonstrationSettings, "what is trained on")
    network: ImitationNetworkSettings = setting(ImitationNetworkSettings, "what is trained")


class ImitationTask(TrainingTask[ImitationConfig]):
    """What the training loop needs to know of the learned policy."""

    config_class = ImitationConfig
    primary = "place_mm"

    def network(self) -> ImitationNetwork:
        """A network that knows nothing."""
        return ImitationNetwork(**vars(self.config.network))

    def prepare(self) -> None:
        """Demonstrations for training, and those that are held out."""
        settings = self.config.demonstrations
        self._demonstrations("training", settings.count, settings.seed)
        self._demonstrations("validation", settings.validation, settings.seed + 1)

    def dataset(self) -> ImitationSamples:
        """Samples of the demonstrations."""
        settings = self.config.demonstrations
        shards = self._demonstrations("training", settings.count, settings.seed)
        return ImitationSamples(shards, augment=True, gripper_noise=settings.gripper_noise)

    def loss(self, network: torch.nn.Module, batch: Batch) -> Loss:
        """Errors of the way that comes nearest, and of the choice among the ways."""
        chunks = network(**{name: batch[name] for name in INPUTS})
        errors = _errors(chunks, batch["actions"])
        nearest = errors.detach().argmin(dim=1)
        error = errors.gather(1, nearest[:, None])[:, 0]
        choice = functional.cross_entropy(chunks.preference, nearest, reduction="none")
        return Loss(
            per_sample=error + CHOICE_WEIGHT * choice + ALL_WAYS_WEIGHT * errors.mean(dim=1),
            terms={"error": error, "choice": choice},
        )

    def validate(self, network: torch.nn.Module) -> Validation:
        """Errors of the preferred way on demonstrations that are held out."""
        device = next(network.parameters()).device
        batch = {name: value.to(device) for name, value in self._validation_batch.items()}
        with torch.no_grad():
            chunks = network(**{name: batch[name] for name in INPUTS})
        rows = torch.arange(len(chunks.preference), device=device)
        said, done = chunks.actions[rows, chunks.preference.argmax(dim=1)], batch["actions"]
        off = (said[..., :3] - done[..., :3]).norm(dim=-1) * SCALE * 1000
        half = off.shape[1] // 2
        turned = (said[..., 3:5] * done[..., 3:5]).sum(dim=-1) / said[..., 3:5].norm(dim=-1).clamp(min=1e-6)
        return Validation(
            metrics={
                "place_mm": float(off[:, :half].mean()),
                "place_median_mm": float(off[:, :half].median()),
                "turn_degrees": float(torch.rad2deg(turned.clamp(-1, 1).acos() / 2)[:, :half].mean()),
                "fingers_right": float(((said[..., 5] > 0) == (done[..., 5] > 0.5)).float().mean()),
            }
        )

    def export(self, network: torch.nn.Module, folder: Path, metrics: Mapping[str, float]) -> None:
        """A model folder with one checkpoint, named after its steps."""
        assert isinstance(network, ImitationNetwork)
        name = f"step_{self.config.training.steps}"
        with tempfile.TemporaryDirectory() as place:
            onnx = Path(place, "model.onnx")
            export_onnx(network, network.onnx_signature(), onnx)
            write_model(
                folder,
                {name: network},
                card=card_of(self.config, {name: metrics}),
                model_class=ImitationPolicy.__name__,
                extra={onnx_file(name): onnx},
            )

    def _demonstrations(self, split: str, count: int, seed: int) -> list[Path]:
        """Shards of them; those that are missing are made."""
        settings = self.config.demonstrations
        options = DemonstrationOptions(
            tasks=settings.tasks,
            seed=seed,
            steps=self.config.network.steps,
            disturbed=settings.disturbed,
            disturbance=settings.disturbance,
        )
        return prepare_demonstrations(settings.folder / split, count, options, workers=settings.workers)

    @cached_property
    def _validation_batch(self) -> dict[str, Tensor]:
        settings = self.config.demonstrations
        shards = self._demonstrations("validation", settings.validation, settings.seed + 1)
        samples = ImitationSamples(shards, augment=False, gripper_noise=settings.gripper_noise)
        rows = [samples.sample(index, np.random.default_rng(0)) for index in range(len(samples))]
        return {name: torch.from_numpy(np.stack([np.asarray(row[name]) for row in rows])) for name in rows[0]}


def _errors(chunks: Chunks, done: Tensor) -> Tensor:
    """Of every way over its steps, shape [B, M]."""
    said, done = chunks.actions, done[:, None].expand_as(chunks.actions)
    place = (said[..., :3] - done[..., :3]).norm(dim=-1)
    turn = (said[..., 3:5] - done[..., 3:5]).norm(dim=-1)
    fingers = functional.binary_cross_entropy_with_logits(said[..., 5], done[..., 5], reduction="none")
    weights = torch.linspace(*STEP_WEIGHTS, place.shape[-1], device=place.device)
    errors: Tensor = (PLACE_WEIGHT * place + TURN_WEIGHT * turn + FINGER_WEIGHT * fingers) * weights
    return errors.mean(dim=-1)


def card_of(config: ImitationConfig, metrics: Mapping[str, Mapping[str, float]]) -> ModelCard:
    """The card of a model folder.

    Args:
        config: of the run.
        metrics: by checkpoint.
    """
    shown = config.demonstrations
    return ModelCard(
        name=MODEL,
        system="policies",
        purpose="Pushes, picks and places, and opens drawers with a robot arm, looking at points of one depth camera. "
        "Checkpoints of one training are policies of different skill.",
        licence="Apache-2.0",
        data=f"{shown.count} demonstrations of {', '.join(shown.tasks)} by the scripted expert in simulation, "
        f"{shown.disturbed:.0%} of them from the midst of a worse attempt.",
        limits="The place of its target has to be told at the start. Simulated objects and one robot; never tried on a "
        "real one.",
        metrics={name: {key: float(value) for key, value in values.items()} for name, values in metrics.items()},
        metrics_command="python tools/make_imitation.py",
    )
