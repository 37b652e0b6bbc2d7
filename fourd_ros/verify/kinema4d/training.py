"""One training step: what is shown, the loss, and its gradients."""

import torch

from fourd_ros.model_io.weight_views import GivenWeights
from fourd_ros.verify.checks import check
from fourd_ros.verify.comparison import Comparison
from fourd_ros.verify.kinema4d.folder import (
    LORA,
    SYSTEM,
    as_numpy,
    load,
    meaning,
    robot_frames,
    strides,
    thinned,
    transformer,
)
from fourd_ros.verify.vectors import Tensors, VectorFolder
from fourd_ros.world_model.kinema4d.adapter import attach, check_lora
from fourd_ros.world_model.kinema4d.conditions import first_frame_mask, robot_condition, robot_mask_latents
from fourd_ros.world_model.kinema4d.latents import join_modalities
from fourd_ros.world_model.kinema4d.layout import Variant
from fourd_ros.world_model.kinema4d.objective import TIMES, Draw, Prediction, flow_time, unsure_mask, velocity_loss
from fourd_ros.world_model.kinema4d.transformer import Kinema4DTransformer

RECORDED = "train/act"
"""Noise and the drawn latents of the first frame, which both variants share."""

GRADIENT_PREFIX = "grad."


@check(SYSTEM, "train/act.safetensors")
def act(folder: VectorFolder, vectors: Tensors, compare: Comparison) -> None:
    """With colour."""
    _step(Variant.ACT, folder, vectors, compare)


@check(SYSTEM, "train/pmcond.safetensors")
def pmcond(folder: VectorFolder, vectors: Tensors, compare: Comparison) -> None:
    """Geometry alone."""
    _step(Variant.PMCOND, folder, vectors, compare)


@check(SYSTEM, "train/act_grads.safetensors")
def act_gradients(folder: VectorFolder, vectors: Tensors, compare: Comparison) -> None:
    """With colour."""
    _gradients(Variant.ACT, folder, list(vectors), compare)


@check(SYSTEM, "train/pmcond_grads.safetensors")
def pmcond_gradients(folder: VectorFolder, vectors: Tensors, compare: Comparison) -> None:
    """Geometry alone."""
    _gradients(Variant.PMCOND, folder, list(vectors), compare)


@check(SYSTEM, "train/flowmatch_tables.safetensors")
def tables(_folder: VectorFolder, _: Tensors, compare: Comparison) -> None:
    """Times that training draws from."""
    times = flow_time(torch.arange(TIMES))
    compare("timesteps", as_numpy(times.timestep))
    compare("sigmas", as_numpy(times.sigma))


def _step(variant: Variant, folder: VectorFolder, vectors: Tensors, compare: Comparison) -> None:
    file = f"train/{variant}.safetensors"
    _, told, made = _trained(variant, folder)
    robot, condition, drawn = told
    recorded = {
        "loss": made.loss.detach(),
        "timestep": flow_time(drawn.index).timestep,
        "model_input_strided": torch.cat([made.noisy, condition], dim=1),
        "arm_mask_channel0": robot[:, 0],
        "prediction_strided": made.velocity,
        "latent_condition": condition[:, -made.noisy.shape[1] :],
        "randperm": drawn.order,
        "timesteps_idx": drawn.index,
        "noise": drawn.noise,
    }
    for name in vectors:
        tensor = recorded[name]
        if name.endswith("strided"):
            tensor = thinned(tensor, meaning(folder, file, name))
        compare(name, as_numpy(tensor))


def _gradients(variant: Variant, folder: VectorFolder, names: list[str], compare: Comparison) -> None:
    file = f"train/{variant}_grads.safetensors"
    network, _, made = _trained(variant, folder)
    made.loss.mean().backward()
    parameters = dict(network.named_parameters())
    for name in names:
        gradient = parameters[name.removeprefix(GRADIENT_PREFIX)].grad
        assert gradient is not None
        if name.endswith("patch_embedding_arm.weight"):
            gradient = gradient.flatten()[:: strides(meaning(folder, file, name), 1)[-1]]
        compare(name, as_numpy(gradient))


def _trained(
    variant: Variant, folder: VectorFolder
) -> tuple[Kinema4DTransformer, tuple[torch.Tensor, torch.Tensor, Draw], Prediction]:
    """The network with its adapter apart, what it was told, and what it computed."""
    batch, recorded, own = (load(folder, f"train/{name}") for name in ("batch", "act", str(variant)))
    drawn = Draw(own["randperm"], own["timesteps_idx"], recorded["noise"])
    colour, points = batch["mask_video_latent"][None], batch["mask_pointmap_latent_raw"][None]
    mask = robot_mask_latents(robot_frames(folder), rows=colour.shape[-2], columns=colour.shape[-1])
    robot = robot_condition(colour, points, unsure_mask(mask, drawn), variant=variant)
    latent = recorded["latent_condition"]
    condition = torch.cat([first_frame_mask(tuple(latent.shape)), latent], dim=1)
    network = transformer(folder, variant, merge=False).train()
    lora = GivenWeights(load(folder, LORA), folder.path(f"{LORA}.safetensors"))
    attach(network, rank=check_lora(lora, network), lora=lora)
    made = velocity_loss(
        network,
        latents=join_modalities(batch["video_latent"][None], batch["pointmap_latent_raw"][None]),
        condition=condition,
        robot=robot,
        image=batch["image_embedding"][None],
        noise=drawn.noise,
        index=drawn.index,
    )
    return network, (robot, condition, drawn), made
