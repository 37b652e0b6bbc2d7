"""Training of a language head alone, on tokens in files; the large network before it is not needed (4DLangVGGT)."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from fourd_ros.errors import InvalidConfig
from fourd_ros.model_io.card import ModelCard, check_licence
from fourd_ros.model_io.folder import ModelFolder, find_model, write_model
from fourd_ros.model_io.loading import load_component
from fourd_ros.scene_language.aggregator import FrameTokens
from fourd_ros.scene_language.conversion import CODEC, GEOMETRY, GEOMETRY_CONVERTER, LANGUAGE
from fourd_ros.scene_language.feature_files import texts_beside
from fourd_ros.scene_language.frames import PATCH
from fourd_ros.scene_language.language_head import LanguageHead, LanguageMaps
from fourd_ros.scene_language.language_objective import LanguageObjective
from fourd_ros.scene_language.sizes import CodecSizes, GeometrySizes, LanguageSizes
from fourd_ros.scene_language.text_search import TEXTS_FILE
from fourd_ros.training.config import TaskConfig
from fourd_ros.training.language_samples import LAYER, LanguageFrame, LanguageSamples, SceneFolders, scene_frames
from fourd_ros.training.language_validation import LanguageErrors, language_errors, picture
from fourd_ros.training.settings import setting
from fourd_ros.training.task import Batch, Loss, TrainingTask, Validation

SHOWN = 3


@dataclass(frozen=True, kw_only=True)
class LanguageDataSettings:
    """Scenes: pictures, `fourd data scene-tokens` and `fourd data scene-features` of them."""

    scenes: tuple[Path, ...] = setting((Path("out/language/scene"),), "folders of scenes, pictures of one size")
    pictures: str = setting("rgb/2x", "folder in a scene")
    tokens: str = setting("tokens", "folder in a scene")
    features: str = setting("clip_features-all_dim3", "folder in a scene")
    as_original: bool = setting(
        False, "tokens are of --as-original or --official: pictures are turned as there, and learnt whole"
    )
    held_out: int = setting(10, "each so many pictures of a scene one is for validation alone", minimum=2)


@dataclass(frozen=True, kw_only=True)
class LanguageNetworkSettings:
    """The head; see `LanguageSizes`. What it reads and says is as wide as the files are."""

    features: int = setting(128, "channels of the map that all decoders share", minimum=1)
    hidden: int = setting(32, "channels of the finest level of the encoders", minimum=1)
    levels: tuple[int, ...] = setting((256, 512, 1024, 1024), "channels of four levels, multiples of 4", minimum=4)
    read: tuple[int, ...] | None = setting(
        None, "layers that these read; null: those of the token files, which then are four", minimum=0
    )


@dataclass(frozen=True, kw_only=True)
class LanguageLossSettings:
    """Weights; see `LanguageObjective`."""

    distance: float = setting(0.2, "of the absolute error of features", minimum=0.0)
    angle: float = setting(0.01, "of one minus their cosine", minimum=0.0)
    colours: bool = setting(True, "whether the picture is learnt too")
    colour_share: float = setting(0.5, "of its absolute error; the rest is of the squared one", minimum=0, maximum=1)
    official_compat: bool = setting(False, "take the cosine along rows of the picture, as the original does")


@dataclass(frozen=True, kw_only=True)
class LanguageModelSettings:
    """What the head belongs to, for the model folder and its terms."""

    geometry: Path | None = setting(
        None, "model of the network that made the tokens; goes into the new one. null: terms of StreamVGGT"
    )
    codec: Path | None = setting(None, "model of the autoencoder of the features; goes into the new one")
    allow_noncommercial: bool = setting(False, "take them though their terms forbid commercial use")


@dataclass(frozen=True, kw_only=True)
class LanguageHeadConfig(TaskConfig):
    """Everything that a run needs."""

    data: LanguageDataSettings = setting(LanguageDataSettings, "what is trained on")
    network: LanguageNetworkSettings = setting(LanguageNetworkSettings, "what is trained")
    loss: LanguageLossSettings = setting(LanguageLossSettings, "what it is trained for")
    model: LanguageModelSettings = setting(LanguageModelSettings, "what it belongs to")


class LanguageHeadTask(TrainingTask[LanguageHeadConfig]):
    """What the training loop needs to know of the head."""

    config_class = LanguageHeadConfig
    primary = "loss"

    def network(self) -> LanguageHead:
        """A head that knows nothing, for the tokens and features of the first frame.

        Raises:
            InvalidConfig: they are those of other networks than `model` names, or `network.read` has to be given.
            LicenceRefused: see `LanguageModelSettings.allow_noncommercial`.
        """
        settings, first = self.config.network, self._first
        layers = tuple(sorted(int(name.removeprefix(LAYER)) for name in first if name.startswith(LAYER)))
        read = layers if settings.read is None else settings.read
        if len(read) != 4 or not set(read) <= set(layers):
            raise InvalidConfig(f"'network.read' is {read}; needed are four of the layers {layers} of the token files")
        sizes = LanguageSizes(
            dim_in=first[f"{LAYER}{read[0]}"].shape[-1],
            patch_size=PATCH,
            features=settings.features,
            hidden_dim=settings.hidden,
            lang_dim=first["target"].shape[1],
            dpt_channels=settings.levels,
            dpt_layers=read,
        )
        self._check_parts(sizes)
        head = LanguageHead(sizes)
        if not self.config.loss.colours:
            for part in (head.rgb_encoder, head.rgb_decoder):
                part.requires_grad_(False)
        return head

    def dataset(self) -> LanguageSamples:
        """Frames to train on."""
        return self._samples(self._split[0])

    def loss(self, network: nn.Module, batch: Batch) -> Loss:
        """Of features and colours, in float32."""
        assert isinstance(network, LanguageHead)
        return self._loss(say(network, batch), batch)

    def validate(self, network: nn.Module) -> Validation:
        """Loss, cosines and nearest masks of the pictures that are held out; see `LanguageErrors`."""
        assert isinstance(network, LanguageHead)
        device = next(network.parameters()).device
        losses, errors, pictures = [], [], []
        samples = self._samples(self._split[1])
        for index in range(len(samples)):
            sample = {
                name: torch.as_tensor(value).to(device) for name, value in samples.sample(index, _NOTHING).items()
            }
            batch = {name: value[None] for name, value in sample.items()}
            said = say(network, batch)
            losses.append(float(self._loss(said, batch).per_sample[0]))
            errors.append(language_errors(said.features[0, 0], said.colours[0, 0], sample))
            if index < SHOWN:
                pictures.append(picture(said.features[0, 0], said.colours[0, 0], sample))
        metrics = {"loss": float(np.mean(losses)), **LanguageErrors.mean(errors)}
        return Validation(metrics=metrics, pictures={"features": np.concatenate(pictures)})

    def export(self, network: nn.Module, folder: Path, metrics: Mapping[str, float]) -> None:
        """A model folder with the head, and with the networks around it that `model` names."""
        assert isinstance(network, LanguageHead)
        parts = {
            name: load_component(path, name, allow_noncommercial=self.config.model.allow_noncommercial)
            for name, path in self._parts.items()
        }
        told = texts_beside([*self._feature_folders, *(path for name, path in self._parts.items() if name == CODEC)])
        write_model(
            folder,
            {LANGUAGE: network, **parts},
            card=self._card(metrics),
            model_class="SceneLanguage",
            extra={TEXTS_FILE: told.content} if told is not None else {},
        )

    def _loss(self, said: LanguageMaps, batch: Batch) -> Loss:
        settings = self.config.loss
        objective = LanguageObjective(
            distance=settings.distance,
            angle=settings.angle,
            colours=settings.colours,
            colour_share=settings.colour_share,
            official_compat=settings.official_compat,
        )
        terms = objective.terms(
            said.features, said.colours, target=batch["target"], mask=batch["mask"], images=batch["image"][None]
        )
        return Loss(per_sample=objective.total(terms), terms=terms)

    def _card(self, metrics: Mapping[str, float]) -> ModelCard:
        cards = [ModelFolder(path).card for path in self._parts.values()]
        if GEOMETRY not in self._parts:
            cards.append(GEOMETRY_CONVERTER.card)
        data = self.config.data
        return ModelCard(
            name="language_head",
            system="langvggt",
            purpose="Language features of the tokens of a geometry network, at three granularities.",
            licence=" and ".join(sorted({card.licence for card in cards})),
            non_commercial=any(card.non_commercial for card in cards),
            upstream_terms=tuple(dict.fromkeys(term for card in cards for term in card.upstream_terms)),
            data=f"Pictures of {', '.join(scene.name for scene in data.scenes)}; features: {data.features}.",
            limits=f"Measured on each {data.held_out}th picture of the scenes that it was trained on, which are like "
            "those beside them. Its features mean something only to the autoencoder that made what it learnt.",
            metrics={"validation": dict(metrics)},
            metrics_command="fourd train language_head",
        )

    def _check_parts(self, sizes: LanguageSizes) -> None:
        """Raises where the folders that `model` names hold other networks than the files were made with."""
        for name, path in self._parts.items():
            folder = ModelFolder(path)
            check_licence(folder.card, allow_noncommercial=self.config.model.allow_noncommercial)
            config = folder.config(name)
            if name == GEOMETRY and (channels := 2 * GeometrySizes.from_config(config).embed_dim) != sizes.dim_in:
                raise InvalidConfig(f"'{path}' makes tokens of {channels} channels; the files have {sizes.dim_in}")
            if name == CODEC and (numbers := CodecSizes.from_config(config).decoder[0]) != sizes.lang_dim:
                raise InvalidConfig(f"'{path}' makes codes of {numbers} numbers; the files have {sizes.lang_dim}")

    @cached_property
    def _parts(self) -> dict[str, Path]:
        """Folders of the networks around the head."""
        named = {GEOMETRY: self.config.model.geometry, CODEC: self.config.model.codec}
        return {name: find_model(str(path)) for name, path in named.items() if path is not None}

    @cached_property
    def _feature_folders(self) -> list[Path]:
        return [scene / self.config.data.features for scene in self.config.data.scenes]

    @cached_property
    def _split(self) -> tuple[list[LanguageFrame], list[LanguageFrame]]:
        """Frames to train on, and those that are held out: of each stretch of a scene the middle one."""
        data = self.config.data
        folders = SceneFolders(pictures=data.pictures, tokens=data.tokens, features=data.features)
        parts: tuple[list[LanguageFrame], list[LanguageFrame]] = ([], [])
        for scene in data.scenes:
            for number, frame in enumerate(scene_frames(scene, folders)):
                parts[number % data.held_out == data.held_out // 2].append(frame)
        if not all(parts):
            raise InvalidConfig(
                f"{len(parts[0])} frames to train on and {len(parts[1])} held out; needed is one at least of both: "
                "name a scene in 'data.scenes', or change 'data.held_out'"
            )
        return parts

    @cached_property
    def _first(self) -> dict[str, Any]:
        return self.dataset().sample(0, _NOTHING)

    def _samples(self, frames: list[LanguageFrame]) -> LanguageSamples:
        return LanguageSamples(frames=frames, as_original=self.config.data.as_original)


def say(head: LanguageHead, batch: Batch) -> LanguageMaps:
    """Maps of a batch of `LanguageSamples`, as frames of one clip, float32; as large as the pictures."""
    layers: dict[int, Tensor] = {
        int(name.removeprefix(LAYER)): values[None] for name, values in batch.items() if name.startswith(LAYER)
    }
    rows, columns = batch["seen"][0].tolist()
    tokens = FrameTokens(
        layers=layers,
        camera=layers[max(layers)][:, :, 0],
        special=int(batch["special"][0]),
        image_size=(rows, columns),
    )
    maps = head(tokens, size=tuple(batch["image"].shape[-2:]))
    return LanguageMaps(features=maps.features.float(), colours=maps.colours.float())


_NOTHING = np.random.default_rng(0)
"""Samples draw nothing."""
