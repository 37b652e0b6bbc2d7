"""Training of the autoencoder of features: long vectors as a few numbers, and back (4D LangSplat)."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity

from fourd_ros.errors import InvalidDataset
from fourd_ros.model_io.card import ModelCard
from fourd_ros.model_io.folder import write_model
from fourd_ros.scene_language.conversion import CODEC
from fourd_ros.scene_language.feature_codec import FeatureCodec
from fourd_ros.scene_language.feature_files import feature_frames, read_vectors, texts_beside
from fourd_ros.scene_language.sizes import CodecSizes
from fourd_ros.scene_language.text_search import TEXTS_FILE
from fourd_ros.training.config import TaskConfig
from fourd_ros.training.settings import setting
from fourd_ros.training.task import Batch, Loss, Sample, TrainingTask, Validation

MAX_BYTES = 8 << 30
"""Of all vectors together, which are kept in memory."""


@dataclass(frozen=True, kw_only=True)
class CodecDataSettings:
    """Features of masks, see `fourd data scene-features`."""

    features: tuple[Path, ...] = setting((Path("out/language/scene/clip_features"),), "folders of NAME_f.npy")
    held_out: int = setting(20, "each so many vectors one is for validation alone", minimum=2)


@dataclass(frozen=True, kw_only=True)
class CodecNetworkSettings:
    """The autoencoder; see `CodecSizes`. It begins and ends as wide as the features are."""

    encoder: tuple[int, ...] = setting((256, 128, 64, 32), "channels between feature and code", minimum=1)
    numbers: int = setting(3, "of a code", minimum=1)
    decoder: tuple[int, ...] = setting((16, 32, 64, 128, 256), "channels between code and feature", minimum=1)


@dataclass(frozen=True, kw_only=True)
class CodecLossSettings:
    """What it is trained for beside the mean squared error."""

    angle: float = setting(1e-3, "weight of one minus the cosine", minimum=0.0)


@dataclass(frozen=True, kw_only=True)
class FeatureCodecConfig(TaskConfig):
    """Everything that a run needs."""

    data: CodecDataSettings = setting(CodecDataSettings, "what is trained on")
    network: CodecNetworkSettings = setting(CodecNetworkSettings, "what is trained")
    loss: CodecLossSettings = setting(CodecLossSettings, "what it is trained for")


@dataclass(frozen=True, kw_only=True, eq=False)
class VectorSamples:
    """Samples by index: ``features`` [C], a row of `vectors` [n, C]."""

    vectors: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.vectors)

    def sample(self, index: int, rng: np.random.Generator) -> Sample:
        """One vector; nothing is drawn."""
        return {"features": self.vectors[index]}


class FeatureCodecTask(TrainingTask[FeatureCodecConfig]):
    """What the training loop needs to know of the autoencoder."""

    config_class = FeatureCodecConfig
    primary = "loss"

    def network(self) -> FeatureCodec:
        """One that knows nothing."""
        settings, channels = self.config.network, self._vectors.shape[1]
        return FeatureCodec(
            CodecSizes(
                encoder=(channels, *settings.encoder, settings.numbers),
                decoder=(settings.numbers, *settings.decoder, channels),
            )
        )

    def dataset(self) -> VectorSamples:
        """Vectors to train on."""
        return VectorSamples(vectors=self._vectors[~self._held_out])

    def loss(self, network: nn.Module, batch: Batch) -> Loss:
        """Mean squared error, and one minus the cosine."""
        assert isinstance(network, FeatureCodec)
        return self._loss(network(batch["features"]).float(), batch["features"])

    def validate(self, network: nn.Module) -> Validation:
        """Loss and cosine of vectors that are held out, beside the cosine of the mean vector."""
        assert isinstance(network, FeatureCodec)
        device = next(network.parameters()).device
        wanted = torch.from_numpy(self._vectors[self._held_out]).to(device)
        said = network(wanted)
        mean = torch.from_numpy(self.dataset().vectors.mean(axis=0)).to(device)
        metrics = {
            "loss": float(self._loss(said, wanted).per_sample.mean()),
            "cosine": float(cosine_similarity(said, wanted, dim=1).mean()),
            "cosine_mean": float(cosine_similarity(mean[None], wanted, dim=1).mean()),
        }
        return Validation(metrics=metrics)

    def export(self, network: nn.Module, folder: Path, metrics: Mapping[str, float]) -> None:
        """A model folder with the autoencoder alone, and what is known of the encoder of the features."""
        assert isinstance(network, FeatureCodec)
        card = ModelCard(
            name="feature_codec",
            system="langvggt",
            purpose="Features of a text-image space as a few numbers, and back.",
            licence="terms of the features that it was trained on",
            data=f"{len(self._vectors)} features of {', '.join(map(str, self.config.data.features))}.",
            limits="Knows what is like the features that it was trained on.",
            metrics={"validation": dict(metrics)},
            metrics_command="fourd train feature_codec",
        )
        told = texts_beside(self.config.data.features)
        extra = {TEXTS_FILE: told.content} if told is not None else {}
        write_model(folder, {CODEC: network}, card=card, model_class="SceneLanguage", extra=extra)

    def _loss(self, said: Tensor, wanted: Tensor) -> Loss:
        squared = (said - wanted).square().mean(dim=1)
        angle = 1 - cosine_similarity(said, wanted, dim=1)
        return Loss(per_sample=squared + self.config.loss.angle * angle, terms={"squared": squared, "angle": angle})

    @cached_property
    def _vectors(self) -> NDArray[np.float32]:
        parts, bytes_read = [], 0
        for folder in self.config.data.features:
            for frame in feature_frames(folder):
                parts.append(read_vectors(folder, frame))
                bytes_read += parts[-1].nbytes
                if bytes_read > MAX_BYTES:
                    raise InvalidDataset(f"features up to '{folder}' are more than {MAX_BYTES:,} bytes")
        widths = sorted({part.shape[1] for part in parts})
        if len(widths) != 1 or sum(map(len, parts)) < self.config.data.held_out:
            raise InvalidDataset(
                f"{sum(map(len, parts))} features of {widths} numbers in {list(map(str, self.config.data.features))}; "
                f"needed are {self.config.data.held_out} at least, of one length"
            )
        return np.concatenate(parts)

    @cached_property
    def _held_out(self) -> NDArray[np.bool_]:
        every = self.config.data.held_out
        held: NDArray[np.bool_] = np.arange(len(self._vectors)) % every == every // 2
        return held
