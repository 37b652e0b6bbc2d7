"""Reads the networks of a converted folder, or of a Wan folder with an adapter beside it."""

from pathlib import Path
from typing import Any

import torch
from transformers import CLIPVisionModel

from fourd_ros.errors import InvalidModel
from fourd_ros.model_io.card import ModelCard, check_licence
from fourd_ros.model_io.folder import INDEX, ModelFolder
from fourd_ros.model_io.loading import load_component
from fourd_ros.model_io.meta_device import parameters_on_meta
from fourd_ros.model_io.weight_views import RenamedWeights
from fourd_ros.model_io.weights import WeightFiles, load_weights
from fourd_ros.world_model.kinema4d.adapter import AdapterFiles, attach, check_lora, variant_of
from fourd_ros.world_model.kinema4d.layout import Variant
from fourd_ros.world_model.kinema4d.placement import Placement, quantize
from fourd_ros.world_model.kinema4d.transformer import Kinema4DTransformer
from fourd_ros.world_model.kinema4d.wan import config_of_wan, shapes_of, weights_over_wan

COMPONENTS = ("transformer", "vae", "image_encoder", "image_processor", "scheduler")
OWN_CLASS = "Kinema4DTransformer"
_CLIP_PREFIX = "vision_model."


def load_components(
    folder: Path | str,
    *,
    adapter: Path | str | None,
    placement: Placement,
    allow_noncommercial: bool,
    verify: bool,
) -> tuple[dict[str, Any], ModelCard]:
    """Everything that a pipeline is made of; see `Kinema4DPipeline.from_pretrained`."""
    opened = ModelFolder(folder)
    check_licence(opened.card, allow_noncommercial=allow_noncommercial)
    missing = [name for name in COMPONENTS if name not in opened.components]
    if missing:
        raise InvalidModel(f"'{folder}' lacks the components {missing}; it has {sorted(opened.components)}")
    if verify:
        opened.check(INDEX, *COMPONENTS)
    device = placement.loading_device

    def component(name: str, dtype: torch.dtype | None = None) -> Any:
        return load_component(
            folder, name, allow_noncommercial=allow_noncommercial, device=device, dtype=dtype, verify=False
        )

    transformer = load_transformer(opened, adapter=adapter, device=device, dtype=placement.dtype)
    quantize(transformer.blocks, placement.options.quantization)
    return {
        "transformer": transformer,
        "vae": component("vae", placement.dtype),
        "image_encoder": load_image_encoder(opened, device),
        "image_processor": component("image_processor"),
        "scheduler": component("scheduler"),
    }, opened.card


def load_transformer(
    folder: ModelFolder,
    *,
    adapter: Path | str | None,
    device: "torch.device | str" = "cpu",
    dtype: torch.dtype | None = None,
) -> Kinema4DTransformer:
    """The transformer of a converted folder, or Wan's with an adapter.

    Args:
        folder: the base.
        adapter: what it gets; needed where the base is Wan's.
        device: of the weights.
        dtype: of the weights.

    Raises:
        InvalidModel: a Wan folder without adapter, or a converted one with one.
        WeightMismatch: anything missing, unexpected or of another shape.
    """
    own = folder.components["transformer"][1] == OWN_CLASS
    if own and adapter is None:
        network: Kinema4DTransformer = load_component(
            folder.path, "transformer", allow_noncommercial=True, device=device, dtype=dtype, verify=False
        )
        return network
    if own or adapter is None:
        needed = "it holds one already" if own else "'fourd convert kinema4d' merges one, or name the folder of one"
        raise InvalidModel(f"'{folder.path}' {'and' if own else 'without'} an adapter: {needed}")
    files = AdapterFiles.find(adapter)
    added = files.added_weights()
    if added is None:
        raise InvalidModel(f"beside '{files.lora}' lies no file of added weights; needed to run")
    transformer = wan_transformer(folder, variant=variant_of(added), added=added, device=device, dtype=dtype)
    lora = WeightFiles(files.lora)
    attach(transformer, rank=check_lora(lora, transformer), lora=lora)
    return transformer.eval().requires_grad_(False).to(device)


def wan_transformer(
    folder: ModelFolder,
    *,
    variant: Variant,
    added: Any | None = None,
    settings: dict[str, Any] | None = None,
    device: "torch.device | str" = "cpu",
    dtype: torch.dtype | None = None,
) -> Kinema4DTransformer:
    """The transformer with the weights of Wan.

    Args:
        folder: a Wan folder.
        variant: what of the robot is shown.
        added: weights beyond those of Wan; what of them is not there begins as training begins.
        settings: of the grid (`TransformerConfig`), where no added weights tell it.
        device: of the weights.
        dtype: of the weights.
    """
    path = folder.component("transformer")
    shapes = shapes_of(added) if added is not None and "arm_pos_emb" in added.names else None
    config = config_of_wan(folder.config("transformer"), path, variant=variant, robot=shapes)
    if settings and shapes is None:
        config = type(config)(**{**vars(config), **settings})
    with parameters_on_meta():
        network = Kinema4DTransformer(config).eval()
    load_weights(network, weights_over_wan(folder.weights("transformer"), network, added), device=device, dtype=dtype)
    return network


def load_image_encoder(folder: ModelFolder, device: "torch.device | str") -> CLIPVisionModel:
    """The component ``image_encoder`` in float32; in folders written before transformers 5 its names have a prefix."""
    with parameters_on_meta():
        network = CLIPVisionModel(CLIPVisionModel.config_class.from_dict(folder.config("image_encoder")))

    def renamed(name: str) -> str | None:
        return None if name.endswith("position_ids") else name.removeprefix(_CLIP_PREFIX)

    weights = RenamedWeights(folder.weights("image_encoder"), renamed)
    load_weights(network.eval(), weights, device=device, dtype=torch.float32)
    return network
