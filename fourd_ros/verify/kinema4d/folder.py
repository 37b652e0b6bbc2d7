"""What the files of a folder of vectors have in common: networks, sizes, and how tensors were thinned out."""

import re
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKLWan, UniPCMultistepScheduler
from numpy.typing import NDArray
from transformers import CLIPVisionModel

from fourd_ros.errors import InvalidManifest
from fourd_ros.model_io.components import find_component_class
from fourd_ros.model_io.meta_device import parameters_on_meta
from fourd_ros.model_io.weight_views import GivenWeights, RenamedWeights
from fourd_ros.model_io.weights import load_weights
from fourd_ros.verify.manifest import NAME
from fourd_ros.verify.vectors import Tensors, VectorFolder
from fourd_ros.world_model.kinema4d.adapter import LORA_PREFIX, TARGET_PATTERN, merged
from fourd_ros.world_model.kinema4d.image_tokens import ImageEncoder
from fourd_ros.world_model.kinema4d.latents import LatentCodec
from fourd_ros.world_model.kinema4d.layout import Grid, Variant
from fourd_ros.world_model.kinema4d.transformer import Kinema4DTransformer
from fourd_ros.world_model.kinema4d.wan import config_of_wan, weights_over_wan

SYSTEM = "kinema4d"
BASE, ADDED, LORA = "weights/base_transformer", "weights/added_weights", "weights/pytorch_lora_weights"
CONFIG = "weights/transformer_config.json"

_ONLY_COLOUR = "arm_domain_emb"


def manifest(folder: VectorFolder) -> dict[str, Any]:
    """MANIFEST.json."""
    found: dict[str, Any] = folder.load(NAME)
    return found


def meaning(folder: VectorFolder, file: str, tensor: str) -> str:
    """What the manifest says about a tensor."""
    return str(manifest(folder)["files"][file]["tensors"][tensor].get("meaning", ""))


def strides(text: str, default: int) -> tuple[int, ...]:
    """The steps ``::n`` in a text."""
    return tuple(int(found) for found in re.findall(r"::(\d+)", text)) or (default,)


def thinned(tensor: torch.Tensor, text: str, default: int = 1) -> torch.Tensor:
    """Every so many of the last two axes, as a text says; one step is for both."""
    rows, columns = (strides(text, default) * 2)[-2:]
    return tensor[..., ::rows, ::columns]


def load(folder: VectorFolder, file: str) -> dict[str, torch.Tensor]:
    """Tensors of a safetensors file; half-precision inputs, which are exact, as float32."""
    return tensors_of(folder.load(f"{file}.safetensors"))


def tensors_of(vectors: Tensors) -> dict[str, torch.Tensor]:
    """The same of tensors that were read."""
    return {name: as_torch(array) for name, array in vectors.items()}


def as_torch(array: NDArray[Any]) -> torch.Tensor:
    """A tensor of its own; half precision becomes float32."""
    array = np.array(array)
    return torch.from_numpy(array.astype(np.float32) if array.dtype == np.float16 else array)


def as_numpy(tensor: torch.Tensor) -> NDArray[Any]:
    """For comparisons; half precision becomes float32."""
    tensor = tensor.detach()
    return (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).numpy()


def added_weights(folder: VectorFolder, variant: Variant) -> dict[str, torch.Tensor]:
    """Those of a variant."""
    added = load(folder, ADDED)
    return {name: tensor for name, tensor in added.items() if variant is Variant.ACT or name != _ONLY_COLOUR}


def base_weights(folder: VectorFolder, dtype: torch.dtype, *, merge: bool) -> dict[str, torch.Tensor]:
    """Wan's, of a type, with the adapter in them or without."""
    base = {name: tensor.to(dtype) for name, tensor in load(folder, BASE).items()}
    return base | merged_targets(folder, base) if merge else base


