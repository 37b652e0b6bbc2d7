"""Training of the point dynamics: how things move when the gripper touches them."""

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from fourd_ros.errors import InvalidConfig
from fourd_ros.model_io.card import ModelCard
from fourd_ros.model_io.folder import write_model
from fourd_ros.model_io.loading import load_component
from fourd_ros.model_io.onnx_export import export_onnx
from fourd_ros.simulation.tabletop_scene import SEED_EPISODES, SPLIT_SEEDS
from fourd_ros.training.config import TaskConfig
from fourd_ros.training.points_recording import HORIZON, STORED_THINGS, MotionSource, prepare_samples
from fourd_ros.training.points_samples import Following, PointSamples
from fourd_ros.training.points_windows import INPUTS, unfold
from fourd_ros.training.settings import setting
from fourd_ros.training.task import Batch, Loss, TrainingTask, Validation
from fourd_ros.world_model.compact.dynamics import COMPONENT, SUBSTEPS
from fourd_ros.world_model.compact.dynamics_network import PointDynamicsNetwork
from fourd_ros.world_model.compact.dynamics_onnx import ONNX_PARTS
from fourd_ros.world_model.compact.dynamics_state import Motion

FloatArray = NDArray[np.float64]

STILL_WEIGHT = 0.15
"""Of a thing that stands still, against one that moves."""

SOFT = 0.2
"""Errors below this are squared rather than absolute [cm]."""

MEMBER_WEIGHT = 0.3
SIGMA_WEIGHT = 0.05
"""Of what is said about points that take part and about errors, against the error itself [cm]."""

CENTIMETRES = 100.0

TIME_WEIGHTS = (0.5, 1.5)
"""Of the errors after the first and after the last step that a sample is followed for."""

SHOWN_SAMPLES = 6
PICTURE_SIZE, PICTURE_PIXEL = 256, 0.003
PICTURE_CORNER = np.array([0.1, -0.384])
"""Number of pictures of a validation; width [pixels], size of a pixel [m] and corner in the world [m] of each."""

COVERED = 0.8
"""Share of errors that the interval of the calibrated deviation shall hold."""

QUANTILE = 1.2816
"""Half width of the central 80 % of a normal distribution, in standard deviations."""


@dataclass(frozen=True, kw_only=True)
class MotionSettings:
    """Simulated motions of one split of the tabletop data."""

    split: str = setting("train", "of 'fourd data tabletop'")
    seed: int = setting(90, "others have other scenes", minimum=0, maximum=SPLIT_SEEDS - 1)
    motions: int = setting(10_000, "number of them; each gives two samples or so", minimum=1, maximum=SEED_EPISODES)


@dataclass(frozen=True, kw_only=True)
class HeldOutSettings(MotionSettings):
    """Motions of which none is trained on."""

    split: str = setting("validation", "of 'fourd data tabletop'")
    seed: int = setting(7, "others have other scenes", minimum=0, maximum=SPLIT_SEEDS - 1)
    motions: int = setting(600, "number of them", minimum=1, maximum=SEED_EPISODES)


