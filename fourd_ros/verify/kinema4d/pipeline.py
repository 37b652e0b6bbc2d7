"""From conditions to a clip: what is told, every recorded step, and the decoded video."""

from typing import Any

import numpy as np
import torch

from fourd_ros.geometry.pointmap_range import uniform_pointmap
from fourd_ros.verify.checks import check
from fourd_ros.verify.comparison import Comparison
from fourd_ros.verify.kinema4d.folder import (
    SYSTEM,
    as_numpy,
    codec,
    image_encoder,
    load,
    manifest,
    meaning,
    robot_frames,
    scheduler,
    thinned,
    transformer,
)
from fourd_ros.verify.vectors import Tensors, VectorFolder
from fourd_ros.world_model.kinema4d.conditions import (
    first_frame_condition,
    robot_condition,
    robot_mask_latents,
    to_signed,
)
from fourd_ros.world_model.kinema4d.flow import Flow
from fourd_ros.world_model.kinema4d.latents import point_latents_from_network, split_modalities
from fourd_ros.world_model.kinema4d.layout import Variant
from fourd_ros.world_model.kinema4d.pipeline import Conditions, Kinema4DPipeline

FINAL = "pipeline/act_outputs.safetensors"
TOY_RATE, TOY_WAVE, TOY_PITCH, TOY_TIME = 0.7, 0.2, 3.0, 500.0
"""Of the velocity tanh(0.7 x) + 0.2 cos(3 x + t / 500) of the scheduler's vectors."""


@check(SYSTEM, "pipeline/act_outputs.safetensors")
def act(folder: VectorFolder, vectors: Tensors, compare: Comparison) -> None:
    """With colour."""
    _generate(Variant.ACT, folder, compare, list(vectors))


@check(SYSTEM, "pipeline/pmcond_outputs.safetensors")
def pmcond(folder: VectorFolder, vectors: Tensors, compare: Comparison) -> None:
    """Geometry alone."""
    _generate(Variant.PMCOND, folder, compare, list(vectors))


@check(SYSTEM, "pipeline/decode_outputs.safetensors")
def decode(folder: VectorFolder, vectors: Tensors, compare: Comparison) -> None:
    """The final latents as video."""
    file = "pipeline/decode_outputs.safetensors"
    latents = torch.from_numpy(np.array(folder.load(FINAL)["final_latents"]))[None]
    colour, points = latents.chunk(2, dim=-1)
    joined = torch.cat([colour, point_latents_from_network(points)], dim=-1)
    saved_colour, saved_points = split_modalities(latents)
    made = {
        "decoder_input": joined,
        "decoded_strided": codec(folder).decode(joined)[0],
        "saved_rgb_latent": saved_colour,
        "saved_xyz_latent": saved_points,
    }
    for name in vectors:
        tensor = thinned(made[name], meaning(folder, file, name))
        compare(name, as_numpy(tensor.movedim(0, -1) if name == "decoded_strided" else tensor))


@check(SYSTEM, "scheduler/unipc.safetensors")
def unipc(folder: VectorFolder, vectors: Tensors, compare: Comparison) -> None:
    """Tables, and a flow along a made-up velocity."""
    rollout = _toy(folder, vectors)
    for name in vectors:
        kind, _, number = name.partition("_")
        if kind == "toy":
            compare(name, as_numpy(rollout[number]))
        else:
            compare(name, as_numpy(getattr(Flow(scheduler(folder), steps=int(number)), kind)))


def conditions(variant: Variant, folder: VectorFolder) -> Conditions:
    """What the network is told, of the pipeline's inputs."""
    given = folder.load("pipeline/inputs.safetensors")
    frame, video = np.array(given["first_frame"]), robot_frames(folder)
    height, width = frame.shape[:2]
    condition = first_frame_condition(
        codec(folder), to_signed(frame)[None], to_signed(uniform_pointmap(height, width))[None], frames=video.shape[1]
    )
    tensors = load(folder, "pipeline/inputs")
    colour, points = tensors["arm_video_latent"][None], tensors["arm_pointmap_latent_raw"][None]
    mask = robot_mask_latents(video, rows=colour.shape[-2], columns=colour.shape[-1])
    return Conditions(
        first_frame=condition,
        robot=robot_condition(colour, points, mask, variant=variant),
        image=image_encoder(folder).tokens(frame[None]),
    )


@torch.inference_mode()
def _generate(variant: Variant, folder: VectorFolder, compare: Comparison, names: list[str]) -> None:
    facts = manifest(folder)["config"]
    steps, guidance = int(facts["steps"]), float(facts["gs"])
    told, noise = conditions(variant, folder), load(folder, "pipeline/inputs")["initial_noise"]
    pipeline = Kinema4DPipeline(
        transformer=transformer(folder, variant),
        codec=codec(folder),
        images=image_encoder(folder),
        scheduler=scheduler(folder),
    )
    made: dict[str, Any] = {"condition": told.first_frame, "arm_cond": told.robot, "image_embeds": told.image}
    flow = Flow(pipeline.scheduler, steps=steps)
    made |= {"timesteps": flow.timesteps, "sigmas": flow.sigmas}
    for number, (latents, _) in enumerate(pipeline.flow(told, noise, num_steps=steps, guidance=guidance)):
        made[f"latents_after_step{number}"] = latents
        made["final_latents"] = latents[0]
    made |= _first_passes(pipeline, told, noise, flow)
    for name in names:
        compare(name, as_numpy(made[name]))


def _first_passes(
    pipeline: Kinema4DPipeline, told: Conditions, noise: torch.Tensor, flow: Flow
) -> dict[str, torch.Tensor]:
    """Both passes of the first step."""
    network = pipeline.transformer
    clip = network.understand(told.robot, told.image)
    time = flow.timesteps[:1]
    once, twice = (
        network(noise, network.show_robot(told.first_frame, told.robot, times=times), time, clip) for times in (1, 2)
    )
    return {"noise_pred_cond_step0": once, "noise_pred_uncond_step0": twice}


def _toy(folder: VectorFolder, vectors: Tensors) -> dict[str, torch.Tensor]:
    """Steps by name, and where they begin."""
    steps = sum(name.startswith("toy_step") for name in vectors)
    flow, place = Flow(scheduler(folder), steps=steps), torch.from_numpy(np.array(vectors["toy_x0"]))
    made = {"x0": place}
    for number, time in enumerate(flow.timesteps):
        velocity = torch.tanh(TOY_RATE * place) + TOY_WAVE * torch.cos(TOY_PITCH * place + time / TOY_TIME)
        place = flow.step(velocity, time, place)
        made[f"step{number}"] = place
    return made
