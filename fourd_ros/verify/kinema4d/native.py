"""The grid of the original, with inputs that are given by formulas in the manifest."""

import re

import numpy as np
import torch

from fourd_ros.errors import InvalidManifest
from fourd_ros.verify.checks import check
from fourd_ros.verify.comparison import Comparison
from fourd_ros.verify.kinema4d.folder import SYSTEM, as_numpy, manifest, meaning, strides, transformer
from fourd_ros.verify.vectors import Tensors, VectorFolder
from fourd_ros.world_model.kinema4d.layout import LATENT_CHANNELS, MASK_CHANNELS, Variant

SECOND = "output_second_call_strided"
_WAVE = re.compile(r"(?:([\d.]+)\*)?sin\(([\d.]+)\*i\+([\d.]+)\)")
_SLICE = re.compile(r"output\[(\d+),\s*(\d+),\s*(\d+)\]")


@check(SYSTEM, "native/act_outputs.safetensors")
def act(folder: VectorFolder, vectors: Tensors, compare: Comparison) -> None:
    """With colour."""
    _run(Variant.ACT, folder, compare, list(vectors))


@check(SYSTEM, "native/pmcond_outputs.safetensors")
def pmcond(folder: VectorFolder, vectors: Tensors, compare: Comparison) -> None:
    """Geometry alone."""
    _run(Variant.PMCOND, folder, compare, list(vectors))


@torch.inference_mode()
def _run(variant: Variant, folder: VectorFolder, compare: Comparison, names: list[str]) -> None:
    recipe, file = manifest(folder)["native_recipe"], f"native/{variant}_outputs.safetensors"
    heads = folder.load("weights/transformer_config.json")["attention_head_dim"]
    places = _wave(recipe["weights"], _shape(recipe["weights"], head_dim=heads))
    network = transformer(folder, variant, replaced={"arm_pos_emb": places}, grid=_grid(recipe["grid"]))
    hidden = _masked(_wave(recipe["hidden_states"], _shape(recipe["hidden_states"])), LATENT_CHANNELS, 0.0, 0.5)
    robot = _wave(recipe["arm_cond"], _shape(recipe["arm_cond"], part=0 if variant is Variant.ACT else 1))
    robot = _masked(robot, 0, 0.3, 1.0)
    clip = network.understand(robot, _wave(recipe["image"], _shape(recipe["image"])))
    latents, condition = hidden[:, :LATENT_CHANNELS], hidden[:, LATENT_CHANNELS:]
    time = torch.tensor([float(recipe["timestep"])])

    def velocity(times: int) -> torch.Tensor:
        return network(latents, network.show_robot(condition, robot, times=times), time, clip)

    once = velocity(1)
    twice = velocity(2) if SECOND in names else once
    thin = strides(meaning(folder, file, "output_strided"), 1)
    for name in names:
        if name == "output_slice":
            compare(name, as_numpy(once[_place(meaning(folder, file, name))]))
        else:
            made = twice if name == SECOND else once
            compare(name, as_numpy(made[:, :, :: thin[0], :: thin[1], :: thin[2]]))


def _wave(text: str, shape: tuple[int, ...]) -> torch.Tensor:
    """float32(height * sin(step * i + start)) over the flat index."""
    found = _WAVE.search(text)
    if found is None:
        raise InvalidManifest(f"the recipe '{text}' holds no formula height*sin(step*i+start)")
    height, step, start = (float(value or 1) for value in found.groups())
    index = np.arange(int(np.prod(shape)), dtype=np.float64)
    return torch.from_numpy((height * np.sin(step * index + start)).astype(np.float32).reshape(shape))


def _masked(values: torch.Tensor, first: int, above: float, value: float) -> torch.Tensor:
    """Four channels from `first` on become `value` where they are above, else 0."""
    channels = slice(first, first + MASK_CHANNELS)
    values[:, channels] = torch.where(values[:, channels] > above, value, 0.0)
    return values


def _shape(text: str, *, part: int = 0, head_dim: int = 0) -> tuple[int, ...]:
    found = re.findall(r"\[([\w,\s]+)\]", text[text.index("shape") :])
    return tuple(head_dim if size.strip() == "head_dim" else int(size) for size in found[part].split(","))


def _grid(text: str) -> tuple[int, int, int]:
    frames, rows, columns = (int(size) for size in re.findall(r"\d+", text.partition("=")[2])[:3])
    return frames, rows, columns


def _place(text: str) -> tuple[int, int, int]:
    found = _SLICE.search(text)
    if found is None:
        raise InvalidManifest(f"'{text}' names no place output[i,j,k]")
    one, two, three = (int(index) for index in found.groups())
    return one, two, three