@dataclass(frozen=True, kw_only=True)
class PointsDataSettings:
    """Simulated motions, and the samples that are made of them once."""

    train: tuple[MotionSettings, ...] = setting((MotionSettings(),), "what is trained on")
    validation: HeldOutSettings = setting(HeldOutSettings, "what is held out")
    samples: Path = setting(Path("out/points_samples"), "where samples are kept", changes_result=False)
    things: int = setting(
        3, "that a sample shows, those nearest to the gripper's path", minimum=1, maximum=STORED_THINGS
    )
    noisy: float = setting(0.3, "share of observations through a simulated depth camera", minimum=0.0, maximum=1.0)
    window: int = setting(8, "steps of 0.1 s for which a sample is followed", minimum=1, maximum=HORIZON // SUBSTEPS)
    whole: float = setting(0.3, "share of samples that are followed to the end instead", minimum=0.0, maximum=1.0)
    workers: int = setting(2, "processes that make samples", minimum=1, changes_result=False)


@dataclass(frozen=True, kw_only=True)
class PointsNetworkSettings:
    """The network."""

    width: int = setting(96, "features of a point", minimum=8)
    memory: int = setting(192, "features that a thing remembers", minimum=8)
    hidden: int = setting(256, "features between what is felt and the motion", minimum=8)
    start: Path | None = setting(None, "model folder with the weights to begin with; null for fresh ones")


@dataclass(frozen=True, kw_only=True)
class PointsConfig(TaskConfig):
    """Everything that a run needs."""

    data: PointsDataSettings = setting(PointsDataSettings, "what is trained on")
    network: PointsNetworkSettings = setting(PointsNetworkSettings, "what is trained")


class PointsTask(TrainingTask[PointsConfig]):
    """What the training loop needs to know of the point dynamics."""

    config_class = PointsConfig
    primary = "moved_mean_mm"

    def network(self) -> PointDynamicsNetwork:
        """A network under which things move as friction says, or as it was trained before.

        Raises:
            InvalidConfig: `start` holds a network of other sizes.
        """
        settings = self.config.network
        network = PointDynamicsNetwork(width=settings.width, memory=settings.memory, hidden=settings.hidden)
        if settings.start is not None:
            begun = load_component(settings.start, COMPONENT)
            if begun.config != network.config:
                raise InvalidConfig(f"'{settings.start}' holds a network of {begun.config}, set is {network.config}")
            network.load_state_dict(begun.state_dict())
            network.sigma_scale.fill_(1.0)
        return network

    def prepare(self) -> None:
        """Samples of the training and of the held-out motions."""
        for motions in (*self.config.data.train, self.config.data.validation):
            self._prepared(motions)

    def dataset(self) -> PointSamples:
        """Samples of the training motions."""
        return self._samples(*self.config.data.train)

    def loss(self, network: torch.nn.Module, batch: Batch) -> Loss:
        """Errors of the points' places, which points take part, and how surprising the errors are."""
        batch = unfold(batch)
        motion = network(**{name: batch[name] for name in INPUTS})
        error = _point_errors(motion, batch)
        places = _place_error(error, batch)
        per_thing = (
            places + MEMBER_WEIGHT * _member_surprise(motion, batch) + SIGMA_WEIGHT * _surprise(motion, error, batch)
        )
        importance = batch["present"] * (STILL_WEIGHT + (1 - STILL_WEIGHT) * batch["moved"])
        total = importance.sum(dim=1).clamp(min=STILL_WEIGHT)
        return Loss(
            per_sample=(per_thing * importance).sum(dim=1) / total,
            terms={"place_cm": (places * importance).sum(dim=1) / total},
        )

    def validate(self, network: torch.nn.Module) -> Validation:
        """Errors at the last frame of things that moved, and false motion of those that did not."""
        found = self._findings(network)
        moved, mixed = found["moved"] > 0, found["mixed"] > 0
        error, still = found["error"][moved] * 1000, found["travel"][~moved]
        return Validation(
            metrics={
                "moved_mean_mm": float(error.mean()),
                "moved_median_mm": float(np.median(error)),
                "within_25_mm": float((error < 25).mean()),
                "false_motion": float((still > 0.01).mean()),
                "member_accuracy": float(found["members"][mixed].mean()) if mixed.any() else float("nan"),
                "covered_80": float((found["deviation"][moved] < QUANTILE).mean()),
            },
            pictures=self._pictures(network),
        )

    def export(self, network: torch.nn.Module, folder: Path, metrics: Mapping[str, float]) -> None:
        """The model folder, its deviations calibrated on the validation motions."""
        assert isinstance(network, PointDynamicsNetwork)
        found = self._findings(network)
        network.sigma_scale *= float(np.quantile(found["deviation"][found["moved"] > 0], COVERED)) / QUANTILE
        with tempfile.TemporaryDirectory() as place:
            for name, part in ONNX_PARTS.items():
                module = part(network)
                export_onnx(module, module.onnx_signature(), Path(place, Path(name).name))
            write_model(
                folder,
                {COMPONENT: network},
                card=_card(self.config, metrics),
                model_class="PointDynamics",
                extra={name: Path(place, Path(name).name) for name in ONNX_PARTS},
            )

    def _prepared(self, motions: MotionSettings) -> list[Path]:
        data = self.config.data
        source = MotionSource(split=motions.split, seed=motions.seed, motions=motions.motions, noisy=data.noisy)
        return prepare_samples(source, data.samples, workers=data.workers)

    def _samples(self, *sources: MotionSettings) -> PointSamples:
        data = self.config.data
        paths = [path for motions in sources for path in self._prepared(motions)]
        return PointSamples(paths, things=data.things, following=Following(window=data.window, whole=data.whole))

    @cached_property
    def _validation_batches(self) -> Sequence[Batch]:
        samples = self._samples(self.config.data.validation).plain()
        size = 64
        rng = np.random.default_rng(0)
        rows = [samples.sample(index, rng) for index in range(len(samples))]
        return [
            {name: torch.from_numpy(np.stack([np.asarray(row[name]) for row in part])) for name in rows[0]}
            for part in (rows[begin : begin + size] for begin in range(0, len(rows), size))
        ]

    def _findings(self, network: torch.nn.Module) -> dict[str, FloatArray]:
        """Of every thing of the validation samples; see `_judge`."""
        device = next(network.parameters()).device
        rows = []
        with torch.no_grad():
            for batch in self._validation_batches:
                placed = unfold({name: value.to(device) for name, value in batch.items()})
                rows.append(_judge(network(**{name: placed[name] for name in INPUTS}), placed))
        return {name: np.concatenate([row[name] for row in rows]) for name in rows[0]}

    def _pictures(self, network: torch.nn.Module) -> dict[str, NDArray[np.uint8]]:
        """Of some samples whose things moved most, seen from above."""
        device = next(network.parameters()).device
        batch = unfold({name: value.to(device) for name, value in self._validation_batches[0].items()})
        with torch.no_grad():
            motion = network(**{name: batch[name] for name in INPUTS})
        imagined = _point_errors(motion, batch) + batch["target"]
        last = batch["known"].sum(dim=1).long() - 1
        travel = (batch["target"][:, :, :, -1] - batch["points"]).norm(dim=-1).amax(dim=(1, 2)) * batch["known"].mean(
            dim=1
        )
        shown = torch.argsort(travel, descending=True)[:SHOWN_SAMPLES].tolist()
        return {
            f"from_above_{number}": from_above(
                batch["points"][row][batch["present"][row] > 0].cpu().numpy(),
                imagined[row, ..., last[row], :][batch["present"][row] > 0].cpu().numpy(),
                batch["target"][row, ..., last[row], :][batch["present"][row] > 0].cpu().numpy(),
            )
            for number, row in enumerate(shown)
        }


def from_above(start: FloatArray, imagined: FloatArray, truth: FloatArray) -> NDArray[np.uint8]:
    """Points [K, N, 3] on the table from above: grey at the start, green where they went, red where they were said to.

    The robot stands beyond the lower edge; a pixel is 3 mm wide.
    """
    picture = np.full((PICTURE_SIZE, PICTURE_SIZE, 3), 255, np.uint8)
    layers = ((start, (170, 170, 170)), (truth, (40, 150, 60)), (imagined, (210, 50, 40)))
    for points, colour in layers:
        places = np.rint((points.reshape(-1, 3)[:, :2] - PICTURE_CORNER) / PICTURE_PIXEL).astype(np.intp)
        rows, columns = PICTURE_SIZE - 1 - places[:, 0], PICTURE_SIZE - 1 - places[:, 1]
        inside = ((rows >= 0) & (rows < PICTURE_SIZE) & (columns >= 0) & (columns < PICTURE_SIZE)).nonzero()
        picture[rows[inside], columns[inside]] = colour
    return picture


def _point_errors(motion: Motion, batch: Batch) -> Tensor:
    """Predicted minus true places [m], shape [B, K, N, T, 3]."""
    local = batch["points"] - motion.origin[:, :, None]
    placed = torch.einsum("btkij,bknj->bknti", motion.rotation, local)
    return placed + motion.centre.transpose(1, 2)[:, :, None] - batch["target"]


def _place_error(error: Tensor, batch: Batch) -> Tensor:
    """Mean distance [cm] of the points that take part; later frames count more; shape [B, K]."""
    distance = error.norm(dim=-1) * CENTIMETRES
    soft = torch.where(distance < SOFT, distance**2 / (2 * SOFT), distance - SOFT / 2)
    first, last = TIME_WEIGHTS
    place = torch.arange(error.shape[3], device=error.device) / (batch["until"] - 1).clamp(min=1)[:, None]
    late = first + (last - first) * place
    weight = batch["moving"][..., None] * (batch["known"] * late)[:, None, None]
    return (soft * weight).sum(dim=(2, 3)) / weight.sum(dim=(2, 3)).clamp(min=1e-3)


def _member_surprise(motion: Motion, batch: Batch) -> Tensor:
    """About the points of things that moved, shape [B, K]."""
    surprise = functional.binary_cross_entropy_with_logits(motion.members, batch["moving"], reduction="none")
    return surprise.mean(dim=2) * batch["moved"] * (1.0 + 3.0 * batch["mixed"])


def _mean_errors(error: Tensor, batch: Batch) -> Tensor:
    """Over the points that take part [m], shape [B, K, T, 3]."""
    weight = batch["moving"][..., None, None]
    return (error * weight).sum(dim=2) / weight.sum(dim=2).clamp(min=1.0)


def _surprise(motion: Motion, error: Tensor, batch: Batch) -> Tensor:
    """Of the errors of places under a double exponential distribution, shape [B, K]; teaches its width alone."""
    sigma = motion.sigma.transpose(1, 2)
    off = _mean_errors(error, batch).detach().abs().mean(dim=-1)
    known = batch["known"][:, None]
    return ((off / sigma + sigma.log()) * known).sum(dim=2) / known.sum(dim=2).clamp(min=1.0)


def _judge(motion: Motion, batch: Batch) -> dict[str, FloatArray]:
    """Of every thing: did it move; are its points mixed; error and predicted travel at the last frame [m]; share of
    points whose part in the motion is told rightly; error in standard deviations, shape [*, 3] (others [*])."""
    things = batch["present"] > 0
    last = batch["known"].sum(dim=1).long() - 1
    row = torch.arange(len(last), device=last.device)
    mean = _mean_errors(_point_errors(motion, batch), batch)[row, :, last]
    sigma = motion.sigma[row, last]
    travel = motion.centre[row, last] - motion.origin
    right = ((motion.members > 0) == (batch["moving"] > 0)).float().mean(dim=2)
    found = {
        "moved": batch["moved"],
        "mixed": batch["mixed"] * batch["moved"],
        "error": mean.norm(dim=-1),
        "travel": travel.norm(dim=-1),
        "members": right,
        "deviation": mean.abs() / sigma[..., None],
    }
    return {name: value[things].double().cpu().numpy() for name, value in found.items()}


def _card(config: PointsConfig, metrics: Mapping[str, float]) -> ModelCard:
    return ModelCard(
        name="point_dynamics",
        system="world_model_compact",
        purpose="Says how things on a table move when a robot's gripper pushes, grasps or drops them.",
        licence="Apache-2.0",
        data=" ".join(
            f"{motions.motions} simulated motions of seed {motions.seed} of the split '{motions.split}'."
            for motions in config.data.train
        ),
        limits="Trained in simulation, with one kind of two-finger gripper; rigid things and parts of fixtures only.",
        metrics={"validation": {name: float(value) for name, value in metrics.items()}},
        metrics_command="fourd evaluate world-model --model MODEL",
    )
