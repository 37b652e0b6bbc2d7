"""Published checkpoints as they are downloaded: a TripoSG folder, and a COM4D folder with another transformer.

Names and shapes of weights are checked strictly; class names and unknown entries of a ``config.json`` are passed over,
since published files name other classes than the ones that wrote them.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import nn

from fourd_ros.compositional.flow import TRAIN_STEPS
from fourd_ros.compositional.image_tokens import ImageEncoder
from fourd_ros.compositional.model import CompositionalObjects
from fourd_ros.compositional.shape_vae import ShapeVae
from fourd_ros.compositional.transformer import TABLE_STD, CompositionalTransformer, table_names
from fourd_ros.errors import InvalidModel, LicenceRefused
from fourd_ros.model_io.components import build_network, find_component_class
from fourd_ros.model_io.meta_device import parameters_on_meta
from fourd_ros.model_io.weight_views import GivenWeights, JoinedWeights, RenamedWeights
from fourd_ros.model_io.weights import STEM, WeightFiles, Weights, load_weights
from fourd_ros.strict_json import read_object

__all__ = [
    "flow_shift",
    "image_weights",
    "load_checkpoints",
    "load_image_encoder",
    "load_network",
    "load_triposg",
    "transformer_folder",
]

Network = TypeVar("Network", CompositionalTransformer, ShapeVae)
Device = torch.device | str

OLD_IMAGE_NAMES = (
    ("attention.attention.query.", "attention.q_proj."),
    ("attention.attention.key.", "attention.k_proj."),
    ("attention.attention.value.", "attention.v_proj."),
    ("attention.output.dense.", "attention.o_proj."),
)
"""Parts of the names of weights of DINOv2 before transformers 5, and since then."""

_BASE = ("vae", "scheduler", "image_encoder_dinov2", "feature_extractor_dinov2")


def load_checkpoints(
    triposg: Path | str,
    com4d: Path | str,
    *,
    allow_noncommercial: bool = False,
    device: Device = "cpu",
    dtype: torch.dtype = torch.float32,
) -> CompositionalObjects:
    """The model of two downloaded folders.

    Args:
        triposg: ``VAST-AI/TripoSG``.
        com4d: ``INSAIT-Institute/COM4D``; see `transformer_folder`.
        allow_noncommercial: load it although nobody has said what COM4D's weights may be used for.
        device: of all networks.
        dtype: of their weights; the original has float16.

    Raises:
        LicenceRefused: that was not allowed.
        InvalidModel: files are missing or contradict each other.
        WeightMismatch: names or shapes of weights are not those of a network; every difference is named.
    """
    if not allow_noncommercial:
        raise LicenceRefused(
            "COM4D's weights came without a licence when this was written, and parts of its code are under the Tencent "
            "Hunyuan Community License; if their terms allow your use, say so: allow_noncommercial=True"
        )
    base = Path(triposg)
    if missing := [name for name in _BASE if not (base / name).is_dir()]:
        raise InvalidModel(f"'{base}' lacks the folders {missing}; needed is the whole of VAST-AI/TripoSG")
    return CompositionalObjects(
        transformer=load_network(CompositionalTransformer, transformer_folder(com4d), device=device, dtype=dtype),
        vae=load_network(ShapeVae, base / "vae", device=device, dtype=dtype),
        images=load_image_encoder(base, device=device, dtype=dtype),
        shift=flow_shift(base / "scheduler"),
    )


def transformer_folder(com4d: Path | str) -> Path:
    """Where a COM4D folder has its transformer: the averaged one if its weights are there, the other one, or itself.

    Raises:
        InvalidModel: none of them has a ``config.json``.
    """
    folder = Path(com4d)
    averaged = folder / "transformer_ema"
    if any(averaged.glob(f"{STEM}*.safetensors*")):
        return averaged
    for place in (folder / "transformer", folder):
        if (place / "config.json").is_file():
            return place
    raise InvalidModel(f"'{folder}' has no transformer; looked for transformer_ema/, transformer/ and config.json")


def load_network(
    kind: type[Network], folder: Path, *, device: Device = "cpu", dtype: torch.dtype = torch.float32
) -> Network:
    """One of our networks from a folder with a ``config.json`` and weights, whole or in shards, of any precision.

    See `load_checkpoints` for the errors.
    """
    with parameters_on_meta():
        network = kind.from_config(_config(folder))
    load_weights(network.eval(), WeightFiles(folder), device=device, dtype=dtype)
    return network


def load_triposg(
    folder: Path | str, *, tables: Mapping[str, bool], generator: torch.Generator | None = None
) -> CompositionalTransformer:
    """A transformer for training: TripoSG's, and tables that it does not have, as they begin.

    Args:
        folder: of its transformer.
        tables: entries of the configuration that say which tables there are, such as
            ``enable_static_embedding``; those left out are as in the folder, or as published.
        generator: draws what the tables begin with.

    Raises:
        InvalidModel, WeightMismatch: as of `load_checkpoints`; only tables may be missing.
    """
    path = Path(folder)
    network = CompositionalTransformer.from_config(_config(path) | dict(tables))
    stored = WeightFiles(path)
    begun = {
        f"{name}.weight": nn.init.normal_(getattr(network, name).weight.detach(), std=TABLE_STD, generator=generator)
        for name in table_names(network.sizes)
        if f"{name}.weight" not in stored
    }
    load_weights(network, JoinedWeights(stored, GivenWeights(begun, path)))
    return network


def load_image_encoder(triposg: Path, *, device: Device = "cpu", dtype: torch.dtype = torch.float32) -> ImageEncoder:
    """DINOv2 and how it wants its pictures; see `load_checkpoints` for the errors."""
    folder, found = triposg / "image_encoder_dinov2", find_component_class("transformers", "Dinov2Model")
    with parameters_on_meta():
        network = build_network("transformers", found, _config(folder))
    load_weights(network, image_weights(WeightFiles(folder), network), device=device, dtype=dtype)
    path = triposg / "feature_extractor_dinov2" / "preprocessor_config.json"
    facts = read_object(path, error=InvalidModel)
    mean, std = (facts.get(name) for name in ("image_mean", "image_std"))
    if not (isinstance(mean, list) and isinstance(std, list)):
        raise InvalidModel(f"'{path}' has no 'image_mean' and 'image_std'")
    return ImageEncoder(network, mean=mean, std=std)


def image_weights(stored: Weights, network: nn.Module) -> RenamedWeights:
    """Weights of DINOv2 under the names that a network has; files written before transformers 5 have others."""
    known = network.state_dict().keys()

    def renamed(name: str) -> str:
        if name in known:
            return name
        for old, new in OLD_IMAGE_NAMES:
            name = name.replace(old, new)
        return name

    return RenamedWeights(stored, renamed)


def flow_shift(folder: Path) -> float:
    """Of a ``scheduler_config.json``.

    Raises:
        InvalidModel: it is missing, or the flow is another one.
    """
    path = folder / "scheduler_config.json"
    facts = read_object(path, error=InvalidModel)
    if facts.get("use_dynamic_shifting") or facts.get("num_train_timesteps", TRAIN_STEPS) != TRAIN_STEPS:
        raise InvalidModel(f"'{path}' is of another flow; needed are {TRAIN_STEPS} times and a shift that stays")
    return float(facts.get("shift", 1.0))


def _config(folder: Path) -> dict[str, Any]:
    found = read_object(folder / "config.json", error=InvalidModel)
    return {key: value for key, value in found.items() if not key.startswith("_")}
