"""Training of the video generator: what guidance lacks, such as shadows and what was hidden."""

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fourd_ros.errors import InvalidConfig
from fourd_ros.evaluation.image_metrics import psnr
from fourd_ros.model_io.card import ModelCard
from fourd_ros.model_io.folder import write_model
from fourd_ros.model_io.onnx_export import export_onnx
from fourd_ros.training.compact_clips import ClipFolder, ClipOptions, StoredClip, prepare_clips
from fourd_ros.training.compact_samples import CompactSamples, Importance, sample_of
from fourd_ros.training.config import TaskConfig
from fourd_ros.training.settings import setting
from fourd_ros.training.task import Batch, Loss, TrainingTask, Validation
from fourd_ros.world_model.compact.clips import COLOURS, DEPTH_UNIT
from fourd_ros.world_model.compact.generator import COMPONENT, INPUTS, ONNX_FILE, VideoGenerator
from fourd_ros.world_model.compact.generator_network import VideoGeneratorNetwork

SQUARE_WEIGHT = 2.0
"""Of squared errors of colour, against absolute ones, in -1..1."""

SHOWN_CLIPS = 4
SHOWN_FRAMES = (0, 5, 10, 15)


@dataclass(frozen=True, kw_only=True)
class ClipSettings:
    """Episodes of `fourd data tabletop`, and the clips that are made of them once."""

    episodes: tuple[Path, ...] = setting((Path("out/tabletop/train"),), "data sets to train on")
    validation: Path = setting(Path("out/tabletop/validation"), "data set held out")
    folder: Path = setting(Path("out/compact_clips"), "where clips are kept", changes_result=False)
    limit: int | None = setting(None, "episodes of each data set to train on; null for all", minimum=1)
    validation_limit: int = setting(40, "number of validation episodes", minimum=1)
    noisy: float = setting(0.3, "share of first frames through a simulated depth camera", minimum=0.0, maximum=1.0)
    workers: int = setting(1, "processes that make clips", minimum=1, changes_result=False)


@dataclass(frozen=True, kw_only=True)
class GeneratorSettings:
    """The network."""

    size: int = setting(64, "width and height of frames [pixels]", minimum=8)
    patch: tuple[int, int] = setting((4, 8), "frames and pixels of a patch", minimum=1)
    width: int = setting(144, "features of a token", minimum=8)
    heads: int = setting(6, "of the attention", minimum=1)
    layers: str = setting("stst", "what each attends to: s a frame, t one place along time")
    expansion: int = setting(2, "features of the perceptrons, in 'width'", minimum=1)


@dataclass(frozen=True, kw_only=True)
class SampleSettings:
    """How clips become samples, and what counts in them."""

    at_start: float = setting(0.5, "share of samples at the beginning of the flow", minimum=0.0, maximum=1.0)
    smallest_part: float = setting(0.7, "of a clip's width and height that a sample shows", above=0.0, maximum=1.0)
    moved: float = setting(12.0, "importance of pixels of things that have moved", minimum=0.0)
    hidden: float = setting(5.0, "importance of pixels whose colour is not known", minimum=0.0)
    depth: float = setting(0.5, "importance of unknown depth, against colour", minimum=0.0)


@dataclass(frozen=True, kw_only=True)
class CompactConfig(TaskConfig):
    """Everything that a run needs."""

    clips: ClipSettings = setting(ClipSettings, "what is trained on")
    network: GeneratorSettings = setting(GeneratorSettings, "what is trained")
    samples: SampleSettings = setting(SampleSettings, "how it is shown")

    def __post_init__(self) -> None:
        if any(letter not in "st" for letter in self.network.layers):
            raise InvalidConfig(f"'network.layers' is '{self.network.layers}'; needed are letters 's' and 't'")


