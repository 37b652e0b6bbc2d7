"""Training of a compact scene language: geometry of streams, and words of pixels, at once."""

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from fourd_ros.data.scene_shards import SceneShards
from fourd_ros.errors import InvalidConfig
from fourd_ros.model_io.card import ModelCard
from fourd_ros.model_io.folder import write_model
from fourd_ros.scene_language.attention import LayerScale
from fourd_ros.scene_language.conversion import CODEC, GEOMETRY, LANGUAGE
from fourd_ros.scene_language.dense_head import depth_and_confidence, points_and_confidence
from fourd_ros.scene_language.feature_codec import FeatureCodec
from fourd_ros.scene_language.geometry_network import GeometryNetwork
from fourd_ros.scene_language.language_head import LanguageHead
from fourd_ros.scene_language.linear_codec import linear_codec
from fourd_ros.scene_language.sizes import GeometrySizes, LanguageSizes
from fourd_ros.scene_language.text_search import TEXTS_FILE, ModelTexts
from fourd_ros.scene_language.word_vectors import WordVectors
from fourd_ros.training.attention_kernel import fast_attention
from fourd_ros.training.config import TaskConfig
from fourd_ros.training.scene_objective import camera_loss, colours_loss, confident_loss, words_loss
from fourd_ros.training.scene_samples import SceneSamples, texts_of
from fourd_ros.training.scene_validation import SceneErrors, picture, scene_errors
from fourd_ros.training.settings import setting
from fourd_ros.training.task import Batch, Loss, TrainingTask, Validation

SHOWN = 4


@dataclass(frozen=True, kw_only=True)
class SceneDataSettings:
    """Sequences of `fourd data scenes`."""

    train: Path = setting(Path("out/scenes/train"), "sequences to train on")
    validation: Path = setting(Path("out/scenes/validation"), "sequences held out")
    frames: int = setting(8, "of a sample", minimum=2)
    mapped: int = setting(3, "of them, drawn anew, whose maps are compared; poses are compared of all", minimum=1)
    pixels: int = setting(1024, "of a map, drawn by importance, whose words are compared", minimum=1)
    validation_sequences: int = setting(32, "sequences that are validated on", minimum=1)
    things: float = setting(10.0, "importance of pixels of things, against table, floor, walls and robot", minimum=0.0)
    jitter: float = setting(0.15, "how far brightness and colours stray, as a share", minimum=0.0, maximum=0.9)


@dataclass(frozen=True, kw_only=True)
class SceneNetworkSettings:
    """The networks; see `GeometrySizes` and `LanguageSizes`."""

    image_side: int = setting(140, "of the images whose patches have positions of their own [px]", minimum=14)
    width: int = setting(160, "channels of a token", minimum=8)
    heads: int = setting(5, "of every attention; channels are a multiple of four times as many", minimum=1)
    blocks: int = setting(6, "pairs of a block within a frame and one over frames", minimum=1)
    patch_blocks: int = setting(3, "that look at patches before", minimum=1)
    camera_blocks: int = setting(1, "that refine a pose", minimum=1)
    camera_iterations: int = setting(4, "refinements of a pose", minimum=1)
    dense: int = setting(48, "channels of maps", minimum=4)
    levels: tuple[int, ...] = setting((48, 64, 96, 96), "channels of their four levels, multiples of 4", minimum=4)
    read: tuple[int, ...] = setting((1, 3, 4, 5), "blocks that the levels read", minimum=0)
    words: int = setting(32, "numbers of a language feature", minimum=1)
    hidden: int = setting(16, "channels of the finest level of the language head", minimum=1)


@dataclass(frozen=True, kw_only=True)
class SceneLossSettings:
    """What counts how much."""

    camera: float = setting(5.0, "of poses and fields of view", minimum=0.0)
    depth: float = setting(1.0, "of depth", minimum=0.0)
    points: float = setting(1.0, "of points", minimum=0.0)
    distance: float = setting(1.0, "of the absolute error of language features", minimum=0.0)
    angle: float = setting(1.0, "of one minus their cosine", minimum=0.0)
    colours: float = setting(0.5, "of the picture that the language head paints", minimum=0.0)


@dataclass(frozen=True, kw_only=True)
class SceneLanguageConfig(TaskConfig):
    """Everything that a run needs."""

    data: SceneDataSettings = setting(SceneDataSettings, "what is trained on")
    network: SceneNetworkSettings = setting(SceneNetworkSettings, "what is trained")
    loss: SceneLossSettings = setting(SceneLossSettings, "what it is trained for")


class SceneNetwork(nn.Module):
    """Geometry and language as one; what no head reads is frozen."""

    def __init__(self, geometry: GeometryNetwork, language: LanguageHead) -> None:
        super().__init__()
        self.geometry, self.language = geometry, language
        geometry.aggregator.patch_embed.mask_token.requires_grad_(False)


