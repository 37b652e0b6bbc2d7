"""Training of the shape autoencoder of compositional objects on procedural solids."""

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from fourd_ros.compositional.shape_vae import ShapePosterior, ShapeVae
from fourd_ros.compositional.sizes import VaeSizes
from fourd_ros.data.compositional_shards import CompositionalShards, occupancy_grid
from fourd_ros.errors import InvalidDataset
from fourd_ros.model_io.card import ModelCard
from fourd_ros.model_io.folder import write_model
from fourd_ros.training.attention_kernel import fast_attention
from fourd_ros.training.config import TaskConfig
from fourd_ros.training.settings import setting
from fourd_ros.training.shape_beginning import begin_locally
from fourd_ros.training.shape_samples import ShapeSamples
from fourd_ros.training.task import Batch, Loss, TrainingTask, Validation

VAE = "vae"
"""Of a model folder."""

LOG_VARIANCE = -4.0
"""Of latents of a network that knows nothing."""

MEASURED, SHOWN = 8192, 6
"""Places of the grid that are asked about a solid; solids in the picture."""


@dataclass(frozen=True, kw_only=True)
class ShapeDataSettings:
    """Scenes of `fourd data compositional`."""

    train: Path = setting(Path("out/compositional/train"), "scenes to train on")
    validation: Path = setting(Path("out/compositional/validation"), "scenes held out, made with --occupancy")
    points: int = setting(768, "on the surface of a solid that are encoded", minimum=1)
    queries: int = setting(512, "places around it that are asked about", minimum=1)
    moved: float = setting(0.3, "how often a solid is elsewhere and of another size", minimum=0.0, maximum=1.0)
    validation_solids: int = setting(64, "that are validated on", minimum=1)


@dataclass(frozen=True, kw_only=True)
class ShapeNetworkSettings:
    """The autoencoder; see `VaeSizes`."""

    tokens: int = setting(64, "latent tokens of a solid", minimum=1)
    channels: int = setting(16, "of a latent token", minimum=1)
    heads: int = setting(4, "of every attention", minimum=1)
    encoder_width: int = setting(128, "channels of the encoder, a multiple of the heads", minimum=8)
    decoder_width: int = setting(192, "channels of the decoder, a multiple of the heads", minimum=8)
    encoder_blocks: int = setting(3, "self-attention blocks", minimum=1)
    decoder_blocks: int = setting(5, "self-attention blocks", minimum=1)
    waves: int = setting(5, "of each coordinate", minimum=1)


@dataclass(frozen=True, kw_only=True)
class ShapeLossSettings:
    """What the autoencoder is trained for."""

    softness: float = setting(0.01, "depth at which the field is 1; a solid's edge is that soft", above=0.0)
    kl: float = setting(1e-3, "weight of the divergence of latents from a standard normal", minimum=0.0)


@dataclass(frozen=True, kw_only=True)
class ShapeVaeConfig(TaskConfig):
    """Everything that a run needs."""

    data: ShapeDataSettings = setting(ShapeDataSettings, "what is trained on")
    network: ShapeNetworkSettings = setting(ShapeNetworkSettings, "what is trained")
    loss: ShapeLossSettings = setting(ShapeLossSettings, "what it is trained for")