def merged_targets(folder: VectorFolder, base: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The weights that have an adapter, merged."""
    lora = load(folder, LORA)
    targets = [name for name in base if re.fullmatch(rf"{TARGET_PATTERN}\.weight", name)]
    made = {}
    for name in targets:
        prefix = f"{LORA_PREFIX}{name.removesuffix('.weight')}"
        made[name] = merged(base[name], lora[f"{prefix}.lora_A.weight"], lora[f"{prefix}.lora_B.weight"])
    return made


def transformer(
    folder: VectorFolder,
    variant: Variant,
    *,
    dtype: torch.dtype = torch.float32,
    merge: bool = True,
    replaced: dict[str, torch.Tensor] | None = None,
    grid: tuple[int, int, int] | None = None,
) -> Kinema4DTransformer:
    """The network of a folder, loaded as a checkpoint is.

    Args:
        folder: of vectors.
        variant: of the network.
        dtype: of its weights, except for those that stay in float32.
        merge: with the adapter in the weights.
        replaced: added weights instead of those in the folder.
        grid: frames, rows and columns of latents, instead of the folder's.
    """
    path = folder.path(CONFIG)
    stored = folder.load(CONFIG)
    given = added_weights(folder, variant) | (replaced or {})
    shapes = {name: tuple(tensor.shape) for name, tensor in given.items()}
    config = config_of_wan(stored, path, variant=variant, robot=shapes)
    if grid is not None and config.grid != Grid(frames=grid[0], rows=grid[1], columns=grid[2]):
        raise InvalidManifest(f"added weights are for the grid {config.grid}, needed is {grid}")
    with parameters_on_meta():
        network = Kinema4DTransformer(config).eval()
    base = GivenWeights(_wide_where_kept(base_weights(folder, dtype, merge=merge), folder, network), path)
    load_weights(network, weights_over_wan(base, network, GivenWeights(given, path)), dtype=dtype)
    return network


def _wide_where_kept(
    weights: dict[str, torch.Tensor], folder: VectorFolder, network: Kinema4DTransformer
) -> dict[str, torch.Tensor]:
    """Weights that stay in float32 as they were before they were rounded."""
    kept = set(network._keep_in_fp32_modules)
    wide = load(folder, BASE)
    return {name: wide[name] if kept & set(name.split(".")) else tensor for name, tensor in weights.items()}


def codec(folder: VectorFolder) -> LatentCodec:
    """The autoencoder of a folder."""
    config = folder.load("pipeline/vae_config.json")
    with parameters_on_meta():
        vae = AutoencoderKLWan.from_config({key: value for key, value in config.items() if not key.startswith("_")})
    stored = load(folder, "pipeline/vae")
    load_weights(vae.eval(), GivenWeights(stored, folder.path("pipeline/vae.safetensors")))
    return LatentCodec(vae)


def image_encoder(folder: VectorFolder) -> ImageEncoder:
    """The image encoder of a folder."""
    with parameters_on_meta():
        network = CLIPVisionModel(CLIPVisionModel.config_class.from_dict(folder.load("pipeline/clip_config.json")))
    stored = GivenWeights(load(folder, "pipeline/clip"), folder.path("pipeline/clip.safetensors"))
    load_weights(network.eval(), RenamedWeights(stored, lambda name: name.removeprefix("vision_model.")))
    processor: Any = find_component_class("transformers", "CLIPImageProcessorPil")
    return ImageEncoder(network, processor(**_plain(folder.load("pipeline/clip_preprocessor.json"))))


def scheduler(folder: VectorFolder) -> UniPCMultistepScheduler:
    """The scheduler of a folder."""
    made: UniPCMultistepScheduler = UniPCMultistepScheduler.from_config(folder.load("pipeline/scheduler_config.json"))
    return made


def robot_frames(folder: VectorFolder) -> torch.Tensor:
    """Where the robot is in the video of the pipeline, 0 or 1, shape [1, T, H, W]."""
    video = folder.load("pipeline/mask_video_rgb.npz")["mask_video_rgb"]
    return torch.from_numpy((video != 0).any(axis=-1))[None]


def _plain(config: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in config.items() if key != "image_processor_type"}
