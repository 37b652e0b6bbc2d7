"""Training of the depth-hole filler, from nothing: it takes its own pictures of random scenes first."""

import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fourd_ros.depth_completion.completer import COMPONENT, INPUTS, ONNX_FILE, Completed, DepthCompleter, torch_network
from fourd_ros.depth_completion.network import TAIL, DepthCompletionNetwork
from fourd_ros.depth_completion.sensor_noise import Range, SensorRanges
from fourd_ros.errors import InvalidConfig
from fourd_ros.evaluation.depth_completion import (
    HoleImage,
    calibration,
    hole_errors,
    is_judged,
    measure,
    picture,
)
from fourd_ros.model_io.card import ModelCard
from fourd_ros.model_io.folder import write_model
from fourd_ros.model_io.onnx_export import export_onnx
from fourd_ros.simulation.stills import SPLITS, StillFolder, prepare_stills
from fourd_ros.training.config import TaskConfig
from fourd_ros.training.depth_samples import DepthSamples
from fourd_ros.training.settings import setting
from fourd_ros.training.task import Batch, Loss, TrainingTask, Validation

ERROR_WEIGHT = 10.0
"""Of every error of the logarithm of depth, against its surprise."""

SURE = 0.02
"""Where the network expects to be off by no more, errors count most."""

KNOWN_WEIGHT = 0.1
"""Of pixels that are no holes, against holes: there is little to learn from them."""

SHOWN_PICTURES = 4


@dataclass(frozen=True, kw_only=True)
class PictureSettings:
    """The simulated pictures, which are taken once and kept."""

    folder: Path = setting(Path("out/depth_completion"), "where pictures are kept", changes_result=False)
    scenes: int = setting(400, "to train on; 7 pictures are taken of each", minimum=1)
    validation_scenes: int = setting(20, "held out for validation and calibration", minimum=1)
    size: int = setting(192, "width and height [pixels]", minimum=32)
    workers: int = setting(2, "processes that take pictures", minimum=1, changes_result=False)


@dataclass(frozen=True, kw_only=True)
class NetworkSettings:
    """The network."""

    channels: tuple[int, ...] = setting((32, 48, 64, 96), "features at 1/2, 1/4, ... of the resolution", minimum=1)


@dataclass(frozen=True, kw_only=True)
class DepthCompletionConfig(TaskConfig):
    """Everything that a run needs."""

    pictures: PictureSettings = setting(PictureSettings, "what is trained on")
    network: NetworkSettings = setting(NetworkSettings, "what is trained")
    sensor: Mapping[str, Range] = setting(
        dict, "ranges of the depth camera that differ from SensorRanges, such as baseline: [0.05, 0.05]"
    )
    crop: int = setting(96, "width and height of a sample [pixels]; a multiple of 32", minimum=32)
    smallest_part: float = setting(0.4, "of a picture's width that a sample shows", above=0.0, maximum=1.0)

    def __post_init__(self) -> None:
        self.ranges  # noqa: B018 - refuses unknown names now
        if self.crop % 32:
            raise InvalidConfig(f"'crop' is {self.crop}; needed is a multiple of 32")

    @property
    def ranges(self) -> SensorRanges:
        """Of the depth cameras."""
        try:
            return SensorRanges(**self.sensor)
        except TypeError as error:
            raise InvalidConfig(f"'sensor' names a property that SensorRanges lacks: {error}") from error


