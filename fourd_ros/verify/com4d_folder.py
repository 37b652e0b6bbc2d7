"""What the files of a folder of COM4D's vectors have in common: networks, and what the manifest says."""

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fourd_ros.compositional.checkpoints import flow_shift, load_image_encoder, load_network, transformer_folder
from fourd_ros.compositional.image_tokens import ImageEncoder
from fourd_ros.compositional.model import CompositionalObjects
from fourd_ros.compositional.shape_vae import ShapeVae
from fourd_ros.compositional.transformer import CompositionalTransformer
from fourd_ros.errors import InvalidManifest
from fourd_ros.verify.manifest import NAME
from fourd_ros.verify.vectors import Tensors, VectorFolder

SYSTEM = "com4d"
BASE, COM4D = "weights/TripoSG", "weights/COM4D"


def about(folder: VectorFolder, file: str) -> dict[str, Any]:
    """What the manifest says about a file beyond its tensors."""
    found: dict[str, Any] = folder.load(NAME)["files"][file].get("extra", {})
    return found


def meaning(folder: VectorFolder, file: str, tensor: str) -> str:
    """What the manifest says about a tensor."""
    return str(folder.load(NAME)["files"][file]["tensors"][tensor].get("meaning", ""))


def number_in(text: str, pattern: str) -> float:
    """The number that a pattern finds in a text.

    Raises:
        InvalidManifest: it finds none.
    """
    found = re.search(pattern, text)
    if found is None:
        raise InvalidManifest(f"'{text}' does not say '{pattern}'")
    return float(found[1])


def transformer(folder: VectorFolder, facts: Mapping[str, Any] | None = None) -> CompositionalTransformer:
    """The transformer of a folder, loaded as a checkpoint is; which blocks mix is as `facts` say, if they do."""
    place = transformer_folder(folder.root / COM4D)
    network = load_network(CompositionalTransformer, folder.path(str(place.relative_to(folder.root))))
    ids: dict[str, Any] = {
        f"{kind}_global_attn_block_ids": tuple((facts or {})[name])
        for kind, names in (("spatial", ("spatial_ids", "sp")), ("temporal", ("temporal_ids", "te")))
        for name in names
        if name in (facts or {})
    }
    network.sizes = replace(network.sizes, **ids)
    return network


def shape_vae(folder: VectorFolder) -> ShapeVae:
    """The autoencoder of a folder."""
    return load_network(ShapeVae, folder.path(f"{BASE}/vae"))


def image_encoder(folder: VectorFolder) -> ImageEncoder:
    """The image encoder of a folder."""
    for part in ("image_encoder_dinov2", "feature_extractor_dinov2"):
        folder.path(f"{BASE}/{part}")
    return load_image_encoder(folder.root / BASE)


def model(folder: VectorFolder, facts: Mapping[str, Any]) -> CompositionalObjects:
    """All of it; `facts` as of `transformer`, and the shift of the flow."""
    flow_shift(folder.path(f"{BASE}/scheduler"))
    return CompositionalObjects(
        transformer=transformer(folder, facts),
        vae=shape_vae(folder),
        images=image_encoder(folder),
        shift=float(facts["shift"]),
    )


def tensors_of(vectors: Tensors) -> dict[str, Tensor]:
    """Tensors of their own."""
    return {name: torch.from_numpy(np.array(array)) for name, array in vectors.items()}


def as_numpy(tensor: Tensor) -> NDArray[Any]:
    """For comparisons."""
    return tensor.detach().numpy()
