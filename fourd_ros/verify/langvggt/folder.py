"""What the files of a folder of vectors have in common."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from fourd_ros.model_io.meta_device import parameters_on_meta
from fourd_ros.model_io.weight_views import GivenWeights
from fourd_ros.model_io.weights import load_weights
from fourd_ros.scene_language.aggregator import FrameTokens
from fourd_ros.scene_language.feature_codec import FeatureCodec
from fourd_ros.scene_language.geometry_network import GeometryNetwork
from fourd_ros.scene_language.geometry_stream import GeometryFrame, GeometryStream
from fourd_ros.scene_language.language_head import LanguageHead
from fourd_ros.scene_language.sizes import CodecSizes, GeometrySizes, LanguageSizes
from fourd_ros.scene_language.token_cache import CachePolicy
from fourd_ros.verify.comparison import Comparison
from fourd_ros.verify.manifest import NAME
from fourd_ros.verify.tolerance import Tolerance
from fourd_ros.verify.vectors import Tensors, VectorFolder

SYSTEM = "langvggt"
EXACT = Tolerance()
GEOMETRY, LANGUAGE = "state_dict_streamvggt.safetensors", "state_dict_lang_head.safetensors"

_TRACK_HEADS = 8
_FOLDERS = 2


def torch_of(array: NDArray[Any]) -> Tensor:
    """In memory of its own."""
    return torch.from_numpy(np.array(array))


def numpy_of(value: Any) -> NDArray[Any]:
    """For comparisons."""
    return np.asarray(value.detach().numpy() if isinstance(value, Tensor) else value)


def compare_all(vectors: Tensors, compare: Comparison, computed: Mapping[str, Any], *, inputs: str = "") -> None:
    """Compare every tensor of a file but its `inputs`, names with spaces between; one that nobody computes fails."""
    for name in sorted(vectors.keys() - set(inputs.split())):
        if name not in computed:
            raise KeyError(f"no check computes '{name}'")
        compare(name, numpy_of(computed[name]))


def settings(folder: VectorFolder) -> dict[str, Any]:
    """``config.json``."""
    found: dict[str, Any] = folder.load("config.json")
    return found


def facts(folder: VectorFolder) -> dict[str, Any]:
    """``MANIFEST.json``, which holds results beside tolerances."""
    found: dict[str, Any] = folder.load(NAME)
    return found


def meanings(folder: VectorFolder, file: str) -> dict[str, str]:
    """What the manifest says about the tensors of a file."""
    return {entry["name"]: str(entry["meaning"]) for entry in facts(folder)["tensors"] if entry["file"] == file}


def image(folder: VectorFolder, name: str = "images") -> Tensor:
    """Images of the inputs."""
    return torch_of(folder.load("inputs.safetensors")[name])


def geometry_sizes(folder: VectorFolder) -> GeometrySizes:
    """Sizes as the configuration has them, or else the weights."""
    given = settings(folder)["geometry"]
    weights = folder.load(GEOMETRY)
    heads = tuple(name for name in ("camera", "depth", "point", "track") if _has(weights, f"{name}_head."))
    plain = {
        "img_size": "img_size",
        "patch_size": "patch_size",
        "embed_dim": "embed_dim",
        "depth": "depth",
        "num_heads": "num_heads",
        "mlp_ratio": "mlp_ratio",
        "num_register_tokens": "register_tokens",
        "rope_freq": "rope_frequency",
        "vit_depth": "vit_depth",
        "vit_num_heads": "vit_heads",
        "vit_mlp_ratio": "vit_mlp_ratio",
        "camera_trunk_depth": "camera_depth",
        "camera_num_heads": "camera_heads",
        "dpt_features": "dpt_features",
        "dpt_out_channels": "dpt_channels",
        "layer_idx": "dpt_layers",
    }
    sizes = {ours: given[theirs] for theirs, ours in plain.items() if theirs in given}
    if "track" in heads:
        sizes |= _track_sizes(given["track"], weights)
    return GeometrySizes.from_config({**sizes, "heads": heads})


def _track_sizes(given: Mapping[str, Any], weights: Tensors) -> dict[str, Any]:
    former = "track_head.tracker.updateformer"
    return {
        "track_features": given["features"],
        "track_hidden": given["hidden_size"],
        "track_levels": given["corr_levels"],
        "track_radius": given["corr_radius"],
        "track_stride": given["stride"],
        "track_iterations": given["iters"],
        "track_heads": given.get("num_heads", _TRACK_HEADS),
        "track_virtual": weights[f"{former}.virual_tracks"].shape[1],
        "track_depth": len({name.split(".")[4] for name in weights if name.startswith(f"{former}.time_blocks.")}),
    }


def _has(weights: Tensors, prefix: str) -> bool:
    return any(name.startswith(prefix) for name in weights)


@lru_cache(maxsize=_FOLDERS)
def geometry(folder: VectorFolder) -> GeometryNetwork:
    """The network, loaded strictly."""
    sizes = geometry_sizes(folder)
    with parameters_on_meta():
        network = GeometryNetwork(sizes).eval()
    load(network, folder, GEOMETRY)
    return network


def language_sizes(folder: VectorFolder) -> LanguageSizes:
    """Sizes of the language head."""
    given, sizes, weights = settings(folder)["lang"], geometry_sizes(folder), folder.load(LANGUAGE)
    return LanguageSizes(
        dim_in=2 * sizes.embed_dim,
        patch_size=sizes.patch_size,
        features=given["features"],
        hidden_dim=given["hidden_dim"],
        lang_dim=given["lang_dim"],
        dpt_channels=tuple(
            weights[f"feature_extractor.projects.{level}.weight"].shape[0] for level in range(len(sizes.dpt_layers))
        ),
        dpt_layers=sizes.dpt_layers,
    )


def language(folder: VectorFolder) -> LanguageHead:
    """The language head, loaded strictly; a new one each time, since training changes it."""
    with parameters_on_meta():
        head = LanguageHead(language_sizes(folder)).eval()
    load(head, folder, LANGUAGE)
    return head


def codec(folder: VectorFolder, file: str) -> FeatureCodec:
    """An autoencoder of the sizes of its weights, loaded strictly."""
    weights = folder.load(file)
    sides = {}
    for side in ("encoder", "decoder"):
        maps = sorted(
            (int(name.split(".")[1]), array.shape)
            for name, array in weights.items()
            if name.startswith(side) and array.ndim == 2
        )
        sides[side] = (maps[0][1][1], *(shape[0] for _, shape in maps))
    with parameters_on_meta():
        made = FeatureCodec(CodecSizes(**sides)).eval()
    load(made, folder, file)
    return made


def load(network: nn.Module, folder: VectorFolder, file: str) -> None:
    """Weights of a file, strictly."""
    tensors = {name: torch_of(array) for name, array in folder.load(file).items()}
    load_weights(network, GivenWeights(tensors, folder.path(file)))


@lru_cache(maxsize=_FOLDERS)
@torch.no_grad()
def whole_clip(folder: VectorFolder) -> FrameTokens:
    """Tokens of all layers of the clip, all frames at once."""
    network = geometry(folder)
    tokens: FrameTokens = network.aggregator(image(folder), layers=range(network.sizes.depth))
    return tokens


def streamed(
    folder: VectorFolder, images: Tensor, policy: CachePolicy, *, points: bool = False, official_compat: bool = True
) -> tuple[GeometryStream, list[GeometryFrame]]:
    """The frames of clips [B, S, 3, H, W], one by one."""
    stream = GeometryStream(geometry(folder), policy=policy, points=points, official_compat=official_compat)
    return stream, [stream.step(frame) for frame in images.unbind(1)]
