"""A small registered model with everything that makes loading hard: ties, counters, a buffer that no file holds."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from fourd_ros.model_io import registry
from fourd_ros.model_io.card import ModelCard
from fourd_ros.model_io.folder import ModelFolder, write_model

SHARD_BYTES = 350
"""Splits the weights of a `TinyNetwork` into three files."""


class TinyNetwork(nn.Module):
    """Some layers; `out` shares its weight with `middle`."""

    def __init__(self, *, width: int) -> None:
        super().__init__()
        self.config = {"width": width}
        self.middle = nn.Linear(width, width)
        self.norm = nn.BatchNorm1d(width)
        self.last = nn.Linear(width, width)
        self.out = nn.Linear(width, width, bias=False)
        self.out.weight = self.middle.weight
        self.register_buffer("angles", torch.linspace(0.0, 1.0, width), persistent=False)

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> "TinyNetwork":
        return cls(**config)

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        return self.out(self.last(self.norm(self.middle(values)))) * self.angles.cos()


class TinyModel:
    """What a room makes of its components."""

    def __init__(self, network: TinyNetwork, card: ModelCard) -> None:
        self.network = network
        self.card = card

    @classmethod
    def from_components(cls, components: Mapping[str, Any], card: ModelCard) -> "TinyModel":
        return cls(components["network"], card)


def register() -> None:
    """As a program with a model of its own does."""
    registry.NETWORKS["TinyNetwork"] = "model_rig:TinyNetwork"
    registry.MODELS["TinyModel"] = "model_rig:TinyModel"


def tiny_network(seed: int = 0) -> TinyNetwork:
    torch.manual_seed(seed)
    network = TinyNetwork(width=8)
    network(torch.rand(4, 8))  # gives the norm statistics
    return network.eval()


def tiny_card(**changes: Any) -> ModelCard:
    facts = {"name": "tiny", "system": "tests", "purpose": "Turns numbers into numbers.", "licence": "Apache-2.0"}
    return ModelCard(**facts | changes)


def write_tiny(path: Path, *, network: nn.Module | None = None, **changes: Any) -> ModelFolder:
    """A folder with a sharded `TinyNetwork` and an extra file."""
    register()
    return write_model(
        path,
        {"network": network or tiny_network()},
        card=tiny_card(**changes),
        model_class="TinyModel",
        extra={"extra/notes.txt": b"what else belongs to it"},
        max_shard_bytes=SHARD_BYTES,
    )


def write_single(path: Path) -> ModelFolder:
    """The same with its weights in one file."""
    register()
    return write_model(path, {"network": tiny_network()}, card=tiny_card(), model_class="TinyModel")


def assert_same_weights(one: nn.Module, other: nn.Module) -> None:
    """Bit for bit, under the same names, also what is not stored."""
    first = dict(one.state_dict()) | dict(one.named_buffers())
    second = dict(other.state_dict()) | dict(other.named_buffers())
    assert first.keys() == second.keys()
    for name, tensor in first.items():
        assert tensor.dtype == second[name].dtype
        assert torch.equal(tensor, second[name]), name