class ShapeVaeTask(TrainingTask[ShapeVaeConfig]):
    """What the training loop needs to know of the autoencoder."""

    config_class = ShapeVaeConfig
    primary = "iou"
    larger_is_better = True

    def network(self) -> ShapeVae:
        """A network that knows nothing but which token is near which place."""
        settings = self.config.network
        network = ShapeVae(
            VaeSizes(
                latent_channels=settings.channels,
                latent_tokens=settings.tokens,
                num_attention_heads=settings.heads,
                width_encoder=settings.encoder_width,
                width_decoder=settings.decoder_width,
                num_layers_encoder=settings.encoder_blocks,
                num_layers_decoder=settings.decoder_blocks,
                embed_frequency=settings.waves,
            )
        )
        # Else latents begin as noise, and the decoder learns for long to do without them.
        nn.init.constant_(network.quant.bias.detach()[settings.channels :], LOG_VARIANCE)
        begin_locally(network)
        return network

    def dataset(self) -> ShapeSamples:
        """Solids to train on."""
        data = self.config.data
        shards = CompositionalShards(data.train)
        return ShapeSamples(shards=shards, points=data.points, queries=data.queries, moved=data.moved)

    def loss(self, network: nn.Module, batch: Batch) -> Loss:
        """Cross entropy of a soft inside, and the divergence of latents."""
        assert isinstance(network, ShapeVae)
        rows = np.random.default_rng(int(torch.randint(2**31, (1,))))
        with fast_attention(batch["points"].device):
            posterior = network.encode(batch["points"], tokens=self.config.network.tokens, rng=rows)
            latents = posterior.at(torch.randn_like(posterior.mean))
            values = network.values(latents, batch["queries"]).float()
        terms = {"inside": inside_loss(values, batch["depth"], softness=self.config.loss.softness), "kl": kl(posterior)}
        return Loss(per_sample=terms["inside"] + self.config.loss.kl * terms["kl"], terms=terms)

    def validate(self, network: nn.Module) -> Validation:
        """Overlap and errors of solids that are held out, from means of latents, where they are in their scenes."""
        assert isinstance(network, ShapeVae)
        device = next(network.parameters()).device
        overlaps, right, spreads, slices = [], [], [], []
        for number, solid in enumerate(self._validation_solids):
            points = torch.from_numpy(solid.points[None]).to(device)
            posterior = network.encode(points, tokens=self.config.network.tokens, rng=np.random.default_rng(number))
            places = torch.from_numpy(solid.places[None]).to(device)
            inside = (network.values(posterior.mean, places)[0] > 0).cpu().numpy()
            overlaps.append((inside & solid.filled).sum() / max((inside | solid.filled).sum(), 1))
            right.append((inside == solid.filled).mean())
            spreads.append(float(posterior.mean.std()))
            if number < SHOWN:
                slices.append(_slices(network, posterior.mean, solid))
        metrics = {"iou": float(np.mean(overlaps)), "right": float(np.mean(right)), "spread": float(np.mean(spreads))}
        return Validation(metrics=metrics, pictures={"slices": np.concatenate(slices)})

    def export(self, network: nn.Module, folder: Path, metrics: Mapping[str, float]) -> None:
        """A model folder with the autoencoder alone, whose latents have mean 0 and spread 1 over held-out solids."""
        assert isinstance(network, ShapeVae)
        network = copy.deepcopy(network)
        network.standardize_latents(*self._latent_moments(network))
        card = ModelCard(
            name="shape_vae",
            system="com4d",
            purpose="Surfaces of solids to latent tokens and back to a field.",
            licence="Apache-2.0",
            data=f"Procedural solids ({self.config.data.train.name}).",
            limits="Shapes of the simulator's kinds, in the cube [-1, 1]^3; thin walls are lost.",
            metrics={"validation": dict(metrics)},
            metrics_command="fourd train shape_vae",
        )
        write_model(folder, {VAE: network}, card=card, model_class="CompositionalObjects")

    def _latent_moments(self, network: ShapeVae) -> tuple[Tensor, Tensor]:
        """Mean and spread of each channel of latents of held-out solids, both [C]."""
        device = next(network.parameters()).device
        points = torch.from_numpy(np.stack([solid.points for solid in self._validation_solids])).to(device)
        with torch.no_grad():
            posterior = network.encode(points, tokens=self.config.network.tokens, rng=np.random.default_rng(0))
        latents = posterior.at(torch.randn_like(posterior.mean)).flatten(0, 1)
        return latents.mean(dim=0), latents.std(dim=0)

    @cached_property
    def _validation_solids(self) -> list["_HeldOut"]:
        shards = CompositionalShards(self.config.data.validation)
        solids = [(index, solid) for index in range(len(shards)) for solid in range(len(shards.facts(index).solids))]
        chosen = np.linspace(0, len(solids) - 1, min(self.config.data.validation_solids, len(solids))).astype(int)
        return [_held_out(shards, *solids[place], points=self.config.data.points) for place in chosen]


def inside_loss(values: Tensor, depth: Tensor, *, softness: float) -> Tensor:
    """Cross entropy that is least where the field is ``depth / softness``, shape [B].

    The target is the soft inside ``sigmoid(depth / softness)``; its own entropy is taken off, so the least loss is 0.

    Args:
        values: of the field at places, shape [B, Q].
        depth: of these below the surface, negative outside, shape [B, Q].
        softness: depth at which the field shall be 1.
    """
    wanted = depth / softness
    target = torch.sigmoid(wanted)
    loss = binary_cross_entropy_with_logits(values, target, reduction="none")
    return (loss - binary_cross_entropy_with_logits(wanted, target, reduction="none")).mean(dim=1)


def kl(posterior: ShapePosterior) -> Tensor:
    """Divergence of latents from a standard normal, mean over their numbers, shape [B] (Kingma, Welling 2014)."""
    mean, log_variance = posterior.mean.float(), posterior.log_variance.float()
    return 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).flatten(1).mean(dim=1)


@dataclass(frozen=True, kw_only=True)
class _HeldOut:
    """A solid to measure on: points [P, 6], places [M, 3] and whether they are filled [M]; a plane of the grid."""

    points: NDArray[np.float32]
    places: NDArray[np.float32]
    filled: NDArray[np.bool_]
    slice_places: NDArray[np.float32]
    slice_filled: NDArray[np.bool_]


def _held_out(shards: CompositionalShards, scene: int, solid: int, *, points: int) -> _HeldOut:
    arrays = shards.arrays(scene)
    if not len(arrays.grid):
        raise InvalidDataset(f"'{shards.folder}' has no grids of what is filled; make it with --occupancy")
    rng = np.random.default_rng((scene, solid))
    found = arrays.points(0, solid)
    grid, filled = occupancy_grid(), arrays.occupancy(False, solid)
    low, high = found[:, :3].min(axis=0) - 0.1, found[:, :3].max(axis=0) + 0.1
    near = np.flatnonzero(((grid >= low) & (grid <= high)).all(axis=-1))
    chosen = rng.choice(near, min(MEASURED, len(near)), replace=False)
    middle = int(np.argmin(np.abs(grid[0, 0, :, 2] - (low[2] + high[2]) / 2)))
    return _HeldOut(
        points=found[rng.permutation(len(found))[:points]],
        places=grid.reshape(-1, 3)[chosen],
        filled=filled.reshape(-1)[chosen],
        slice_places=grid[:, :, middle],
        slice_filled=filled[:, :, middle],
    )


def _slices(network: ShapeVae, latents: Tensor, solid: _HeldOut) -> NDArray[np.uint8]:
    """What the network fills in a plane, and what is filled, side by side, y up."""
    places = torch.from_numpy(solid.slice_places.reshape(1, -1, 3)).to(latents)
    said = torch.sigmoid(network.values(latents, places)[0]).reshape(solid.slice_filled.shape).cpu().numpy()
    row = np.concatenate([each.T[::-1] for each in (said, solid.slice_filled.astype(np.float32))], axis=1)
    return (255 * row).astype(np.uint8)
