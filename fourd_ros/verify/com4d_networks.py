"""Single passes of every network, the flow, and pictures as the network sees them."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fourd_ros.compositional.flow import TRAIN_STEPS, FlowSchedule, noised, training_sigmas
from fourd_ros.compositional.shape_vae import candidate_rows, farthest_points, place_waves
from fourd_ros.compositional.transformer import CompositionalTransformer, time_waves
from fourd_ros.verify.checks import check
from fourd_ros.verify.com4d_folder import (
    SYSTEM,
    about,
    as_numpy,
    image_encoder,
    meaning,
    number_in,
    shape_vae,
    tensors_of,
    transformer,
)
from fourd_ros.verify.com4d_video import masked_pictures
from fourd_ros.verify.comparison import Comparison
from fourd_ros.verify.tolerance import Tolerance
from fourd_ros.verify.vectors import Tensors, VectorFolder

Made = dict[str, Tensor]

FORWARD_INPUTS = frozenset({"latents", "timestep", "encoder", "num_parts", "num_frames"})
MIXED_INPUTS = frozenset({"latents", "timestep", "encoder_temporal", "encoder_spatial"})
WAVES = Tolerance(rtol=1e-4, atol=7e-5)
"""Angles go up to 1000; that is how well float32 knows them, and processors differ in the last bit of exp."""

LEFT_OUT = "logits_flash"
"""What the original's decoder once makes of fewer keys, and then writes over (specification, section 7)."""


@check(SYSTEM, "[ab]_*train_style*.safetensors")
def grouped(folder: VectorFolder, vectors: Tensors, compare: Comparison) -> None:
    """Groups of several sizes, block by block, as in training."""
    given = tensors_of(vectors)
    _forward(folder, given, compare, num_parts=given["num_parts"], num_frames=given["num_frames"])


@check(SYSTEM, "a_spatial_int*.safetensors")
def doubled(folder: VectorFolder, vectors: Tensors, compare: Comparison) -> None:
    """Objects of one scene twice, whose rows of the table the original numbers on."""
    parts = int(about(folder, compare.file)["num_parts"])
    _forward(folder, tensors_of(vectors), compare, num_parts=parts, num_frames=1, official_compat=True)


@check(SYSTEM, "b_temporal_int*.safetensors")
def one_object(folder: VectorFolder, vectors: Tensors, compare: Comparison) -> None:
    """Frames of one object."""
    frames = int(number_in(str(about(folder, compare.file)["call"]), r"num_frames=(\d+)"))
    _forward(folder, tensors_of(vectors), compare, num_parts=1, num_frames=frames)


@check(SYSTEM, "b_single*.safetensors")
def alone(folder: VectorFolder, vectors: Tensors, compare: Comparison) -> None:
    """No groups, no tables: TripoSG."""
    _forward(folder, tensors_of(vectors), compare, num_parts=1, num_frames=1)


@check(SYSTEM, "c_matrix_edge*.safetensors")
def edges(folder: VectorFolder, vectors: Tensors, compare: Comparison) -> None:
    """One frame; nothing at rest; one object."""
    network, given = transformer(folder, about(folder, compare.file)), tensors_of(vectors)
    for name in sorted(name.removesuffix("_latents") for name in given if name.endswith("_latents")):
        said = meaning(folder, compare.file, f"{name}_latents")
        static = about(folder, compare.file).get(f"static_count_{name}")
        static = number_in(said, r"static_count=(\d+)") if static is None else static
        tokens = given[f"{name}_encoder"]
        with torch.inference_mode():
            made = network.mixed(
                given[f"{name}_latents"],
                torch.tensor(number_in(said, r"timestep (\d+)")),
                temporal_tokens=tokens,
                spatial_tokens=tokens,
                static=int(static),
                cutoff=False,
            )
        compare(f"{name}_output", as_numpy(made))


@check(SYSTEM, "c_matrix_*.safetensors")
def mixed(folder: VectorFolder, vectors: Tensors, compare: Comparison) -> None:
    """Objects in frames, block by block."""
    given, facts = tensors_of(vectors), about(folder, compare.file)
    network = transformer(folder, facts)
    rows, columns = given["latents"].shape[:2]
    with recorded(network) as blocks, torch.inference_mode():
        output = network.mixed(
            given["latents"],
            given["timestep"],
            temporal_tokens=given["encoder_temporal"],
            spatial_tokens=given["encoder_spatial"],
            static=int(facts["static_count"]),
            cutoff=bool(facts["cutoff"]),
        )
        made = {"output": output} | _time(network, given["timestep"])
    for number, tokens in enumerate(blocks):
        matrix = tokens.view(rows, columns, *tokens.shape[1:])
        spatial = number in network.sizes.spatial_global_attn_block_ids
        calls = matrix.transpose(0, 1) if spatial else matrix  # once a column, or once a row
        made |= {f"block{number}_call{call}_out": one for call, one in enumerate(calls)}
    _compare_all(compare, made, vectors, inputs=MIXED_INPUTS)


