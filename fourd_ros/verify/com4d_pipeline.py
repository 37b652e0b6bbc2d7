"""From frames and masks to latents and fields: every recorded step of both stages, and the model as users call it."""

import math
import re
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fourd_ros.compositional.dynamic_stage import KnownFrame, Window, denoise_motion, windows
from fourd_ros.compositional.guidance import FlowStep
from fourd_ros.compositional.model import CompositionalObjects
from fourd_ros.compositional.object_clip import ObjectClip
from fourd_ros.compositional.official_field import official_field
from fourd_ros.compositional.options import MotionOptions, ObjectOptions, SceneOptions
from fourd_ros.compositional.scene_stage import denoise_scene
from fourd_ros.verify.checks import check
from fourd_ros.verify.com4d_folder import SYSTEM, about, as_numpy, model, number_in
from fourd_ros.verify.comparison import Comparison
from fourd_ros.verify.vectors import Tensors, VectorFolder

Made = dict[str, Tensor]


@dataclass(frozen=True, kw_only=True)
class _Given:
    """What a file says about its run."""

    clip: ObjectClip
    reference: int
    options: ObjectOptions
    depths: tuple[int, int]

    @classmethod
    def of(cls, facts: dict[str, Any], vectors: Tensors, *, patch: int) -> "_Given":
        config = facts["config"]
        side = patch * math.isqrt(vectors["encode_call0"].shape[1] - 1)
        guidance = float(config["gs"])
        return cls(
            clip=ObjectClip(frames=np.array(vectors["frames"]), masks=np.array(vectors["masks"])).scaled(side),
            reference=int(config["fi"]),
            options=ObjectOptions(
                static_objects=int(config["S"]),
                tokens=int(config["tok"]),
                side=side,
                seed=int(number_in(facts["generator"], r"manual_seed\((\d+)\)")),
                scene=SceneOptions(
                    steps=int(facts["joint_steps"]), mixed_steps=int(facts["scene_mix_cutoff"]), guidance=guidance
                ),
                motion=MotionOptions(
                    steps=int(config["dsteps"]),
                    mix_cutoff=int(config["dcut"]),
                    block=int(config["ar"]),
                    memory=int(config["mem"]),
                    guidance=guidance,
                ),
                official_compat=True,
            ),
            depths=(int(facts["depths"][0]), int(facts["depths"][1])),
        )


@check(SYSTEM, "pipeline_*.safetensors")
def pipeline(folder: VectorFolder, vectors: Tensors, compare: Comparison) -> None:
    """Tokens, noise, steps, latents and fields."""
    facts = about(folder, compare.file)
    objects = model(folder, facts["config"])
    given = _Given.of(facts, vectors, patch=int(objects.images.network.config.patch_size))
    with torch.inference_mode():
        made = _run(objects, given, names=list(vectors))
        whole = objects.latents(given.clip, given.options, reference=given.reference)
    for name in vectors:
        if name not in ("frames", "masks"):
            compare(name, as_numpy(made[name]))
    for name, latents in (
        ("static_latents", whole.at_rest),
        ("scene_dynamic_latents", whole.moving_at_reference),
        ("dynamic_latents", whole.moving),
    ):
        if name in vectors and latents is not None:
            compare(name, as_numpy(latents))


