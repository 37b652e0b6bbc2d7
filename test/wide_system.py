"""How much memory a conversion takes: ``python wide_system.py FOLDER`` prints the growth of the peak [MB] by layout."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from fourd_ros.model_io import checkpoint_reader
from fourd_ros.model_io.card import ModelCard
from fourd_ros.model_io.conversion import convert
from fourd_ros.model_io.conversion_rules import Converter, Network, Rule
from fourd_ros.model_io.registry import NETWORKS
from fourd_ros.model_io.safetensors_file import write_tensors

MB = 1 << 20
LAYERS = 20
LAYER_BYTES = 8 * MB
SHARD_BYTES = 8 * MB


class Wide(torch.nn.Module):
    """`LAYER_BYTES` a layer."""

    def __init__(self, layers: int) -> None:
        super().__init__()
        self.layers = torch.nn.ModuleList(torch.nn.Linear(1024, 2048, bias=False) for _ in range(layers))

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> "Wide":
        return cls(**config)


def converter(layers: int) -> Converter:
    """Names stay as they are."""
    return Converter(
        system="wide",
        summary="",
        model_class="Wide",
        networks=lambda _: {"network": Network(class_name="Wide", config={"layers": layers})},
        rules=(Rule("network", "(.*)", r"\1"),),
        card=ModelCard(name="wide", system="wide", purpose="none", licence="MIT"),
    )


def write_source(path: Path, layers: int, blank: Path) -> None:
    """A checkpoint of zeros that were never in the memory of this process."""
    with blank.open("wb") as file:
        file.truncate(LAYER_BYTES)
    count = LAYER_BYTES // 4
    tensors = {
        f"layers.{layer}.weight": torch.from_file(str(blank), size=count).reshape(2048, 1024) for layer in range(layers)
    }
    if path.suffix == ".safetensors":
        write_tensors(tensors, path)
    else:
        torch.save(tensors, path)


def growth(layout: str, layers: int, folder: Path) -> int:
    """What the process needed at its peak beyond what it had before the conversion, mapped files included [MB]."""
    source = folder / f"{layers}.{layout}"
    write_source(source, layers, folder / "blank")
    Path("/proc/self/clear_refs").write_text("5")  # the peak is now
    before = peak()
    convert(converter(layers), source, folder / f"{layout}.{layers}", dtype="bf16", max_shard_bytes=SHARD_BYTES)
    return peak() - before


def peak() -> int:
    """Of this process [MB]."""
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(status["VmHWM"].split()[0]) // 1024


def main(folder: Path) -> None:
    NETWORKS["Wide"] = "__main__:Wide"
    checkpoint_reader.MAX_MAPPED_BYTES = 16 * MB
    for layout in ("safetensors", "pt"):
        growth(layout, 1, folder)  # what torch loads when it is first used is not meant
        print(layout, growth(layout, LAYERS, folder))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