@check(SYSTEM, "vae_encode*.safetensors")
def encoding(folder: VectorFolder, vectors: Tensors, compare: Comparison) -> None:
    """From points to a posterior, as users call it and piece by piece."""
    vae, given, facts = shape_vae(folder), tensors_of(vectors), about(folder, compare.file)
    points, tokens = given["surface"], int(facts["num_tokens"])

    def rng() -> np.random.Generator:
        return np.random.default_rng(int(facts["seed"]))

    with torch.inference_mode():
        posterior = vae.encode(points, tokens=tokens, rng=rng())
        rows = candidate_rows(points.shape[1], tokens=tokens, rng=rng())
        chosen = farthest_points(points[:, rows, :3], count=tokens)
        queries, seen = vae.point_features(vae.draw(points, tokens=tokens, rng=rng())), vae.point_features(points)
        first = _outputs(vae.encoder.blocks[0], lambda: vae.moments(queries, seen))
        made = {
            "choice_indices": rows,
            "fps_indices_flat": (chosen + len(rows) * torch.arange(len(points))[:, None]).flatten(),
            "enc_query_in": queries,
            "enc_kv_in": seen,
            "enc_block0_out": first[0],
            "moments": vae.moments(queries, seen),
            "mean": posterior.mean,
            "logvar": posterior.log_variance,
            "sample": posterior.at(given["noise"]),
        }
    _compare_all(compare, made, vectors, inputs={"surface", "noise"})


@check(SYSTEM, "vae_decode*.safetensors")
def decoding(folder: VectorFolder, vectors: Tensors, compare: Comparison) -> None:
    """Fields at places, of all shapes at once and of one after the other."""
    vae, given = shape_vae(folder), tensors_of(vectors)
    with torch.inference_mode():
        fields = [
            vae.decode(latents, chunk=100)(places) for latents, places in zip(given["z"], given["queries"], strict=True)
        ]
        made = {
            "query_embedding": place_waves(given["queries"], vae.sizes),
            "kv_cache": vae.shape_tokens(given["z"]),
            "logits": vae.values(given["z"], given["queries"])[..., None],
            "logits_chunk100": torch.stack(fields)[..., None],
        }
    kept = {name: array for name, array in vectors.items() if not name.startswith(LEFT_OUT)}
    _compare_all(compare, made, kept, inputs={"z", "queries"})


@check(SYSTEM, "scheduler*.safetensors")
def flow(folder: VectorFolder, vectors: Tensors, compare: Comparison) -> None:
    """Tables of several shifts, steps along given velocities, and noise."""
    given, facts = tensors_of(vectors), about(folder, compare.file)
    made: Made = {"sn_out": noised(given["sn_clean"], given["sn_noise"], given["sn_t"] / TRAIN_STEPS)}
    for name in given:
        if name.startswith("shift"):
            made[name] = _table(*name.removeprefix("shift").split("_", maxsplit=1))
    schedule = FlowSchedule(steps=int(facts["steps"]), shift=float(facts["step_shift"]))
    place = given["x0"]
    for number in range(schedule.steps):
        place = schedule.step(place, given[f"v{number}"], number)
        made[f"x{number + 1}"] = place
    inputs = {"x0", "sn_clean", "sn_noise", "sn_t"} | {f"v{number}" for number in range(schedule.steps)}
    _compare_all(compare, made, vectors, inputs=inputs)


@check(SYSTEM, "image*.safetensors")
def pictures(folder: VectorFolder, vectors: Tensors, compare: Comparison) -> None:
    """Pictures and masks made ready, and the tokens of one that is cut out."""
    masked_pictures(vectors, compare)
    encoder, shown = image_encoder(folder), np.array(vectors["masked_white"])[None]
    compare("pixel_values", as_numpy(encoder.pixel_values(shown)))
    compare("dino_last_hidden_state", as_numpy(encoder.tokens(shown)))


@contextmanager
def recorded(network: CompositionalTransformer) -> Iterator[list[Tensor]]:
    """What every block makes, in the order of the passes."""
    made: list[Tensor] = []
    hooks = [block.register_forward_hook(lambda _, __, tokens: made.append(tokens)) for block in network.blocks]
    try:
        yield made
    finally:
        for hook in hooks:
            hook.remove()


def _outputs(module: torch.nn.Module, run: Callable[[], Any]) -> list[Tensor]:
    """What a module makes while something runs."""
    made: list[Tensor] = []
    hook = module.register_forward_hook(lambda _, __, tokens: made.append(tokens))
    run()
    hook.remove()
    return made


def _forward(folder: VectorFolder, given: Made, compare: Comparison, **counts: Any) -> None:
    network = transformer(folder, about(folder, compare.file))
    with recorded(network) as blocks, torch.inference_mode():
        output = network(given["latents"], given["timestep"], given["encoder"], **counts)
        made = {"output": output} | _time(network, given["timestep"])
    made |= {f"block{number}_call0_out": tokens for number, tokens in enumerate(blocks)}
    _compare_all(compare, made, given, inputs=FORWARD_INPUTS)


def _time(network: CompositionalTransformer, timestep: Tensor) -> Made:
    return {"time_sinusoid": time_waves(timestep, network.sizes.width), "temb": network.time_token(timestep)}


def _table(shift: str, kind: str) -> Tensor:
    """A table of the flow by its name: ``s50``, ``t50``, ``train_sigmas``, ``train_timesteps``."""
    if kind.startswith("train"):
        sigmas = training_sigmas(float(shift))
        return sigmas if kind == "train_sigmas" else sigmas * TRAIN_STEPS
    schedule = FlowSchedule(steps=int(kind[1:]), shift=float(shift))
    return schedule.sigmas if kind[0] == "s" else schedule.timesteps


def _compare_all(compare: Comparison, made: Made, names: Iterable[str], *, inputs: Iterable[str]) -> None:
    """Everything in a file but its inputs; what is not known fails."""
    for name in sorted(set(names) - set(inputs)):
        compare(name, as_numpy(made[name]), tolerance=WAVES if name == "time_sinusoid" else None)