class DepthCompletionTask(TrainingTask[DepthCompletionConfig]):
    """What the training loop needs to know of the depth-hole filler."""

    config_class = DepthCompletionConfig
    primary = "mae"

    def network(self) -> DepthCompletionNetwork:
        """A network that takes the nearest depth."""
        network = DepthCompletionNetwork(channels=self.config.network.channels)
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # a third quicker on a CPU
        return network

    def prepare(self) -> None:
        """Pictures of the training and of the held-out scenes."""
        self._training_stills()
        self._held_out_stills()

    def dataset(self) -> DepthSamples:
        """Parts of the training pictures."""
        config = self.config
        stills = self._training_stills()
        return DepthSamples(stills=stills, ranges=config.ranges, crop=config.crop, smallest_part=config.smallest_part)

    def loss(self, network: torch.nn.Module, batch: Batch) -> Loss:
        """In holes: the error, and how surprising it is under the distribution that the network says.

        The surprise teaches what is said about the error, not the depth: its gradient there is as large as the
        network is sure, so what cannot be known (noise of the camera) would drown what can be learned.
        """
        opinion = network(**{name: batch[name] for name in INPUTS})
        error = (opinion.log_depth(batch["fills"]) - batch["target"]).abs()
        weight = batch["holes"] + KNOWN_WEIGHT * (batch["known"] - batch["holes"])
        sigma = torch.exp(opinion.log_sigma)
        surprise = (1 + TAIL) * torch.log1p(error.detach() / sigma) + opinion.log_sigma
        importance = ERROR_WEIGHT + 1.0 / (sigma.detach() + SURE)
        return Loss(
            per_sample=_mean(surprise + importance * error, weight),
            terms={"log_depth_error": _mean(error, batch["holes"])},
        )

    def validate(self, network: torch.nn.Module) -> Validation:
        """Errors in the holes of pictures of other scenes, with some of the pictures."""
        assert isinstance(network, DepthCompletionNetwork)
        found: dict[str, list[float]] = {}
        pictures: dict[str, NDArray[np.uint8]] = {}
        for number, (image, completed) in enumerate(self._completed(network)):
            for name, value in hole_errors(image, completed).items():
                found.setdefault(name, []).append(value)
            if number < SHOWN_PICTURES:
                pictures[f"holes_{number}"] = picture(image, completed)
        return Validation(
            metrics={name: float(np.nanmean(values)) for name, values in found.items()}, pictures=pictures
        )

    def export(self, network: torch.nn.Module, folder: Path, metrics: Mapping[str, float]) -> None:
        """The model folder, with what it says about its errors calibrated on the validation pictures."""
        assert isinstance(network, DepthCompletionNetwork)
        network.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
        network.scale_errors(calibration(self._completed(network)))
        with tempfile.TemporaryDirectory() as place:
            onnx = Path(place, "model.onnx")
            export_onnx(network, network.onnx_signature(), onnx)
            write_model(
                folder,
                {COMPONENT: network},
                card=_card(self.config, metrics),
                model_class=DepthCompleter.__name__,
                extra={ONNX_FILE: onnx},
            )

    @cached_property
    def _validation_images(self) -> list[HoleImage]:
        stills = self._held_out_stills()
        images = (measure(still, self.config.ranges, seed=number) for number, still in enumerate(stills))
        return [image for image in images if is_judged(image)]

    def _completed(self, network: DepthCompletionNetwork) -> Iterator[tuple[HoleImage, Completed]]:
        completer = DepthCompleter(torch_network(network))
        for image in self._validation_images:
            yield image, completer.complete(image.still.rgb, image.measured)

    def _training_stills(self) -> StillFolder:
        return self._stills("training", self.config.pictures.scenes)

    def _held_out_stills(self) -> StillFolder:
        return self._stills("validation", self.config.pictures.validation_scenes)

    def _stills(self, split: str, scenes: int) -> StillFolder:
        settings = self.config.pictures
        options = replace(SPLITS[split].options, size=settings.size)
        return prepare_stills(
            settings.folder / f"{split}_{settings.size}", SPLITS[split].seeds(scenes), options, workers=settings.workers
        )


def _mean(values: Tensor, weight: Tensor) -> Tensor:
    """Over each image [B, 1, H, W], shape [B]."""
    return (values * weight).sum(dim=(1, 2, 3)) / weight.sum(dim=(1, 2, 3)).clamp(min=1.0)


def _card(config: DepthCompletionConfig, metrics: Mapping[str, float]) -> ModelCard:
    pictures = config.pictures
    count = pictures.scenes * SPLITS["training"].options.pictures
    sensor = f" Changed ranges: {dict(config.sensor)}." if config.sensor else ""
    return ModelCard(
        name="depth_completion",
        system="depth_completion",
        purpose="Fills the holes of depth images from cameras in front of a robot arm, and says how far off each "
        "filled pixel may be. Measured depth is never changed.",
        licence="Apache-2.0",
        data=f"{count} pictures of {pictures.scenes} simulated table-top scenes ({pictures.size} x {pictures.size} "
        f"pixels), through simulated depth cameras drawn at random (sensor_noise.py).{sensor} "
        f"Calibrated on {pictures.validation_scenes} further scenes.",
        limits="Trained on simulated pictures and simulated noise only; nothing is claimed about real cameras. What "
        "is hidden as a whole (a glass of which nothing was measured) is filled with what is behind it. Noise of "
        "measured depth stays.",
        metrics={"validation": {name: float(value) for name, value in metrics.items()}},
        metrics_command="fourd evaluate depth_completion MODEL --write-card",
    )
