"""Training of compositional objects: latents of objects over scenes and time, from pictures."""

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from fourd_ros.compositional.checkpoints import flow_shift, load_image_encoder, load_network, load_triposg
from fourd_ros.compositional.image_tokens import ImageEncoder
from fourd_ros.compositional.model import CompositionalObjects
from fourd_ros.compositional.shape_vae import ShapeVae
from fourd_ros.compositional.sizes import TransformerSizes
from fourd_ros.compositional.transformer import CompositionalTransformer
from fourd_ros.data.compositional_shards import CompositionalShards
from fourd_ros.errors import InvalidConfig
from fourd_ros.model_io.card import ModelCard
from fourd_ros.model_io.folder import write_model
from fourd_ros.training.attention_kernel import fast_attention
from fourd_ros.training.compositional_objective import (
    draw_history,
    draw_shares,
    filled_columns,
    flow_step,
    forget,
    nearest_noise,
    noise_levels,
)
from fourd_ros.training.compositional_samples import KINDS, BatchRules, CompositionalSamples, MaskingRules
from fourd_ros.training.compositional_validation import ItemErrors, held_out_groups, measure_group
from fourd_ros.training.config import TaskConfig
from fourd_ros.training.settings import setting
from fourd_ros.training.shape_vae import VAE
from fourd_ros.training.task import Batch, Loss, TrainingTask, Validation

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Of ImageNet, as DINOv2 has them."""

PATCH = 14

MARKS = {"enable_static_embedding": True, "enable_dynamic_embedding": True}
"""Tables that COM4D has and TripoSG has not."""

SHOWN = 8
"""Groups in the picture of a validation."""


@dataclass(frozen=True, kw_only=True)
class CompositionalDataSettings:
    """Scenes of `fourd data compositional`, and what a batch of them holds; see `BatchRules`."""

    train: Path = setting(Path("out/compositional/train"), "scenes to train on")
    validation: Path = setting(Path("out/compositional/validation"), "scenes held out, made with --occupancy")
    points: int = setting(768, "on the surface of an object that are encoded", minimum=1)
    tokens: int | None = setting(
        None, "latent tokens of an object; null: as many as the autoencoder is used to", minimum=1
    )
    items: int = setting(24, "objects and frames of a batch, exactly", minimum=1)
    most_parts: int = setting(8, "objects of a scene", minimum=2)
    most_frames: int = setting(8, "frames of an object", minimum=2)
    single: float = setting(0.3, "how often a batch has items alone", minimum=0.0, maximum=1.0)
    moving: float = setting(0.5, "how often another batch has moving objects", minimum=0.0, maximum=1.0)
    alone: float = setting(0.6, "how often a scene shows each object by itself", minimum=0.0, maximum=1.0)
    validation_scenes: int = setting(24, "that are validated on", minimum=1)


@dataclass(frozen=True, kw_only=True)
class CompositionalNetworkSettings:
    """The transformer and the image network where they begin with nothing; see `TransformerSizes`."""

    width: int = setting(192, "channels of a token", minimum=8)
    heads: int = setting(6, "of every attention", minimum=1)
    layers: int = setting(9, "blocks; those with even numbers look over objects, the others over frames", minimum=1)
    most_parts: int = setting(16, "rows of the table of objects", minimum=1)
    most_frames: int = setting(32, "rows of the table of frames", minimum=1)
    image_side: int = setting(112, "of pictures, a multiple of 14 [px]", minimum=PATCH)
    image_width: int = setting(128, "channels of an image token", minimum=8)
    image_heads: int = setting(4, "of the image network", minimum=1)
    image_layers: int = setting(6, "of the image network", minimum=1)
    shift: float = setting(3.0, "of the flow; above 1 there is more noise, where pictures count most", above=0.0)


@dataclass(frozen=True, kw_only=True)
class CompositionalStartSettings:
    """What the networks begin with."""

    vae: Path = setting(Path("out/train/shape_vae/1/model"), "model folder of the autoencoder, where `model` is null")
    model: Path | None = setting(None, "model folder of an earlier stage: all networks")
    triposg: Path | None = setting(
        None, "folder of VAST-AI/TripoSG: its autoencoder and image network, and its transformer without `model`"
    )


@dataclass(frozen=True, kw_only=True)
class CompositionalLossSettings:
    """How items are made hard."""

    forcing: bool = setting(False, "diffusion forcing: noise of each item by itself, half of them history")
    nearest_noise: bool = setting(False, "noise is paired with the tokens that it is nearest to, else by chance")
    columns: float = setting(0.0, "weight of what stands behind each patch, told by image tokens", minimum=0.0)
    without_image: float = setting(0.1, "how often an item sees no picture", minimum=0.0, maximum=0.99)
    lost_numbers: float = setting(0.1, "share of numbers of image tokens that are lost", minimum=0.0, maximum=0.99)
    masked_moving: float = setting(0.0, "how often a square hides part of a motion", minimum=0.0, maximum=1.0)
    masked_single: float = setting(0.0, "how often a square hides part of an item alone", minimum=0.0, maximum=1.0)


@dataclass(frozen=True, kw_only=True)
class CompositionalConfig(TaskConfig):
    """Everything that a run needs."""

    data: CompositionalDataSettings = setting(CompositionalDataSettings, "what is trained on")
    network: CompositionalNetworkSettings = setting(CompositionalNetworkSettings, "what is trained")
    start: CompositionalStartSettings = setting(CompositionalStartSettings, "what it begins with")
    loss: CompositionalLossSettings = setting(CompositionalLossSettings, "how it is trained")


class ObjectNetwork(nn.Module):
    """All networks as one. The autoencoder is frozen; the image network too where it is a published one.

    Args:
        transformer: is trained.
        images: DINOv2 of `transformers`.
        vae: makes latents of surfaces.
        shift: of the flow.
        trains_images: whether the image network is trained.

    Attributes:
        columns: from image tokens to what stands behind their patches; only in training (see `filled_columns`).
    """

    def __init__(
        self,
        *,
        transformer: CompositionalTransformer,
        images: Any,
        vae: ShapeVae,
        shift: float,
        trains_images: bool,
    ) -> None:
        super().__init__()
        self.transformer, self.images, self.vae, self.shift = transformer, images, vae, shift
        self.columns = nn.Linear(images.config.hidden_size, images.config.image_size // images.config.patch_size)
        vae.requires_grad_(False)
        images.requires_grad_(trains_images)
        images.embeddings.mask_token.requires_grad_(False)

    def tokens_of(self, pictures: Tensor) -> Tensor:
        """Image tokens of pictures [m, S, S, 3], uint8, shape [m, K, E]."""
        mean, std = (torch.tensor(numbers, device=pictures.device) for numbers in (MEAN, STD))
        pixels = ((pictures.float() / 255 - mean) / std).permute(0, 3, 1, 2)
        tokens: Tensor = self.images(pixels).last_hidden_state
        return tokens

    def enable_gradient_checkpointing(self) -> None:
        """Compute blocks of the transformer twice to save memory."""
        self.transformer.checkpointing = True

    @property
    def model(self) -> CompositionalObjects:
        """What reconstructs with these networks."""
        images = ImageEncoder(self.images, mean=MEAN, std=STD)
        return CompositionalObjects(transformer=self.transformer, vae=self.vae, images=images, shift=self.shift)


class CompositionalTask(TrainingTask[CompositionalConfig]):
    """What the training loop needs to know of compositional objects."""

    config_class = CompositionalConfig
    primary = "iou"
    larger_is_better = True
    uses_all_parameters = False

    def network(self) -> ObjectNetwork:
        """Networks of an earlier stage, of published folders, or new ones beside a trained autoencoder."""
        start = self.config.start
        if start.model is not None:
            known = CompositionalObjects.from_folder(start.model, allow_noncommercial=True)
            return ObjectNetwork(
                transformer=known.transformer,
                images=known.images.network,
                vae=known.vae,
                shift=known.shift,
                trains_images=start.triposg is None,
            )
        if start.triposg is not None:
            return ObjectNetwork(
                transformer=load_triposg(start.triposg / "transformer", tables=MARKS),
                images=load_image_encoder(start.triposg).network,
                vae=load_network(ShapeVae, start.triposg / "vae"),
                shift=flow_shift(start.triposg / "scheduler"),
                trains_images=False,
            )
        vae = load_network(ShapeVae, start.vae / VAE)
        return ObjectNetwork(
            transformer=CompositionalTransformer(self._sizes(vae)),
            images=self._image_network(),
            vae=vae,
            shift=self.config.network.shift,
            trains_images=True,
        )

    def dataset(self) -> CompositionalSamples:
        """Batches of the scenes to train on."""
        data, loss = self.config.data, self.config.loss
        return CompositionalSamples(
            shards=CompositionalShards(data.train),
            points=data.points,
            rules=BatchRules(
                items=data.items,
                most_parts=data.most_parts,
                most_frames=data.most_frames,
                single=data.single,
                moving=data.moving,
                alone=data.alone,
            ),
            masking=MaskingRules(moving=loss.masked_moving, single=loss.masked_single),
        )

    def loss(self, network: nn.Module, batch: Batch) -> Loss:
        """Mean error of the flow over the items of each sample."""
        assert isinstance(network, ObjectNetwork)
        losses = []
        with fast_attention(batch["points"].device):
            for place in range(len(batch["kind"])):
                losses.append(self._loss_of(network, {name: one[place] for name, one in batch.items()}))
        return Loss(per_sample=torch.stack(losses))

    def validate(self, network: nn.Module) -> Validation:
        """Objects of held-out scenes from their pictures, made as inference makes them; see `ItemErrors`."""
        assert isinstance(network, ObjectNetwork)
        errors: list[ItemErrors] = []
        pictures = []
        with fast_attention(next(network.parameters()).device):
            for group in self._validation_groups:
                found = measure_group(network, group, tokens=self._tokens(network.vae))
                errors.extend(found.errors)
                pictures.append(found.picture)
        return Validation(metrics=ItemErrors.mean(errors), pictures={"objects": np.concatenate(pictures[:SHOWN])})

    def export(self, network: nn.Module, folder: Path, metrics: Mapping[str, float]) -> None:
        """A model folder, weights in half precision, that `CompositionalObjects.from_folder` reads in single."""
        from diffusers import FlowMatchEulerDiscreteScheduler
        from transformers import BitImageProcessor

        assert isinstance(network, ObjectNetwork)
        kept = deepcopy(network).half()
        side = int(network.images.config.image_size)
        published = self.config.start.triposg is not None
        card = ModelCard(
            name="compositional",
            system="com4d",
            purpose="Complete objects of scenes and motions from pictures and masks.",
            licence="unknown: as of the weights that training began with" if published else "Apache-2.0",
            data=f"Simulated scenes ({self.config.data.train.name}).",
            limits="Kinds of things that the simulator makes; a camera that stands still.",
            metrics={"validation": dict(metrics)},
            metrics_command="fourd train compositional",
        )
        write_model(
            folder,
            {
                "transformer": kept.transformer,
                VAE: kept.vae,
                "image_encoder": kept.images,
                "image_processor": BitImageProcessor(
                    size={"shortest_edge": side}, do_center_crop=False, image_mean=list(MEAN), image_std=list(STD)
                ),
                "scheduler": FlowMatchEulerDiscreteScheduler(shift=network.shift),  # type: ignore[no-untyped-call]
            },
            card=card,
            model_class="CompositionalObjects",
        )

    def _loss_of(self, network: ObjectNetwork, sample: Mapping[str, Tensor]) -> Tensor:
        device, rules = sample["points"].device, self.config.loss
        sizes = [int(size) for size in sample["sizes"] if size]
        seed = int(torch.randint(2**31, (1,)))
        with torch.no_grad():
            posterior = network.vae.encode(
                sample["points"], tokens=self._tokens(network.vae), rng=np.random.default_rng(seed)
            )
            clean = posterior.at(torch.randn_like(posterior.mean)).float()
        shown = sample["shown"]
        seen = network.tokens_of(sample["pictures"][: int(shown.max()) + 1])
        tokens = forget(seen[shown], whole=rules.without_image, elements=rules.lost_numbers)
        history = draw_history(sizes, forcing=rules.forcing).to(device)
        levels = noise_levels(
            draw_shares(sizes, forcing=rules.forcing).to(device), history=history, shift=network.shift
        )
        kind = KINDS[int(sample["kind"])]
        noise = torch.randn_like(clean)
        if rules.nearest_noise:
            noise = nearest_noise(clean, noise)
        loss = flow_step(network.transformer, clean, noise, tokens, levels, history, kind=kind, sizes=sizes).loss
        return loss + rules.columns * _columns_loss(network.columns, seen, sample) if rules.columns else loss

    def _tokens(self, vae: ShapeVae) -> int:
        return self.config.data.tokens or vae.sizes.latent_tokens

    def _sizes(self, vae: ShapeVae) -> TransformerSizes:
        settings = self.config.network
        layers = range(settings.layers)
        return TransformerSizes(
            num_attention_heads=settings.heads,
            width=settings.width,
            in_channels=vae.sizes.latent_channels,
            num_layers=settings.layers,
            cross_attention_dim=settings.image_width,
            max_num_parts=settings.most_parts,
            max_num_frames=settings.most_frames,
            spatial_global_attn_block_ids=tuple(layers[::2]),
            temporal_global_attn_block_ids=(0, *layers[1::2]),
            **MARKS,
        )

    def _image_network(self) -> Any:
        from transformers import Dinov2Config, Dinov2Model

        settings = self.config.network
        if settings.image_side % PATCH:
            raise InvalidConfig(f"'network.image_side' is {settings.image_side}; needed is a multiple of {PATCH}")
        return Dinov2Model(
            Dinov2Config(
                hidden_size=settings.image_width,
                num_hidden_layers=settings.image_layers,
                num_attention_heads=settings.image_heads,
                image_size=settings.image_side,
                patch_size=PATCH,
            )
        )

    @cached_property
    def _validation_groups(self) -> list[Any]:
        data = self.config.data
        return held_out_groups(CompositionalShards(data.validation), scenes=data.validation_scenes)


def _columns_loss(columns: nn.Linear, tokens: Tensor, sample: Mapping[str, Tensor]) -> Tensor:
    """Cross entropy of what stands behind patches of pictures, whose tokens are [M, 1 + patches, E]."""
    points = sample["points"][..., :3]
    filled = filled_columns(points, sample["shown"], pictures=len(tokens), side=columns.out_features)
    return binary_cross_entropy_with_logits(columns(tokens[:, 1:]).float(), filled)
