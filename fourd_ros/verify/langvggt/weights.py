"""State dicts, and the names and shapes of the published ones."""

from math import prod
from typing import Any

import torch
from torch import nn

from fourd_ros.scene_language.geometry_network import GeometryNetwork
from fourd_ros.scene_language.language_head import LanguageHead
from fourd_ros.scene_language.sizes import GeometrySizes, LanguageSizes
from fourd_ros.verify.checks import check
from fourd_ros.verify.comparison import Comparison
from fourd_ros.verify.langvggt.folder import (
    EXACT,
    GEOMETRY,
    LANGUAGE,
    SYSTEM,
    codec,
    geometry,
    language,
    numpy_of,
)
from fourd_ros.verify.vectors import Tensors, VectorFolder

SHAPES = "full_size_state_dict_shapes.json"


@check(SYSTEM, GEOMETRY)
def geometry_weights(folder: VectorFolder, vectors: Tensors, compare: Comparison) -> None:
    """They lie in the network as they are stored."""
    _same(geometry(folder), vectors, compare)


@check(SYSTEM, LANGUAGE)
def language_weights(folder: VectorFolder, vectors: Tensors, compare: Comparison) -> None:
    """They lie in the head as they are stored."""
    _same(language(folder), vectors, compare)


@check(SYSTEM, "state_dict_*_autoencoder.safetensors")
def codec_weights(folder: VectorFolder, vectors: Tensors, compare: Comparison) -> None:
    """They lie in the autoencoder as they are stored."""
    _same(codec(folder, compare.file), vectors, compare)


@check(SYSTEM, SHAPES)
def shapes(_: VectorFolder, stated: Any, compare: Comparison) -> None:
    """Names, shapes, types and numbers of the published networks, without memory for any."""
    with torch.device("meta"):
        networks: dict[str, nn.Module] = {
            "streamvggt": GeometryNetwork(GeometrySizes()),
            "lang_head_dim3": LanguageHead(LanguageSizes()),
            "lang_head_dim6": LanguageHead(LanguageSizes(lang_dim=6)),
        }
    wanted = dict(stated)
    plain = {name: [list(shape), kind] for name, (shape, kind) in wanted["lang_head_dim3"].items()}
    changed = {name: [list(shape), "float32"] for name, shape in wanted["lang_head_dim6_differs_in"].items()}
    _equal(compare, "streamvggt", _described(networks["streamvggt"]), wanted["streamvggt"])
    _equal(compare, "lang_head_dim3", _described(networks["lang_head_dim3"]), plain)
    _equal(compare, "lang_head_dim6", _described(networks["lang_head_dim6"]), plain | changed)
    for path, count in wanted["param_counts"].items():
        compare(f"parameters of {path}", [_parameters(networks, path)], expected=[count], tolerance=EXACT)
    for name, count in wanted["n_keys"].items():
        keys = len(next(_described(made) for key, made in networks.items() if key.startswith(name)))
        compare(f"tensors of {name}", [keys], expected=[count], tolerance=EXACT)


def _same(network: nn.Module, vectors: Tensors, compare: Comparison) -> None:
    state = network.state_dict()
    for name in vectors:
        compare(name, numpy_of(state[name]), tolerance=EXACT)


def _described(network: nn.Module) -> dict[str, list[Any]]:
    return {
        name: [list(tensor.shape), str(tensor.dtype).removeprefix("torch.")]
        for name, tensor in network.state_dict().items()
    }


def _equal(compare: Comparison, what: str, ours: dict[str, list[Any]], theirs: dict[str, Any]) -> None:
    different = sorted(name for name in ours.keys() | theirs.keys() if ours.get(name) != theirs.get(name))
    compare(f"{what}: names, shapes and types that differ", [len(different)], expected=[0], tolerance=EXACT)


def _parameters(networks: dict[str, nn.Module], path: str) -> int:
    """Of a network, or of a part of the geometry network."""
    network = networks[path] if path in networks else networks["streamvggt"].get_submodule(path)
    return sum(prod(parameter.shape) for parameter in network.parameters())