@dataclass(frozen=True, kw_only=True, eq=False)
class Said:
    """What the networks say of clips: poses of all frames, maps of some.

    Shapes as in `GeometryFrame` and `LanguageMaps`, with an axis for frames.
    """

    poses: Tensor
    depth: Tensor
    depth_confidence: Tensor
    points: Tensor
    points_confidence: Tensor
    features: Tensor
    colours: Tensor


def say(network: SceneNetwork, images: Tensor, mapped: Tensor) -> Said:
    """Of clips, all frames at once; none looks at later ones.

    Args:
        network: both parts.
        images: shape [B, S, 3, H, W].
        mapped: frames with maps, shape [B, M].
    """
    geometry = network.geometry
    assert geometry.camera_head is not None and geometry.depth_head is not None and geometry.point_head is not None
    tokens = geometry(images)
    with torch.autocast(images.device.type, enabled=False):  # half precision is too coarse for poses
        poses = geometry.camera_head(tokens.camera.float())
    layers = {layer: picked(values, mapped) for layer, values in tokens.layers.items()}
    some = replace(tokens, layers=layers, camera=picked(tokens.camera, mapped))
    depth, depth_confidence = depth_and_confidence(geometry.depth_head(some).float())
    points, points_confidence = points_and_confidence(geometry.point_head(some).float())
    maps = network.language(some)
    return Said(
        poses=poses,
        depth=depth,
        depth_confidence=depth_confidence,
        points=points,
        points_confidence=points_confidence,
        features=maps.features,
        colours=maps.colours.float(),
    )


class SceneLanguageTask(TrainingTask[SceneLanguageConfig]):
    """What the training loop needs to know of scene language."""

    config_class = SceneLanguageConfig
    primary = "loss"

    def network(self) -> SceneNetwork:
        """Networks that know nothing."""
        settings = self.config.network
        geometry = GeometrySizes(
            img_size=settings.image_side,
            embed_dim=settings.width,
            depth=settings.blocks,
            num_heads=settings.heads,
            vit_depth=settings.patch_blocks,
            vit_heads=settings.heads,
            camera_depth=settings.camera_blocks,
            camera_heads=settings.heads,
            camera_iterations=settings.camera_iterations,
            dpt_features=settings.dense,
            heads=("camera", "depth", "point"),
            dpt_channels=settings.levels,
            dpt_layers=settings.read,
        )
        language = LanguageSizes(
            dim_in=2 * settings.width,
            patch_size=geometry.patch_size,
            features=settings.dense,
            hidden_dim=settings.hidden,
            lang_dim=settings.words,
            dpt_channels=settings.levels,
            dpt_layers=settings.read,
        )
        network = SceneNetwork(GeometryNetwork(geometry), LanguageHead(language))
        open_blocks(network)
        return network

    def dataset(self) -> SceneSamples:
        """Samples of the sequences to train on."""
        data = self.config.data
        return self._samples(self._training_shards, mapped=data.mapped, jitter=data.jitter)

    def loss(self, network: nn.Module, batch: Batch) -> Loss:
        """Of cameras, depth, points, words and colours."""
        assert isinstance(network, SceneNetwork)
        with fast_attention(batch["images"].device):
            return self._loss(say(network, batch["images"], batch["mapped"]), batch)

    def _loss(self, said: Said, batch: Batch) -> Loss:
        weights = self.config.loss
        known = batch["depth"] > 0
        terms = {
            "camera": camera_loss(said.poses, batch["pose"]),
            "depth": confident_loss(said.depth, said.depth_confidence, batch["depth"][..., None], known),
            "points": confident_loss(said.points, said.points_confidence, batch["points"], known),
            "words": words_loss(
                drawn(said.features, batch["pixels"]).float(),
                targets(batch),
                batch["named"],
                distance=weights.distance,
                angle=weights.angle,
            ),
            "colours": colours_loss(said.colours, picked(batch["images"], batch["mapped"])),
        }
        shares = {
            "camera": weights.camera,
            "depth": weights.depth,
            "points": weights.points,
            "words": 1.0,
            "colours": weights.colours,
        }
        return Loss(per_sample=sum(shares[name] * term for name, term in terms.items()), terms=terms)  # type: ignore[arg-type]

    def validate(self, network: nn.Module) -> Validation:
        """Loss, depth, poses and words on sequences that are held out; see `SceneErrors`."""
        assert isinstance(network, SceneNetwork)
        device = next(network.parameters()).device
        losses, errors, pictures = [], [], []
        for number, row in enumerate(self._validation_rows):
            batch = {name: torch.as_tensor(value)[None].to(device) for name, value in row.items()}
            said = say(network, batch["images"], batch["mapped"])
            losses.append(float(self._loss(said, batch).per_sample[0]))
            errors.append(scene_errors(said.depth[0, ..., 0], said.poses[-1, 0], said.features[0].float(), batch))
            if number < SHOWN:
                pictures.append(picture(said.depth[0, ..., 0], batch))
        metrics = {"loss": float(np.mean(losses)), **SceneErrors.mean(errors)}
        return Validation(metrics=metrics, pictures={"depth": np.concatenate(pictures)})

    def export(self, network: nn.Module, folder: Path, metrics: Mapping[str, float]) -> None:
        """A model folder, weights in half precision, with what the features are compared with in a file beside them."""
        assert isinstance(network, SceneNetwork)
        kept = deepcopy(network).half()
        card = ModelCard(
            name="scene_language",
            system="langvggt",
            purpose="Poses, depth, points and words of pixels from a stream of images.",
            licence="Apache-2.0",
            data=f"Simulated sequences ({self.config.data.train.name}); words by {self._encoder.name} (MIT).",
            limits="Simulated table tops alone, few words; lengths are in a unit of its own.",
            metrics={"validation": dict(metrics)},
            metrics_command="fourd train scene_language",
        )
        told = ModelTexts(encoder=self._encoder.name, texts=tuple(sorted(self._texts)))
        write_model(
            folder,
            {GEOMETRY: kept.geometry, LANGUAGE: kept.language, CODEC: self._codec},
            card=card,
            model_class="SceneLanguage",
            extra={TEXTS_FILE: told.content},
        )

    @cached_property
    def _training_shards(self) -> SceneShards:
        return SceneShards(self.config.data.train)

    @cached_property
    def _validation_shards(self) -> SceneShards:
        return SceneShards(self.config.data.validation)

    @cached_property
    def _encoder(self) -> WordVectors:
        return WordVectors()

    @cached_property
    def _texts(self) -> frozenset[str]:
        """What is said of the training; the codec is made for it alone."""
        return _texts(self._training_shards)

    @cached_property
    def _codec(self) -> FeatureCodec:
        words = self.config.network.words
        if words > self._encoder.dimension:
            raise InvalidConfig(f"'network.words' is {words}; embeddings have {self._encoder.dimension} numbers")
        return linear_codec(self._encoder.encode(sorted(self._texts)), numbers=words)

    @cached_property
    def _codes(self) -> dict[str, NDArray[np.float32]]:
        texts = sorted(self._texts | _texts(self._validation_shards))
        with torch.inference_mode():
            codes = self._codec.encode(torch.from_numpy(self._encoder.encode(texts))).numpy()
        return dict(zip(texts, codes, strict=True))

    @cached_property
    def _validation_rows(self) -> list[Mapping[str, NDArray[np.generic]]]:
        samples = self._samples(self._validation_shards, mapped=None, jitter=0.0)
        count = min(self.config.data.validation_sequences, len(samples))
        chosen = np.linspace(0, len(samples) - 1, count).astype(int)
        return [samples.sample(int(index), np.random.default_rng(int(index))) for index in chosen]  # type: ignore[misc]

    def _samples(self, shards: SceneShards, *, mapped: int | None, jitter: float) -> SceneSamples:
        data = self.config.data
        return SceneSamples(
            shards=shards,
            codes=self._codes,
            frames=data.frames,
            mapped=mapped,
            pixels=data.pixels,
            things=data.things,
            jitter=jitter,
        )