class CompactTask(TrainingTask[CompactConfig]):
    """What the training loop needs to know of the video generator."""

    config_class = CompactConfig
    primary = "psnr_all"
    larger_is_better = True

    def network(self) -> VideoGeneratorNetwork:
        """A network that leaves the guidance as it is."""
        settings = self.config.network
        return VideoGeneratorNetwork(
            size=settings.size,
            patch=settings.patch,
            width=settings.width,
            heads=settings.heads,
            layers=settings.layers,
            expansion=settings.expansion,
        )

    def prepare(self) -> None:
        """Clips of the training and of the held-out episodes."""
        self._training_clips()
        self._held_out_clips()

    def dataset(self) -> CompactSamples:
        """Samples of the training episodes."""
        settings = self.config.samples
        return CompactSamples(
            clips=self._training_clips(),
            importance=self._importance,
            at_start=settings.at_start,
            smallest_part=settings.smallest_part,
        )

    def loss(self, network: torch.nn.Module, batch: Batch) -> Loss:
        """Errors of the end of the flow as it is predicted, by the importance of pixels."""
        predicted = network(**{name: batch[name] for name in INPUTS}).change
        error = (predicted - batch["target"]).abs()
        colour, depth = error[:, :, :COLOURS].mean(dim=2), error[:, :, COLOURS]
        square = (predicted - batch["target"])[:, :, :COLOURS].square().mean(dim=2)
        weight = batch["weight"]
        colours = _mean(colour + SQUARE_WEIGHT * square, weight[:, :, 0], weight[:, :, 0])
        depths = _mean(depth, weight[:, :, 1], weight[:, :, 0])
        return Loss(per_sample=colours + depths, terms={"colour": colours, "depth": depths})

    def validate(self, network: torch.nn.Module) -> Validation:
        """Guidance and its improvement in one step, beside what was seen."""
        assert isinstance(network, VideoGeneratorNetwork)
        found: dict[str, list[float]] = {}
        pictures: dict[str, NDArray[np.uint8]] = {}
        for number, (stored, rgb, depth) in enumerate(self._improved(network)):
            scores = _scores(stored, rgb, depth) | {
                f"guidance_{name}": value for name, value in _scores(stored, stored.clip.rgb, stored.clip.depth).items()
            }
            for name, value in scores.items():
                found.setdefault(name, []).append(value)
            if number < SHOWN_CLIPS:
                pictures[f"clip_{number}"] = _picture(stored, rgb)
        return Validation(
            metrics={name: float(np.nanmean(values)) for name, values in found.items()}, pictures=pictures
        )

    def export(self, network: torch.nn.Module, folder: Path, metrics: Mapping[str, float]) -> None:
        """The model folder: weights and the ONNX file of the same."""
        assert isinstance(network, VideoGeneratorNetwork)
        with tempfile.TemporaryDirectory() as place:
            onnx = Path(place, "model.onnx")
            export_onnx(network, network.onnx_signature(), onnx)
            write_model(
                folder,
                {COMPONENT: network.half()},
                card=_card(self.config, metrics),
                model_class=VideoGenerator.__name__,
                extra={ONNX_FILE: onnx},
            )

    @property
    def _importance(self) -> Importance:
        settings = self.config.samples
        return Importance(moved=settings.moved, hidden=settings.hidden, depth=settings.depth)

    @cached_property
    def _validation_clips(self) -> ClipFolder:
        return self._held_out_clips()

    def _improved(
        self, network: VideoGeneratorNetwork
    ) -> Iterator[tuple[StoredClip, NDArray[np.uint8], NDArray[np.float32]]]:
        """Clips, their colours and their depth after one step from the guidance without noise."""
        device = next(network.parameters()).device
        for number in range(len(self._validation_clips)):
            stored = self._validation_clips[number]
            sample = sample_of(stored, self._importance)
            given = {name: torch.from_numpy(sample[name])[None].to(device) for name in ("guidance", "first")}
            nowhere = torch.zeros(1, *sample["free"].shape, device=device)
            change = network(**given, flow=nowhere, time=torch.zeros(1, device=device)).change[0].float().cpu().numpy()
            colour = stored.clip.rgb + np.moveaxis(change[:, :COLOURS], 1, -1) * np.float32(255 / 2)
            depth = stored.clip.depth * np.exp(change[:, COLOURS] * np.float32(DEPTH_UNIT))
            yield stored, np.clip(np.rint(colour), 0, 255).astype(np.uint8), depth

    def _training_clips(self) -> ClipFolder:
        return self._clips("train", self.config.clips.episodes, self.config.clips.limit)

    def _held_out_clips(self) -> ClipFolder:
        return self._clips("validation", (self.config.clips.validation,), self.config.clips.validation_limit)

    def _clips(self, part: str, episodes: Sequence[Path], limit: int | None) -> ClipFolder:
        settings = self.config.clips
        options = ClipOptions(size=self.config.network.size, noisy=settings.noisy)
        folder = settings.folder / part
        shards = [prepare_clips(each, folder, options, limit=limit, workers=settings.workers) for each in episodes]
        return ClipFolder([path for paths in shards for path in paths])


def _mean(values: Tensor, weight: Tensor, total: Tensor) -> Tensor:
    """Of every clip [B, T, S, S], shape [B]."""
    return (values * weight).sum(dim=(1, 2, 3)) / total.sum(dim=(1, 2, 3)).clamp(min=1.0)


def _scores(stored: StoredClip, rgb: NDArray[np.uint8], depth: NDArray[np.float32]) -> dict[str, float]:
    """PSNR [dB] and error of depth [mm] on pixels that show the robot neither in the guidance nor in truth."""
    counted = ~(stored.ignored | stored.clip.robot) & np.isfinite(stored.true_depth)
    hidden = counted & ~stored.clip.measured
    error = np.abs(depth - stored.true_depth)[hidden]
    regions = {"all": counted, "moved": counted & stored.moved, "hidden": counted & ~stored.clip.seen}
    scores = {f"psnr_{name}": _psnr(rgb, stored.true_rgb, region) for name, region in regions.items()}
    return scores | {"depth_hidden_mm": float(error.mean()) * 1000 if error.size else float("nan")}


def _psnr(rgb: NDArray[np.uint8], truth: NDArray[np.uint8], region: NDArray[np.bool_]) -> float:
    """Of all frames together."""
    width = rgb.shape[2]
    one, other = (images.reshape(-1, width, 3) for images in (rgb, truth))
    return float(psnr(one, other, mask=region.reshape(-1, width)))


def _picture(stored: StoredClip, rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Guidance, its improvement and truth in three rows, each after the first frame."""
    rows = (stored.clip.rgb, rgb, stored.true_rgb)
    return np.concatenate(
        [np.concatenate([stored.clip.first_rgb, *(row[frame] for frame in SHOWN_FRAMES)], axis=1) for row in rows]
    )


def _card(config: CompactConfig, metrics: Mapping[str, float]) -> ModelCard:
    return ModelCard(
        name="video_generator",
        system="compact world model",
        purpose="Adds to the video of the points rung what it lacks: shadows, what was hidden, and how contacts look. "
        "Pixels of the robot and depth that is known are never changed.",
        licence="Apache-2.0",
        data=f"Simulated tabletop episodes ({', '.join(map(str, config.clips.episodes))}), {config.clips.noisy:.0%} of "
        f"their first frames through simulated depth cameras; {config.network.size} x {config.network.size} pixels.",
        limits="Trained on simulated pictures of one arm and one table only; nothing is claimed about real cameras. "
        "What was hidden is filled with what is likely, not with what is there.",
        metrics={"validation": {name: float(value) for name, value in metrics.items()}},
        metrics_command="fourd train compact",
    )
