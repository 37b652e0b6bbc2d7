"""Training of Kinema4D: adapters in Wan's attentions, and the weights that know the robot."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from diffusers import UniPCMultistepScheduler
from numpy.typing import NDArray
from torch import Tensor

from fourd_ros.data.robo4d import Robo4DDataset
from fourd_ros.data.robo4d_folder import read_list
from fourd_ros.errors import InvalidConfig, InvalidDataset
from fourd_ros.geometry.pointmap_range import uniform_pointmap
from fourd_ros.model_io.card import README, ModelCard, card_text, check_licence
from fourd_ros.model_io.folder import ModelFolder
from fourd_ros.model_io.loading import load_component
from fourd_ros.model_io.weights import WeightFiles
from fourd_ros.training.config import TaskConfig
from fourd_ros.training.kinema4d_samples import Kinema4DSamples
from fourd_ros.training.settings import setting
from fourd_ros.training.task import Batch, Loss, TrainingTask, Validation
from fourd_ros.world_model.kinema4d.adapter import (
    ADDED_FILE,
    LORA_FILE,
    AdapterFiles,
    attach,
    check_lora,
    write_adapter,
)
from fourd_ros.world_model.kinema4d.conditions import first_frame_condition, to_signed
from fourd_ros.world_model.kinema4d.flow import Flow
from fourd_ros.world_model.kinema4d.latents import LatentCodec, point_latents_from_network
from fourd_ros.world_model.kinema4d.layout import Variant
from fourd_ros.world_model.kinema4d.loading import wan_transformer
from fourd_ros.world_model.kinema4d.objective import velocity_loss
from fourd_ros.world_model.kinema4d.transformer import Kinema4DTransformer

logger = logging.getLogger(__name__)

SHOWN_FRAMES = 5
"""Of the pictures of a validation."""

Precision = Literal["bf16", "fp32"]
_TYPES = {"bf16": torch.bfloat16, "fp32": torch.float32}


@dataclass(frozen=True, kw_only=True)
class BaseSettings:
    """What training begins with."""

    wan: Path = setting(Path("models/wan"), "Wan2.1-I2V-14B-480P-Diffusers with a card ('fourd model adopt')")
    adapter: Path | None = setting(
        None, "folder of 4DNeX, or of Kinema4D, whose adapters are gone on with; null: adapters without effect"
    )
    precision: Precision = setting("bf16", "of the frozen weights; bf16 needs training.precision=bf16")
    allow_noncommercial: bool = setting(False, "begin with weights whose terms forbid commercial use")


@dataclass(frozen=True, kw_only=True)
class RobotSettings:
    """How the robot is shown."""

    variant: Variant = setting(Variant.ACT, "act: its colour and geometry; pmcond: its geometry alone")
    rank: int = setting(64, "of the adapters, where none are gone on with", minimum=2)
    frames: int = setting(13, "of latents, where no weights of the robot are gone on with", minimum=1)
    rows: int = setting(60, "of latents, likewise", minimum=2)
    columns: int = setting(90, "of latents, likewise", minimum=2)
    patch: tuple[int, int] = setting((15, 15), "rows and columns of latents a token of the robot", minimum=1)


@dataclass(frozen=True, kw_only=True)
class ClipSettings:
    """Encoded clips in the layout of Robo4D-200k."""

    folder: Path = setting(Path("out/robo4d"), "made by 'fourd data to-robo4d', robot-masks and encode-latents")
    listed: Path | None = setting(None, "list of the clips to train on; null: all that are not held out")
    held_out: int = setting(4, "clips that are held out for validation: the last by name", minimum=1)
    picture_steps: int = setting(20, "of the flow of validation pictures; 0: no pictures", minimum=0)


@dataclass(frozen=True, kw_only=True)
class Kinema4DConfig(TaskConfig):
    """Everything that a run needs."""

    base: BaseSettings = setting(BaseSettings, "what it begins with")
    robot: RobotSettings = setting(RobotSettings, "what is added")
    clips: ClipSettings = setting(ClipSettings, "what is trained on")

    def __post_init__(self) -> None:
        if self.training.lora is not None:
            raise InvalidConfig("training.lora is not for kinema4d, whose adapters are its own; set robot.rank")
        if self.base.precision == "bf16" and self.training.precision != "bf16":
            raise InvalidConfig("base.precision is bf16, so training.precision has to be bf16; or take fp32 for both")


class Kinema4DTask(TrainingTask[Kinema4DConfig]):
    """What the training loop needs to know of Kinema4D."""

    config_class = Kinema4DConfig
    primary = "loss"

    def network(self) -> Kinema4DTransformer:
        """Wan with adapters; they, the domain embeddings and the weights of the robot are trained."""
        base, robot = self.config.base, self.config.robot
        check_licence(self._wan.card, allow_noncommercial=base.allow_noncommercial)
        files = None if base.adapter is None else AdapterFiles.find(base.adapter)
        network = wan_transformer(
            self._wan,
            variant=robot.variant,
            added=None if files is None else files.added_weights(),
            settings={
                "frames": robot.frames,
                "rows": robot.rows,
                "columns": robot.columns,
                "robot_patch": robot.patch,
            },
            dtype=_TYPES[base.precision],
        )
        lora = None if files is None else WeightFiles(files.lora)
        rank = robot.rank if lora is None else check_lora(lora, network)
        attach(network, rank=rank, lora=lora)
        self._grid = network.settings.grid
        return network

    def dataset(self) -> Kinema4DSamples:
        """Samples of the clips that are not held out; listed ones without latents are told in the log.

        Raises:
            InvalidDataset: nothing is left to train on.
        """
        clips, held_out = self.config.clips, set(self._held_out_names)
        encoded = Robo4DDataset(clips.folder, listed=clips.listed).encoded_names
        names = [name for name in encoded if name not in held_out]
        absent = [] if clips.listed is None else sorted(set(read_list(clips.listed)) - set(encoded))
        if not names:
            raise InvalidDataset(
                f"nothing to train on: of the clips in '{clips.listed or clips.folder}', {len(absent)} have no latents "
                f"and {len(encoded)} are held out for validation"
            )
        if absent:
            shown = f"{', '.join(absent[:5])}{' ...' if len(absent) > 5 else ''}"
            logger.warning("%d clips of '%s' have no latents and are left out: %s", len(absent), clips.listed, shown)
        return self._samples(names)

    def loss(self, network: torch.nn.Module, batch: Batch) -> Loss:
        """Squared error of the velocity."""
        assert isinstance(network, Kinema4DTransformer)
        condition = self._condition(batch["first_frame"], batch["encoding_seed"], network.device)
        made = velocity_loss(
            network,
            latents=batch["latents"],
            condition=condition,
            robot=batch["robot"],
            image=batch["image"],
            noise=batch["noise"],
            index=batch["index"],
        )
        return Loss(per_sample=made.loss)

    def validate(self, network: torch.nn.Module) -> Validation:
        """The loss of clips that are held out, at the same times of the flow and with the same noise each time."""
        assert isinstance(network, Kinema4DTransformer)
        samples = self._samples(self._held_out_names)
        losses = []
        pictures: dict[str, NDArray[np.uint8]] = {}
        for number, name in enumerate(samples.names):
            row = samples.sample(number, np.random.default_rng(number))
            batch = {key: torch.as_tensor(value)[None].to(network.device) for key, value in row.items()}
            losses.append(float(self.loss(network, batch).per_sample.mean()))
            if number == 0 and self.config.clips.picture_steps:
                pictures[name] = self._picture(network, batch)
        return Validation(metrics={"loss": float(np.mean(losses))}, pictures=pictures)

    def export(self, network: torch.nn.Module, folder: Path, metrics: Mapping[str, float]) -> None:
        """The two files of an adapter, as Kinema4D is published; ``fourd convert kinema4d`` takes them."""
        folder.mkdir(parents=True)
        write_adapter(network, folder)
        (folder / README).write_text(card_text(_card(self.config, metrics)), encoding="utf-8")

    @cached_property
    def _wan(self) -> ModelFolder:
        return ModelFolder(self.config.base.wan)

    @cached_property
    def _codec(self) -> LatentCodec:
        vae = load_component(
            self._wan.path,
            "vae",
            allow_noncommercial=self.config.base.allow_noncommercial,
            dtype=_TYPES[self.config.base.precision],
        )
        return LatentCodec(vae)

    @cached_property
    def _held_out_names(self) -> tuple[str, ...]:
        encoded = sorted(Robo4DDataset(self.config.clips.folder).encoded_names)
        held_out = self.config.clips.held_out
        if len(encoded) <= held_out:
            raise InvalidConfig(
                f"'{self.config.clips.folder}' has {len(encoded)} encoded clips and {held_out} shall be held out; make "
                "more, or lower clips.held_out"
            )
        return tuple(encoded[-held_out:])

    def _samples(self, names: "list[str] | tuple[str, ...]") -> Kinema4DSamples:
        clips = Robo4DDataset(self.config.clips.folder)
        return Kinema4DSamples(clips, names, grid=self._grid, variant=self.config.robot.variant)

    @torch.no_grad()
    def _condition(self, frames: Tensor, seeds: Tensor, device: torch.device) -> Tensor:
        """First frames [B, H, W, 3], each encoded with a sample of its own seed."""
        self._codec.vae.to(device)
        rows = []
        for frame, seed in zip(frames.cpu().numpy(), seeds.tolist(), strict=True):
            generator = torch.Generator(device).manual_seed(seed)
            points = uniform_pointmap(*frame.shape[:2])
            rows.append(
                first_frame_condition(
                    self._codec,
                    to_signed(frame)[None],
                    to_signed(points)[None],
                    frames=self._grid.video_frames,
                    generator=generator,
                )
            )
        return torch.cat(rows)

    def _picture(self, network: Kinema4DTransformer, batch: Mapping[str, Tensor]) -> NDArray[np.uint8]:
        """Frames of a clip as it is generated and, below, as it was: colour, then points."""
        flow = Flow(
            UniPCMultistepScheduler.from_pretrained(self._wan.component("scheduler"), local_files_only=True),
            steps=self.config.clips.picture_steps,
        )
        condition = self._condition(batch["first_frame"], batch["encoding_seed"], network.device).to(network.dtype)
        robot = batch["robot"].to(network.dtype)
        clip, shown = network.understand(robot, batch["image"]), network.show_robot(condition, robot, times=1)
        latents = batch["noise"]
        for time in flow.timesteps:
            velocity = network(latents, shown, time[None].to(network.device), clip)
            latents = flow.step(velocity.float(), time, latents)
        return np.concatenate([self._frames(latents), self._frames(batch["latents"])])

    def _frames(self, latents: Tensor) -> NDArray[np.uint8]:
        """A row of frames of latents [1, 16, F, h, 2w]."""
        colour, points = latents.chunk(2, dim=-1)
        video = self._codec.decode(torch.cat([colour, point_latents_from_network(points)], dim=-1))[0]
        chosen = np.linspace(0, video.shape[1] - 1, min(SHOWN_FRAMES, video.shape[1])).astype(int)
        frames = (video[:, chosen].movedim(0, -1).cpu().numpy() * 255).astype(np.uint8)
        return np.concatenate(list(frames), axis=1)


def _card(config: Kinema4DConfig, metrics: Mapping[str, float]) -> ModelCard:
    return ModelCard(
        name="kinema4d_adapter",
        system="kinema4d",
        purpose=f"Adapter for Wan2.1-I2V-14B-480P, variant {config.robot.variant}: put {LORA_FILE} and {ADDED_FILE} "
        "beside the Wan folder and run 'fourd convert kinema4d', or name this folder as adapter.",
        licence="terms of the base, of the adapter it began with, and of the data it was trained on",
        non_commercial=config.base.adapter is not None,
        data=f"Clips of '{config.clips.folder.name}'.",
        metrics={"validation": dict(metrics)},
        metrics_command="fourd train kinema4d",
    )
