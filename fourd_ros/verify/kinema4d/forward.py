"""One call of the network, and a second one that sees the robot twice."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from fourd_ros.verify.checks import check
from fourd_ros.verify.comparison import Comparison
from fourd_ros.verify.kinema4d.folder import (
    BASE,
    SYSTEM,
    as_numpy,
    load,
    meaning,
    strides,
    thinned,
    transformer,
)
from fourd_ros.verify.vectors import Tensors, VectorFolder
from fourd_ros.world_model.kinema4d.layout import LATENT_CHANNELS, PATCH, Variant
from fourd_ros.world_model.kinema4d.rotary import rotary_table
from fourd_ros.world_model.kinema4d.transformer import Kinema4DTransformer

TOKEN_STRIDE = 7
SECOND = "output_second_call"


@check(SYSTEM, "forward/act_outputs.safetensors")
def act(folder: VectorFolder, vectors: Tensors, compare: Comparison) -> None:
    """With colour."""
    _forward(Variant.ACT, folder, compare, list(vectors))


@check(SYSTEM, "forward/pmcond_outputs.safetensors")
def pmcond(folder: VectorFolder, vectors: Tensors, compare: Comparison) -> None:
    """Geometry alone."""
    _forward(Variant.PMCOND, folder, compare, list(vectors))


@check(SYSTEM, "forward/act_bf16_outputs.safetensors")
def act_bf16(folder: VectorFolder, vectors: Tensors, compare: Comparison) -> None:
    """In half precision."""
    _half(Variant.ACT, folder, compare, list(vectors))


@check(SYSTEM, "forward/pmcond_bf16_outputs.safetensors")
def pmcond_bf16(folder: VectorFolder, vectors: Tensors, compare: Comparison) -> None:
    """In half precision."""
    _half(Variant.PMCOND, folder, compare, list(vectors))


@torch.no_grad()
def _forward(variant: Variant, folder: VectorFolder, compare: Comparison, names: list[str]) -> None:
    file = f"forward/{variant}_outputs.safetensors"
    given, network = load(folder, f"forward/{variant}_inputs"), transformer(folder, variant)
    with _watched(network) as seen:
        once, twice, shown = calls(network, given)
        seen = dict(seen)
    made = _intermediate(network, given, seen, folder)
    made |= {"output": once, "hidden_states_after_call_strided": shown}
    for name in names:
        text = meaning(folder, file, name)
        if name.startswith(SECOND):
            made[name] = twice
        compare(name, as_numpy(_thinned(made[name], name, text)))


@torch.no_grad()
def _half(variant: Variant, folder: VectorFolder, compare: Comparison, names: list[str]) -> None:
    file = f"forward/{variant}_bf16_outputs.safetensors"
    given = load(folder, f"forward/{variant}_inputs")
    once, twice, _ = calls(transformer(folder, variant, dtype=torch.bfloat16), given)
    for name in names:
        made = twice if name.startswith(SECOND) else once
        compare(name, as_numpy(_thinned(made, name, meaning(folder, file, name))))


def calls(
    network: Kinema4DTransformer, given: dict[str, torch.Tensor]
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Velocities with the robot shown twice and once (the last call is the one that is watched), and the condition."""
    hidden, robot = given["hidden_states"].to(network.dtype), given["arm_cond"].to(network.dtype)
    latents, condition = hidden[:, :LATENT_CHANNELS], hidden[:, LATENT_CHANNELS:]
    clip = network.understand(robot, given["encoder_hidden_states_image"])
    time = given["timestep"].float()
    shown = [network.show_robot(condition, robot, times=times) for times in (1, 2)]
    twice = network(latents, shown[1], time, clip)
    return network(latents, shown[0], time, clip), twice, shown[0]


def _thinned(tensor: torch.Tensor, name: str, text: str) -> torch.Tensor:
    """Every so many rows and columns, tokens, or all."""
    if "tokens ::" in text:
        step = strides(text, TOKEN_STRIDE)[-1]
        axis = 2 if name.startswith("rope") else 1
        return tensor[(slice(None),) * axis + (slice(None, None, step),)]
    if name.endswith("strided"):
        return thinned(tensor, text, default=2)
    return tensor


@contextmanager
def _watched(network: Kinema4DTransformer) -> Iterator[dict[str, torch.Tensor]]:
    """What modules gave when they were called last."""
    seen: dict[str, torch.Tensor] = {}
    watched: dict[str, nn.Module] = {
        "patch_embedding_out_tokens": network.patch_embedding,
        "arm_ln_out": network.arm_ln,
        "arm_tokens": network.arm_patch_proj,
        "image_ctx": network.condition_embedder.image_embedder,
    }
    for number, block in enumerate(network.blocks):
        watched |= {f"block{number}_out": block}
        watched |= {f"block{number}_attn1_out": block.attn1, f"block{number}_attn2_out": block.attn2}
    hooks = [module.register_forward_hook(_keep(seen, name)) for name, module in watched.items()]
    try:
        yield seen
    finally:
        for hook in hooks:
            hook.remove()


def _keep(seen: dict[str, torch.Tensor], name: str) -> Any:
    def keep(_module: nn.Module, _given: Any, made: torch.Tensor) -> None:
        seen[name] = made

    return keep


def _intermediate(
    network: Kinema4DTransformer, given: dict[str, torch.Tensor], seen: dict[str, torch.Tensor], folder: VectorFolder
) -> dict[str, torch.Tensor]:
    """What is recorded beside the output; of the robot's tokens, the first item of the batch."""
    frames, rows, columns = given["hidden_states"].shape[2:]
    table = rotary_table(
        frames=frames, rows=rows // PATCH, columns=columns // PATCH, head_dim=network.settings.attention_head_dim
    )[None, None]
    time, modulation = network.condition_embedder.time(given["timestep"].float())
    patches = seen["patch_embedding_out_tokens"].flatten(2).transpose(1, 2)
    return seen | {
        "patch_embedding_out_tokens": patches,
        "arm_tokens": seen["arm_tokens"][:1],
        "arm_ln_out": seen["arm_ln_out"][:1],
        "rope_freqs_real": table.real,
        "rope_freqs_imag": table.imag,
        "temb": time,
        "timestep_proj": modulation.flatten(1),
        "text_ctx_unused": _text(load(folder, BASE), given["encoder_hidden_states_text"]),
    }


def _text(base: dict[str, torch.Tensor], text: torch.Tensor) -> torch.Tensor:
    """What Wan makes of the text, which nothing looks at."""
    prefix = "condition_embedder.text_embedder.linear_"
    hidden = functional.linear(text, base[f"{prefix}1.weight"], base[f"{prefix}1.bias"])
    hidden = functional.gelu(hidden, approximate="tanh")
    return functional.linear(hidden, base[f"{prefix}2.weight"], base[f"{prefix}2.bias"])