def _run(objects: CompositionalObjects, given: _Given, *, names: list[str]) -> Made:
    """Everything that the file may hold, by its names; of the fields those that it does hold."""
    clip, options = given.clip, given.options
    moment = clip.at(given.reference)
    encode = objects.images.tokens
    reference = encode(moment.frames)
    alone = encode(np.concatenate([moment.objects(number) for number in range(len(clip.masks))]))
    moving = [encode(clip.objects(number)) for number in range(len(clip.masks))]
    full, views = encode(clip.frames), torch.stack(moving)
    made = {f"encode_call{call}": one for call, one in enumerate([reference, reference, alone, *moving, full])}
    at_rest, at_reference, noise = objects.noises(options, moving=len(clip.masks))
    made |= {"noise_static": at_rest, "noise_scene_dynamic": at_reference, "noise_dynamic_stage": noise}

    known, static = None, at_rest
    if len(at_rest):
        steps: list[FlowStep] = []
        scene = denoise_scene(
            objects.transformer,
            torch.cat([at_rest, at_reference]),
            full=reference[0],
            objects=alone,
            options=options.scene,
            shift=objects.shift,
            on_step=steps.append,
            official_compat=True,
        )
        static, moving_then = scene[: len(at_rest)], scene[len(at_rest) :]
        known = KnownFrame(latents=moving_then, full=full[0], objects=views[:, 0])
        made |= {"static_latents": static, "scene_dynamic_latents": moving_then}
        for number, step in enumerate(steps):
            made |= _named(f"joint_step{number}", step) | {f"joint_step{number}_t": torch.tensor([step.timestep])}
    made |= _motion(objects, given, noise, full=full, views=views, static=static, known=known)
    shapes = [*static, *made["dynamic_latents"].flatten(0, 1)]
    for name in names:
        if found := re.fullmatch(r"field(\d+)(_exact)?", name):
            made[name] = _field(objects, shapes[int(found[1])], given.depths)
    return made


def _motion(
    objects: CompositionalObjects,
    given: _Given,
    noise: Tensor,
    *,
    full: Tensor,
    views: Tensor,
    static: Tensor,
    known: KnownFrame | None,
) -> Made:
    """The stage, and every pass of it with the rows that it leaves out since nobody sees them."""
    options = given.options.motion
    steps: list[FlowStep] = []
    latents = denoise_motion(
        objects.transformer,
        noise,
        full=full,
        objects=views,
        at_rest=static,
        known=known,
        options=options,
        shift=objects.shift,
        on_step=steps.append,
    )
    made = {"dynamic_latents": latents}
    plan = list(windows(len(full), block=options.block, memory=options.memory, known=known is not None))
    for call, step in enumerate(steps):
        window, cutoff = plan[call // options.steps], call % options.steps > options.mix_cutoff
        temporal, spatial = _tokens(window, known, full, views, static=len(static), cutoff=cutoff)
        if cutoff:
            step = _with_rows(objects, step, static, temporal, spatial)
        made |= _named(f"dyn_call{call}", step)
        made |= {f"dyn_call{call}_enc_temporal": temporal, f"dyn_call{call}_enc_spatial": spatial}
    return made


def _tokens(
    window: Window, known: KnownFrame | None, full: Tensor, views: Tensor, *, static: int, cutoff: bool
) -> tuple[Tensor, Tensor]:
    """What the original gives to blocks over time and over objects, [M, F, K, E]."""
    whole, single = full[window.frames], views[:, window.frames]
    if window.known and known is not None:
        whole = torch.cat([known.full[None], whole])
        single = torch.cat([known.objects[:, None], single], dim=1)
    own = torch.cat([whole.expand(static, *whole.shape), single])
    return own, own if cutoff else whole.expand(len(own), *whole.shape)


def _with_rows(
    objects: CompositionalObjects, step: FlowStep, static: Tensor, temporal: Tensor, spatial: Tensor
) -> FlowStep:
    """A pass with all rows, its moving ones as they were."""
    latents = torch.cat([static[:, None].expand(-1, step.latents.shape[1], -1, -1), step.latents])
    velocities = torch.stack(
        [
            objects.transformer.mixed(
                latents,
                torch.tensor(step.timestep),
                temporal_tokens=temporal * seen,
                spatial_tokens=spatial * seen,
                static=len(static),
                cutoff=True,
            )
            for seen in (0, 1)[-len(step.velocities) :]
        ]
    )
    velocities = torch.cat([velocities[:, : len(static)], step.velocities], dim=1)
    return FlowStep(timestep=step.timestep, latents=latents, velocities=velocities)


def _named(prefix: str, step: FlowStep) -> Made:
    unseen, seen = step.velocities[0], step.velocities[-1]
    return {f"{prefix}_latents_in": step.latents, f"{prefix}_out_uncond": unseen, f"{prefix}_out_cond": seen}


def _field(objects: CompositionalObjects, latents: Tensor, depths: tuple[int, int]) -> Tensor:
    return torch.from_numpy(official_field(objects.vae.decode(latents), first=depths[0], last=depths[1]))
