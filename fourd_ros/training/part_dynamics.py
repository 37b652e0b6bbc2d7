"""Training of the part network, in two stages: where Gaussians go, then how they look."""

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fourd_ros.data.articulated_shards import ArticulatedShards
from fourd_ros.data.gaussian_database import GaussianDatabase
from fourd_ros.data.partdrag4d import ItemOptions, PackedPartDataset
from fourd_ros.data.partdrag4d_cameras import CAM_RADIUS, TRUE_FOV
from fourd_ros.data.partdrag4d_drags import DragOptions
from fourd_ros.model_io.card import ModelCard
from fourd_ros.model_io.folder import find_model, write_model
from fourd_ros.model_io.loading import load_component
from fourd_ros.part_dynamics.conversion import COMPONENT
from fourd_ros.part_dynamics.gaussians import POSITION
from fourd_ros.part_dynamics.network import PartNetwork, PartNetworkConfig, network_input
from fourd_ros.part_dynamics.objective import Perceptual, appearance_loss, motion_loss
from fourd_ros.part_dynamics.rays import pluecker_rays
from fourd_ros.part_dynamics.splat_camera import SplatCamera
from fourd_ros.training.config import TaskConfig
from fourd_ros.training.part_reprojection import ReprojectedItems
from fourd_ros.training.part_samples import PartSamples, TargetWeights
from fourd_ros.training.settings import setting
from fourd_ros.training.task import Batch, Loss, TrainingTask, Validation

LPIPS_COMPONENT = "network"
SHOWN = 4
"""Objects in the pictures of a validation."""


@dataclass(frozen=True, kw_only=True)
class PartDataSettings:
    """Objects of `fourd data articulated --packed`."""

    train: Path = setting(Path("out/articulated/train"), "objects to train on")
    validation: Path = setting(Path("out/articulated/validation"), "objects held out")
    database: Path | None = setting(
        None, "Gaussians of every state by a static network, as in the original; null: from points on the surface"
    )
    validation_items: int = setting(64, "pairs of states that are validated on", minimum=1)
    still: float = setting(0.15, "share of samples whose drags have no length", minimum=0.0, maximum=1.0)
    noise: float = setting(2.0, "standard deviation of where drags end [pixels of 512]", minimum=0.0)
    single: float = setting(0.5, "share of samples with one drag alone", minimum=0.0, maximum=1.0)
    reprojected: float = setting(
        0.5, "share of samples whose views are drawn from one picture with depth", minimum=0.0, maximum=1.0
    )
    position_weight: float = setting(30.0, "of where Gaussians are, beside how they look", minimum=0.0)
    moving_weight: float = setting(4.0, "of those that move, beside those that do not", minimum=0.0)
    per_view: bool = setting(True, "drags as every view sees them; false: as the first one does, as in the original")
    target_views: int = setting(2, "views of the target in a sample", minimum=1)


@dataclass(frozen=True, kw_only=True)
class PartNetworkSettings:
    """The network."""

    start: Path | None = setting(None, "model folder whose weights are gone on with; null: begin anew")
    input_size: int = setting(64, "width and height of the input views [pixels]", minimum=8)
    down_channels: tuple[int, ...] = setting((32, 64, 96, 160), "of the levels", minimum=32)
    down_attention: tuple[bool, ...] = setting((False, False, False, True), "which levels look at all views")
    up_channels: tuple[int, ...] = setting((160, 96, 64), "of the levels on the way up")
    up_attention: tuple[bool, ...] = setting((True, False, False), "which of those look at all views")
    window: tuple[float, float, float] = setting(
        (0.15625, 0.0, 0.6875), "left, top and side of what is seen of pictures, as shares of them"
    )
    drags: int = setting(10, "of a sample", minimum=1)
    transposed_drags: bool = setting(False, "maps of drags are transposed against the image, as in the original")
    anchored: bool = setting(True, "positions are told from the rays of pixels; false in the original")
    drag_unit: float = setting(512.0, "pixels in a radian of the slowest feature; 1 in the original", minimum=1.0)


