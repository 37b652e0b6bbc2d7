"""A small published system for the tests of conversion: its network, and checkpoints of it in every layout."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import nn

from fourd_ros.model_io.card import ModelCard
from fourd_ros.model_io.conversion_rules import Converter, Drop, Network, Rule

Tensors = dict[str, torch.Tensor]

LAYERS = 3
WIDTH = 6


class ToyNetwork(nn.Module):
    """Blocks with joined projections, tied embeddings, and a layer that stays in float32."""

    _keep_in_fp32_modules = ("norm",)

    def __init__(self, layers: int = LAYERS, width: int = WIDTH) -> None:
        super().__init__()
        self.config = {"layers": layers, "width": width}
        self.embedding = nn.Embedding(10, width)
        self.qkv = nn.ModuleList(nn.Linear(width, 3 * width, bias=False) for _ in range(layers))
        self.gate = nn.Linear(width, width)
        self.up = nn.Linear(width, width, bias=False)
        self.norm = nn.LayerNorm(width)
        self.register_buffer("steps", torch.zeros(4, dtype=torch.int64))
        self.register_buffer("table", torch.arange(5.0), persistent=False)
        self.head = nn.Linear(width, 10, bias=False)
        self.head.weight = self.embedding.weight

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> "ToyNetwork":
        return cls(**config)


class Toy:
    """The model."""

    def __init__(self, network: ToyNetwork) -> None:
        self.network = network

    @classmethod
    def from_components(cls, components: Mapping[str, Any], card: ModelCard) -> "Toy":
        return cls(components["network"])


RULES = (
    Rule("network", r"tokens\.weight", "embedding.weight"),
    Rule(
        "network",
        (r"blocks\.(\d+)\.q", r"blocks\.(\d+)\.k", r"blocks\.(\d+)\.v"),
        r"qkv.\1.weight",
        transform=lambda *parts: torch.cat(parts),
    ),
    Rule("network", r"mlp\.weight", ("gate.weight", "up.weight"), transform=lambda both: both.T.chunk(2)),
    Rule("network", r"mlp\.bias", "gate.bias"),
    Rule("network", r"norm\.(weight|bias)", r"norm.\1"),
    Rule("network", "steps", "steps"),
    Drop(r"ema\..*", "averaged weights"),
    Drop(r"optimizer\..*", "state of the optimiser"),
)


def networks(_: Any) -> dict[str, Network]:
    """What comes out."""
    return {"network": Network(class_name="ToyNetwork", config={"layers": LAYERS, "width": WIDTH})}


CONVERTER = Converter(
    system="toy",
    summary="a toy",
    model_class="Toy",
    networks=networks,
    rules=RULES,
    card=ModelCard(name="toy", system="toy", purpose="Nothing.", licence="MIT"),
    wrappers=("state_dict.", "module."),
    skipped_files={"training_args.bin": "options of the training"},
)


def weights(seed: int = 0) -> Tensors:
    """A checkpoint under the original's names."""
    generator = torch.Generator().manual_seed(seed)

    def some(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator)

    blocks = {f"blocks.{layer}.{part}": some(WIDTH, WIDTH) for layer in range(LAYERS) for part in "qkv"}
    return {
        "tokens.weight": some(10, WIDTH),
        **blocks,
        "mlp.weight": some(WIDTH, 2 * WIDTH),
        "mlp.bias": some(WIDTH),
        "norm.weight": some(WIDTH),
        "norm.bias": some(WIDTH),
        "steps": torch.tensor([2**40, 1, 2, 3]),
    }


def write_index(folder: Path, stem: str, files: Mapping[str, Tensors]) -> None:
    """The index of shards."""
    import json

    weight_map = {name: file for file, tensors in files.items() for name in tensors}
    (folder / f"{stem}.index.json").write_text(json.dumps({"weight_map": weight_map}))


def shards(tensors: Tensors, template: str) -> dict[str, Tensors]:
    """Two files."""
    names = list(tensors)
    parts = names[::2], names[1::2]
    return {template.format(number): {name: tensors[name] for name in part} for number, part in enumerate(parts, 1)}


def save_as(layout: str, tensors: Tensors, folder: Path) -> Path:
    """Write a checkpoint in one of the layouts that are published; returns what the user would name."""
    folder.mkdir(parents=True, exist_ok=True)
    if layout == "safetensors":
        save_file(tensors, folder / "model.safetensors")
        return folder / "model.safetensors"
    if layout == "sharded safetensors":
        files = shards(tensors, "model-{:05d}-of-00002.safetensors")
        for name, part in files.items():
            save_file(part, folder / name)
        write_index(folder, "model.safetensors", files)
        return folder
    if layout == "sharded bin":
        files = shards(tensors, "pytorch_model-{:05d}-of-00002.bin")
        for name, part in files.items():
            torch.save(part, folder / name)
        write_index(folder, "pytorch_model.bin", files)
        return folder
    path = folder / {"pt": "model.pt", "nested ckpt": "last.ckpt", "legacy pth": "model.pth"}[layout]
    if layout == "nested ckpt":
        moments = {name: {"exp_avg": torch.zeros_like(tensor)} for name, tensor in tensors.items()}
        inner = {f"module.{name}": tensor for name, tensor in tensors.items()}
        content = {"state_dict": inner, "optimizer": {"state": moments}, "epoch": 7, "ema": {"steps": torch.zeros(4)}}
        torch.save(content, path)
    else:
        torch.save(tensors, path, _use_new_zipfile_serialization=layout == "pt")
    return path