def picked(values: Tensor, frames: Tensor) -> Tensor:
    """Some frames [B, M] of [B, S, ...]."""
    return values[torch.arange(len(values), device=values.device)[:, None], frames]


def open_blocks(network: nn.Module) -> None:
    """Let what blocks add count from the first step on.

    VGGT's factors begin at 0.01, for a trained patch network below them and many blocks; in a small network that begins
    with nothing they stay there, and the blocks learn nothing.
    """
    for module in network.modules():
        if isinstance(module, LayerScale):
            nn.init.ones_(module.gamma)


def drawn(maps: Tensor, pixels: Tensor) -> Tensor:
    """Some pixels [B, M, P] of maps [B, M, levels, c, H, W], shape [B, M, levels, c, P]."""
    rows, columns = pixels // maps.shape[-1], pixels % maps.shape[-1]
    batch, frames = (torch.arange(count, device=maps.device) for count in maps.shape[:2])
    return maps[batch[:, None, None], frames[:, None], ..., rows, columns].movedim(2, -1)


def targets(batch: Batch) -> Tensor:
    """Codes of the drawn pixels, shape [B, M, 3, c, P]."""
    codes = batch["codes"].transpose(-1, -2)
    places = batch["thing"].flatten(2).gather(2, batch["pixels"])
    found: Tensor = codes.gather(-1, places[:, :, None, None].expand(*codes.shape[:-1], -1))
    return found


def _texts(shards: SceneShards) -> frozenset[str]:
    said: set[str] = set()
    for index in range(len(shards)):
        said |= texts_of(shards.facts(index), shards.frames(index).states)
    return frozenset(said)
