"""Checkpoints are read as they must be, and adapters merged."""

from collections.abc import Callable
from typing import Any

import torch

from fourd_ros.model_io.weight_views import GivenWeights
from fourd_ros.verify.checks import check
from fourd_ros.verify.comparison import Comparison
from fourd_ros.verify.kinema4d.folder import (
    ADDED,
    BASE,
    CONFIG,
    LORA,
    SYSTEM,
    as_numpy,
    codec,
    image_encoder,
    load,
    manifest,
    merged_targets,
    transformer,
)
from fourd_ros.verify.tolerance import Tolerance
from fourd_ros.verify.vectors import Tensors, VectorFolder
from fourd_ros.world_model.kinema4d.adapter import adapter_tensors, attach, check_lora
from fourd_ros.world_model.kinema4d.layout import Variant

EXACT = Tolerance()
_TEXT = "text_embedder"


@check(SYSTEM, f"{BASE}.safetensors")
def base(folder: VectorFolder, vectors: Tensors, compare: Comparison) -> None:
    """Every weight of Wan lies in the network as it is stored; those of the text are left out."""
    state = transformer(folder, Variant.ACT, merge=False).state_dict()
    for name in vectors:
        stays = _TEXT in name
        compare(name, vectors[name] if stays else as_numpy(state[name]))


@check(SYSTEM, f"{ADDED}.safetensors")
def added(folder: VectorFolder, vectors: Tensors, compare: Comparison) -> None:
    """So does every weight of the robot."""
    state = transformer(folder, Variant.ACT).state_dict()
    for name in vectors:
        compare(name, as_numpy(state[name]))


@check(SYSTEM, f"{LORA}.safetensors")
def lora(folder: VectorFolder, vectors: Tensors, compare: Comparison) -> None:
    """An adapter that is kept apart holds what the file holds."""
    network = transformer(folder, Variant.ACT, merge=False)
    stored = GivenWeights(load(folder, LORA), folder.path(f"{LORA}.safetensors"))
    attach(network, rank=check_lora(stored, network), lora=stored)
    held, _ = adapter_tensors(network)
    for name in vectors:
        compare(name, as_numpy(held[name]))


@check(SYSTEM, "weights/merged_lora_targets.safetensors")
def merged(folder: VectorFolder, vectors: Tensors, compare: Comparison) -> None:
    """W + 0.5 B A."""
    made = merged_targets(folder, load(folder, BASE))
    for name in vectors:
        compare(name, as_numpy(made[name]))


@check(SYSTEM, CONFIG)
def names(folder: VectorFolder, _: Any, compare: Comparison) -> None:
    """Names, shapes and what is trained are those that the manifest lists."""
    facts, stored = manifest(folder), folder.load(CONFIG).get("arm_grid")
    for variant in Variant:
        network = transformer(folder, variant, merge=False)
        if stored:
            grid, patch = network.settings.grid, network.settings.robot_patch
            ours = [grid.frames, grid.rows, grid.columns, 1, *patch]
            _same(compare, f"grid, {variant}", ours, [*(stored[axis] for axis in "Fhw"), *stored["arm_patch"]])
        ours = {name: list(tensor.shape) for name, tensor in network.state_dict().items()}
        wanted = {name: shape for name, shape in facts[f"full_state_dict_keys_{variant}"].items() if _TEXT not in name}
        _same(compare, f"names and shapes, {variant}", ours, wanted)
        attach(network, rank=int(facts["config"]["rank"]))
        trained = sorted(name for name, parameter in network.named_parameters() if parameter.requires_grad)
        _same(compare, f"trained, {variant}", trained, sorted(facts[f"trainable_params_{variant}"]))


@check(SYSTEM, "pipeline/vae.safetensors")
def vae(folder: VectorFolder, vectors: Tensors, compare: Comparison) -> None:
    """The autoencoder holds what is stored."""
    _held(codec(folder).vae.state_dict(), vectors, compare, str)


@check(SYSTEM, "pipeline/clip.safetensors")
def clip(folder: VectorFolder, vectors: Tensors, compare: Comparison) -> None:
    """So does the image encoder, whose names have lost a prefix."""
    state = image_encoder(folder).network.state_dict()
    _held(state, vectors, compare, lambda name: name.removeprefix("vision_model."))


def _held(state: dict[str, torch.Tensor], vectors: Tensors, compare: Comparison, renamed: Callable[[str], str]) -> None:
    for name in vectors:
        compare(name, as_numpy(state[renamed(name)]))


def _same(compare: Comparison, what: str, ours: Any, wanted: Any) -> None:
    """1 where two things are equal."""
    compare(what, [float(ours == wanted)], expected=[1.0], tolerance=EXACT)