@dataclass(frozen=True, kw_only=True)
class PartDynamicsConfig(TaskConfig):
    """Everything that a run needs."""

    stage: Literal["motion", "appearance"] = setting("motion", "Gaussians themselves, or pictures of them")
    perceptual: str | None = setting(
        "lpips_alex", "LPIPS of the second stage: a model folder or the name of a shipped one; null: none"
    )
    perceptual_size: int = setting(64, "of the pictures that it compares; 256 in the original", minimum=21)
    data: PartDataSettings = setting(PartDataSettings, "what is trained on")
    network: PartNetworkSettings = setting(PartNetworkSettings, "what is trained")


class PartDynamicsTask(TrainingTask[PartDynamicsConfig]):
    """What the training loop needs to know of the part network."""

    config_class = PartDynamicsConfig
    primary = "loss"

    def network(self) -> PartNetwork:
        """A network that knows nothing, or that of a folder."""
        settings = self.config.network
        network = PartNetwork(self._network_config)
        if settings.start is not None:
            begun: PartNetwork = load_component(settings.start, COMPONENT)
            network.load_state_dict(begun.state_dict())
        return network

    def dataset(self) -> PartSamples:
        """Samples of the objects to train on."""
        return self._samples(self.config.data.train, noise=self.config.data.noise)

    def loss(self, network: torch.nn.Module, batch: Batch) -> Loss:
        """Of the stage."""
        predicted = self._predict(network, batch)
        if self.config.stage == "motion":
            per_sample = motion_loss(predicted, batch["gaussians"], batch["weight"])
            return Loss(per_sample=per_sample)
        seen = appearance_loss(
            predicted,
            self._cameras(batch),
            batch["target_images"],
            batch["target_masks"],
            perceptual=self._perceptual(predicted.device),
            perceptual_size=self.config.perceptual_size,
        )
        terms = {"rgb": seen.rgb, "alpha": seen.alpha, "perceptual": seen.perceptual}
        # Samples whose drags have no length have no view of what they reach.
        return Loss(per_sample=seen.loss * batch["moves"], terms=terms)

    def validate(self, network: torch.nn.Module) -> Validation:
        """Loss, and how far Gaussians are from where they shall be, on objects that are held out: all of them, those
        that move, and how far these go."""
        device = next(network.parameters()).device
        losses, away, missed, travelled = [], [], [], []
        pictures: list[NDArray[np.uint8]] = []
        for number, row in enumerate(self._validation_rows):
            batch = {name: torch.as_tensor(value)[None].to(device) for name, value in row.items()}
            losses.append(float(self.loss(network, batch).per_sample[0]))
            predicted = self._predict(network, batch)
            shown, moves = batch["weight"][..., 0] > 0, batch["travel"] > 0
            distance = (predicted - batch["gaussians"])[..., POSITION].norm(dim=-1)
            away.append(float(distance[shown].mean()))
            missed += distance[moves].tolist()
            travelled += batch["travel"][moves].tolist()
            if number < SHOWN:
                pictures.append(self._picture(predicted, batch))
        metrics = {"loss": float(np.mean(losses)), "position": float(np.nanmean(away))}
        if travelled:
            metrics |= {"moving": float(np.mean(missed)), "travel": float(np.mean(travelled))}
        return Validation(metrics=metrics, pictures={"moved": np.concatenate(pictures)})

    def export(self, network: torch.nn.Module, folder: Path, metrics: Mapping[str, float]) -> None:
        """A model folder; weights are kept in half precision and computed with in single."""
        card = ModelCard(
            name="part_dynamics",
            system="partrm",
            purpose="Gaussians of an articulated object after a drag at one of its parts, from four posed views.",
            licence="Apache-2.0",
            data=f"Generated articulated objects ({self.config.data.train.name}), seen by the cameras of PartDrag-4D.",
            limits="Generated objects alone before a white background; nothing is claimed about pictures of real ones.",
            metrics={"validation": dict(metrics)},
            metrics_command="fourd train part_dynamics",
        )
        kept = deepcopy(network).half()
        write_model(folder, {COMPONENT: kept}, card=card, model_class="PartDynamics")

    @cached_property
    def _network_config(self) -> PartNetworkConfig:
        settings = self.config.network
        return PartNetworkConfig(
            input_size=settings.input_size,
            down_channels=settings.down_channels,
            down_attention=settings.down_attention,
            up_channels=settings.up_channels,
            up_attention=settings.up_attention,
            fovy=TRUE_FOV,
            cam_radius=CAM_RADIUS,
            num_drags=settings.drags,
            window=settings.window,
            transposed_drags=settings.transposed_drags,
            drag_unit=settings.drag_unit,
            anchored=settings.anchored,
        )

    @cached_property
    def _validation_rows(self) -> list[Mapping[str, NDArray[np.generic]]]:
        samples = self._samples(self.config.data.validation, noise=0.0)
        count = min(self.config.data.validation_items, len(samples))
        chosen = np.linspace(0, len(samples) - 1, count).astype(int)
        return [samples.sample(int(index), np.random.default_rng(int(index))) for index in chosen]  # type: ignore[misc]

    def _samples(self, folder: Path, *, noise: float) -> PartSamples:
        data, sizes = self.config.data, self._network_config
        options = ItemOptions(
            input_size=sizes.input_size,
            window=sizes.window,
            output_size=sizes.input_size,
            cam_radius=sizes.cam_radius,
            imagenet=False,
            drags=DragOptions(count=sizes.num_drags, noise=noise, per_view=data.per_view),
        )
        database = None if data.database is None else GaussianDatabase(data.database)
        items = PackedPartDataset(
            ArticulatedShards(folder), options, target_views=data.target_views, gaussians=database
        )
        return PartSamples(
            ReprojectedItems(items, share=data.reprojected),
            splat_size=sizes.splat_size,
            fovy=TRUE_FOV,
            window=sizes.window,
            still=data.still,
            single=data.single,
            weights=TargetWeights(position=data.position_weight, moving=data.moving_weight),
        )

    def _predict(self, network: torch.nn.Module, batch: Batch) -> Tensor:
        sizes = self._network_config
        with torch.autocast(batch["poses"].device.type, enabled=False):
            rays = pluecker_rays(batch["poses"].float(), size=sizes.input_size, fovy=sizes.fovy, window=sizes.window)
            images = network_input(batch["images"], rays, colours=sizes.colours)
        predicted: Tensor = network(images, batch["start"], batch["end"])
        return predicted

    def _cameras(self, batch: Batch) -> list[list[SplatCamera]]:
        size = self._network_config.input_size
        return [
            [SplatCamera.from_opengl(pose, fovy=TRUE_FOV, size=size) for pose in poses]
            for poses in batch["target_poses"].cpu().numpy()
        ]

    def _perceptual(self, device: torch.device) -> Perceptual | None:
        """LPIPS on a device, in float32 whatever autocast says."""
        if self._lpips is None:
            return None
        network = self._lpips.to(device)

        def distance(one: Tensor, other: Tensor) -> Tensor:
            with torch.autocast(device.type, enabled=False):
                found: Tensor = network(one.float(), other.float())
            return found

        return distance

    @cached_property
    def _lpips(self) -> torch.nn.Module | None:
        if self.config.perceptual is None:
            return None
        network: torch.nn.Module = load_component(find_model(self.config.perceptual), LPIPS_COMPONENT)
        return network.float().eval().requires_grad_(False)

    def _picture(self, predicted: Tensor, batch: Batch) -> NDArray[np.uint8]:
        """The first input view, then each target as it is predicted and as it is."""
        seen = appearance_loss(predicted, self._cameras(batch), batch["target_images"], batch["target_masks"])
        row = [batch["images"][0, 0]]
        for made, true in zip(seen.pictures[0], batch["target_images"][0], strict=True):
            row += [made, true]
        return (torch.cat(row, dim=-1).clamp(0, 1).movedim(0, -1).cpu().numpy() * 255).astype(np.uint8)
