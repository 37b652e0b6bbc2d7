"""Both stages of sampling against plain loops, and the model as users call it: bad input, cancel, what is left out."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from compositional_rig import SEEN, TOKENS, normal, quick, small_clip, small_transformer, tiny_model
from safetensors.numpy import save_file
from torch import Tensor
from transformers import Dinov2Config, Dinov2Model

from fourd_ros.compositional.checkpoints import load_checkpoints
from fourd_ros.compositional.dynamic_stage import KnownFrame, denoise_motion, windows
from fourd_ros.compositional.flow import CLEAN_TIMESTEP, FlowSchedule
from fourd_ros.compositional.guidance import FlowStep
from fourd_ros.compositional.model import CompositionalObjects
from fourd_ros.compositional.object_clip import ObjectClip
from fourd_ros.compositional.options import MotionOptions, ObjectOptions, SceneOptions
from fourd_ros.compositional.scene_stage import denoise_scene
from fourd_ros.compositional.shape_vae import ShapeVae
from fourd_ros.compositional.sizes import VaeSizes
from fourd_ros.compositional.transformer import CompositionalTransformer
from fourd_ros.errors import Cancelled, InvalidClip, InvalidImage, InvalidParameter, TooLarge
from fourd_ros.model_io.weights import named_weights, save_weights
from fourd_ros.verify.runner import verify


@pytest.mark.parametrize(
    ("memory", "wanted"),
    [
        (9, [(True, [], [0, 1]), (False, [0, 1], [2, 3]), (False, [2, 3], [4])]),
        (3, [(True, [], [0, 1]), (False, [1], [2, 3]), (False, [2, 3], [4])]),
        (2, [(False, [], [0, 1]), (False, [], [2, 3]), (False, [3], [4])]),
        (1, [(False, [], [0, 1]), (False, [], [2, 3]), (False, [], [4])]),
    ],
)
def test_windows_keep_what_fits_into_memory(memory: int, wanted: list[tuple[bool, list[int], list[int]]]) -> None:
    made = [(one.known, list(one.history), list(one.block)) for one in windows(5, block=2, memory=memory, known=True)]
    assert made == wanted


@pytest.mark.parametrize(
    ("static", "options"),
    [
        (1, MotionOptions(steps=3, mix_cutoff=0, block=2, memory=2, guidance=3.0)),
        (1, MotionOptions(steps=3, mix_cutoff=1, block=2, memory=3, guidance=3.0)),
        (2, MotionOptions(steps=2, mix_cutoff=-1, block=2, memory=4, guidance=1.0)),
        (0, MotionOptions(steps=2, mix_cutoff=0, block=3, memory=5, guidance=2.0)),
        (1, MotionOptions(steps=2, mix_cutoff=0, block=2, memory=4, context_timestep=CLEAN_TIMESTEP)),
    ],
)
def test_motion_is_what_a_plain_loop_gives(static: int, options: MotionOptions) -> None:
    """Memory limits, nothing at rest, no guidance, a shift, a time of its own for what is known."""
    network = small_transformer()
    given = _motion_inputs(static)
    made = denoise_motion(network, normal(2, TOKENS, 3), **given, options=options, shift=2.0)
    wanted = _plain_motion(network, normal(2, TOKENS, 3), **given, options=options, shift=2.0)
    torch.testing.assert_close(made, wanted, rtol=1e-4, atol=1e-5)


def test_the_time_of_what_is_known_matters_and_rows_at_rest_do_until_the_cutoff() -> None:
    network, given = small_transformer(), _motion_inputs(1)

    def made(at_rest: Tensor, **changes: Any) -> Tensor:
        options = MotionOptions(steps=2, block=2, memory=3, **changes)
        return denoise_motion(network, normal(2, TOKENS, 3), **(given | {"at_rest": at_rest}), options=options)

    at_rest = given["at_rest"]
    assert not torch.allclose(made(at_rest), made(at_rest, context_timestep=CLEAN_TIMESTEP))
    assert not torch.allclose(made(at_rest, mix_cutoff=0), made(-at_rest, mix_cutoff=0))
    torch.testing.assert_close(made(at_rest, mix_cutoff=-1), made(-at_rest, mix_cutoff=-1))


def test_a_scene_shows_objects_their_own_picture_first_and_then_all_of_the_frame() -> None:
    network, noise = small_transformer(), normal(3, TOKENS, 3)
    full, objects = normal(SEEN, 5, seed=1), normal(2, SEEN, 5, seed=2)
    schedule, latents = FlowSchedule(steps=7, shift=2.0), noise[:, None]
    own = torch.stack([full, *objects])[:, None]
    for number in range(7):
        spatial = own if number < 5 else full.expand_as(own)
        latents = schedule.step(latents, _guided(network, latents, schedule.timesteps[number], own, spatial, 1), number)
    options = SceneOptions(steps=7, mixed_steps=50, guidance=2.0)
    made = denoise_scene(network, noise, full=full, objects=objects, options=options, shift=2.0)
    torch.testing.assert_close(made, latents[:, 0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("guidance", [0.5, 2.0])
def test_after_the_mixed_steps_moving_objects_go_on_alone(guidance: float) -> None:
    network, noise = small_transformer(), normal(3, TOKENS, 3)
    full, objects = normal(SEEN, 5, seed=1), normal(1, SEEN, 5, seed=2)
    steps: list[FlowStep] = []
    made = denoise_scene(
        network,
        noise,
        full=full,
        objects=objects,
        options=SceneOptions(steps=4, mixed_steps=2, guidance=guidance),
        on_step=steps.append,
    )
    moving, schedule = steps[1].latents, FlowSchedule(steps=4)
    moving = _step(schedule, moving, steps[1].velocities, guidance, 1)[2:, 0]
    for number in (2, 3):
        times = schedule.timesteps[number].expand(1)
        with torch.inference_mode():
            seen, unseen = (
                network(moving, times, tokens, num_parts=1, num_frames=1) for tokens in (objects, objects * 0)
            )
        moving = schedule.step(moving, seen if guidance <= 1 else unseen + guidance * (seen - unseen), number)
    torch.testing.assert_close(made[2:], moving, rtol=1e-4, atol=1e-5)
    assert [round(step.timestep) for step in steps] == [1000, 750, 500, 250, 500, 250]
    restarted = denoise_scene(
        network,
        noise,
        full=full,
        objects=objects,
        options=SceneOptions(steps=4, mixed_steps=2, guidance=2.0),
        official_compat=True,
    )
    assert not torch.allclose(restarted[2:], made[2:])


def test_a_clip_becomes_meshes_with_progress() -> None:
    told: list[tuple[str, int, int]] = []
    clip, options = small_clip(), quick()
    made = tiny_model().reconstruct(clip, options, resolution=16, progress=lambda *step: told.append(step))
    assert len(made.at_rest) == 1
    assert {number: len(frames) for number, frames in made.moving.items()} == {1: 3, 2: 3}
    assert made.latents.moving.shape == (2, 3, 4, 8)
    assert [(what, steps) for what, done, steps in told if done == steps] == [
        ("pictures", 4),
        ("scene", 2),
        ("motion", 4),
        ("meshes", 7),
    ]
    again = tiny_model().latents(clip, options)
    assert torch.equal(again.moving, made.latents.moving)
    other = tiny_model().latents(clip, quick(seed=1))
    assert not torch.allclose(other.moving, made.latents.moving)


@pytest.mark.parametrize("asked", [1, 4, 6, 9])
def test_it_can_be_cancelled_in_every_stage(asked: int) -> None:
    answers = iter([False] * asked + [True])
    with pytest.raises(Cancelled, match="cancelled after"):
        tiny_model().reconstruct(small_clip(), quick(), resolution=16, cancel=lambda: next(answers))


def test_without_objects_at_rest_there_is_no_scene_and_without_moving_ones_no_motion() -> None:
    told: set[str] = set()

    def tell(what: str, _: int, __: int) -> None:
        told.add(what)

    moving = tiny_model().latents(small_clip(), quick(static_objects=0), progress=tell)
    assert (moving.at_rest.shape[0], moving.moving_at_reference, told) == (0, None, {"pictures", "motion"})
    told.clear()
    still = tiny_model().latents(small_clip(moving=0), quick(static_objects=2), progress=tell)
    assert (still.at_rest.shape, still.moving.shape, told) == ((2, 4, 8), (0, 3, 4, 8), {"pictures", "scene"})
    with pytest.raises(InvalidClip, match="nothing can be made"):
        tiny_model().latents(small_clip(moving=0), quick(static_objects=0))


def test_the_reference_is_the_frame_that_shows_the_most_or_the_one_that_is_named() -> None:
    clip = small_clip()
    masks = clip.masks.copy()
    masks[1, 0] = 0
    hidden = ObjectClip(frames=clip.frames, masks=masks)
    assert hidden.best_frame == 1
    chosen = tiny_model().latents(hidden, quick()).at_rest
    assert torch.equal(chosen, tiny_model().latents(hidden, quick(), reference=1).at_rest)
    assert torch.equal(chosen, tiny_model().latents(hidden, quick(), reference=hidden.at(1)).at_rest)
    assert not torch.equal(chosen, tiny_model().latents(hidden, quick(), reference=2).at_rest)
    for wrong in (3, -1, hidden, small_clip(moving=1).at(0)):
        with pytest.raises(InvalidClip):
            tiny_model().latents(hidden, quick(), reference=wrong)


def test_the_frame_of_the_scene_precedes_the_first_block_with_its_own_picture() -> None:
    clip = small_clip()
    fixed, original = (tiny_model().latents(clip, quick(official_compat=on), reference=2) for on in (False, True))
    assert torch.equal(fixed.at_rest, original.at_rest)
    assert not torch.allclose(fixed.moving[:, 0], original.moving[:, 0])
    same = [tiny_model().latents(clip, quick(official_compat=on), reference=0).moving for on in (False, True)]
    assert torch.equal(*same)


def test_an_object_may_be_hidden_in_some_frames_and_masks_may_overlap() -> None:
    clip = small_clip()
    masks = np.full_like(clip.masks, 255)
    masks[0, 1] = 0
    assert bool(torch.isfinite(tiny_model().latents(ObjectClip(frames=clip.frames, masks=masks), quick()).moving).all())
    white = ObjectClip(frames=clip.frames, masks=masks).objects(0)[1]
    assert bool((white == 255).all())


def test_an_object_that_no_frame_shows_is_named() -> None:
    clip = small_clip()
    masks = clip.masks.copy()
    masks[1] = 0
    with pytest.raises(InvalidClip, match=r"\[7\]"):
        tiny_model().latents(ObjectClip(frames=clip.frames, masks=masks, ids=(4, 7)), quick())


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (lambda frames, masks: {"masks": masks[..., :-1]}, "masks"),
        (lambda frames, masks: {"masks": masks[:, :-1]}, "masks"),
        (lambda frames, masks: {"masks": masks > 0}, "masks bool"),
        (lambda frames, masks: {"masks": masks[0]}, "masks"),
        (lambda frames, masks: {"frames": frames[:0], "masks": masks[:, :0]}, "frames"),
        (lambda frames, masks: {"frames": frames.astype(np.float32)}, "frames float32"),
        (lambda frames, masks: {"ids": (1,)}, "ids"),
        (lambda frames, masks: {"ids": (3, 3)}, "ids"),
    ],
)
def test_frames_masks_and_ids_that_do_not_fit_are_refused(change: Callable[..., dict[str, Any]], what: str) -> None:
    clip = small_clip()
    given = {"frames": clip.frames, "masks": clip.masks}
    with pytest.raises(InvalidClip, match=what):
        ObjectClip(**(given | change(**given)))


def test_more_objects_than_the_model_knows_and_pictures_it_cannot_see_are_refused() -> None:
    with pytest.raises(TooLarge, match="objects at once"):
        tiny_model().latents(small_clip(), quick(static_objects=15))
    with pytest.raises(InvalidImage, match="multiple of 14"):
        tiny_model().latents(small_clip(), quick(side=50))


@pytest.mark.parametrize(
    "make",
    [
        lambda: SceneOptions(steps=0),
        lambda: SceneOptions(mixed_steps=-1),
        lambda: SceneOptions(guidance=float("nan")),
        lambda: MotionOptions(block=0),
        lambda: MotionOptions(memory=0),
        lambda: MotionOptions(guidance=float("inf")),
        lambda: MotionOptions(context_timestep=-1.0),
        lambda: ObjectOptions(static_objects=-1),
        lambda: ObjectOptions(static_objects=0, tokens=0),
    ],
)
def test_options_that_cannot_be_are_refused(make: Callable[[], object]) -> None:
    with pytest.raises(InvalidParameter):
        make()


def test_tokens_are_bounded() -> None:
    with pytest.raises(TooLarge, match="tokens"):
        ObjectOptions(static_objects=0, tokens=10**6)


def _motion_inputs(static: int) -> dict[str, Any]:
    known = KnownFrame(latents=normal(2, TOKENS, 3, seed=3), full=normal(SEEN, 5, seed=4), objects=normal(2, SEEN, 5))
    return {
        "full": normal(5, SEEN, 5, seed=1),
        "objects": normal(2, 5, SEEN, 5, seed=2),
        "at_rest": normal(static, TOKENS, 3, seed=5),
        "known": known if static else None,
    }


def _plain_motion(
    network: CompositionalTransformer,
    noise: Tensor,
    *,
    full: Tensor,
    objects: Tensor,
    at_rest: Tensor,
    known: KnownFrame | None,
    options: MotionOptions,
    shift: float,
) -> Tensor:
    """Frame after frame in lists, all rows in every pass, as the specification says it."""
    done: list[Tensor] = [noise.clone() for _ in full]
    for start in range(0, len(full), options.block):
        block = list(range(start, min(start + options.block, len(full))))
        history = list(range(max(start - options.block, 0), start))
        extra = [known] if known is not None and start == 0 else []
        while history and len(extra) + len(history) + len(block) > options.memory:
            history.pop(0)
        if len(extra) + len(block) > options.memory:
            extra = []
        shown = [one.full for one in extra] + [full[frame] for frame in history + block]
        single = [one.objects for one in extra] + [objects[:, frame] for frame in history + block]
        whole, alone = torch.stack(shown), torch.stack(single, dim=1)
        everything = whole.expand(len(at_rest) + len(noise), *whole.shape)
        own = torch.cat([everything[: len(at_rest)], alone])
        schedule = FlowSchedule(steps=options.steps, shift=shift)
        past = len(extra) + len(history)
        for number in range(options.steps):
            moving = torch.stack([one.latents for one in extra] + [done[frame] for frame in history + block], dim=1)
            latents = torch.cat([at_rest[:, None].expand(-1, moving.shape[1], -1, -1), moving])
            times = schedule.timesteps[number].expand(latents.shape[:2]).clone()
            if options.context_timestep is not None:
                times[: len(at_rest)] = times[:, :past] = options.context_timestep
            cutoff = number > options.mix_cutoff
            spatial = own if cutoff else everything
            flow = _guided(
                network, latents, times, own, spatial, len(at_rest), guidance=options.guidance, cutoff=cutoff
            )
            for place, frame in enumerate(block):
                done[frame] = schedule.step(done[frame], flow[len(at_rest) :, past + place], number)
    return torch.stack(done, dim=1)


def _guided(
    network: CompositionalTransformer,
    latents: Tensor,
    times: Tensor,
    temporal: Tensor,
    spatial: Tensor,
    static: int,
    *,
    guidance: float = 2.0,
    cutoff: bool = False,
) -> Tensor:
    """Two passes with all rows."""
    with torch.inference_mode():
        unseen, seen = (
            network.mixed(
                latents,
                times,
                temporal_tokens=temporal * share,
                spatial_tokens=spatial * share,
                static=static,
                cutoff=cutoff,
            )
            for share in (0, 1)
        )
    return seen if guidance <= 1 else unseen + guidance * (seen - unseen)


def _step(schedule: FlowSchedule, latents: Tensor, velocities: Tensor, guidance: float, number: int) -> Tensor:
    unseen, seen = velocities[0], velocities[-1]
    return schedule.step(latents, seen if guidance <= 1 else unseen + guidance * (seen - unseen), number)


@pytest.mark.parametrize("static", [0, 3])
def test_vectors_of_another_configuration_are_read(tmp_path: Path, static: int) -> None:
    """Other networks, blocks that mix, pictures, steps and numbers of objects; what is compared is our own."""
    model = _another_model(tmp_path / "weights")
    clip, config = small_clip(frames=3, moving=1, side=28), {"S": static, "D": 1, "F": 3, "ar": 2, "mem": 2, "gs": 1.0}
    config |= {"shift": 2.0, "dsteps": 2, "dcut": -1, "fi": 1, "sp": [1, 5], "te": [0], "tok": TOKENS}
    options = ObjectOptions(
        static_objects=static,
        tokens=TOKENS,
        side=28,
        seed=5,
        scene=SceneOptions(steps=3, mixed_steps=1, guidance=1.0),
        motion=MotionOptions(steps=2, mix_cutoff=-1, block=2, memory=2, guidance=1.0),
        official_compat=True,
    )
    made = model.latents(clip, options, reference=1)
    tensors = {"frames": clip.frames, "masks": clip.masks, "dynamic_latents": made.moving.numpy()}
    tensors |= {"encode_call0": model.images.tokens(clip.frames[1:2]).numpy()}
    tensors |= {"static_latents": made.at_rest.numpy()} if static else {}
    save_file({name: np.ascontiguousarray(one) for name, one in tensors.items()}, tmp_path / "pipeline_x.safetensors")
    extra = {"config": config, "joint_steps": 3, "scene_mix_cutoff": 1, "depths": [2, 3], "generator": "manual_seed(5)"}
    about = {"extra": extra, "tensors": {name: {"tolerance": "default"} for name in tensors}}
    manifest = {"default_tolerance": {"rtol": 1e-4, "atol": 1e-5}, "files": {"pipeline_x.safetensors": about}}
    (tmp_path / "MANIFEST.json").write_text(json.dumps(manifest))
    rows = {row.file: row for row in verify("com4d", tmp_path)}
    assert {file: row.problem or row.worst for file, row in rows.items() if not row.ok} == {}
    assert len(rows["pipeline_x.safetensors"].verdicts) == 3 + 3 * bool(static) - bool(static)


def _another_model(folder: Path) -> CompositionalObjects:
    base = folder / "TripoSG"
    transformer = small_transformer(spatial_global_attn_block_ids=(1, 5))
    vae = ShapeVae(
        VaeSizes(
            latent_channels=3,
            num_attention_heads=2,
            width_encoder=8,
            width_decoder=4,
            num_layers_encoder=1,
            num_layers_decoder=1,
            embed_frequency=3,
            embed_include_pi=True,
        )
    )
    images = Dinov2Model(
        Dinov2Config(hidden_size=5, num_hidden_layers=1, num_attention_heads=1, image_size=14, patch_size=7)
    )
    for network, place in (
        (transformer, folder / "COM4D" / "transformer"),
        (vae, base / "vae"),
        (images, base / "image_encoder_dinov2"),
    ):
        save_weights(named_weights(network), place)
        config = network.config if isinstance(network.config, dict) else network.config.to_dict()
        (place / "config.json").write_text(json.dumps(config))
    for name, facts in (
        ("scheduler/scheduler_config.json", {"num_train_timesteps": 1000, "use_dynamic_shifting": False, "shift": 2.0}),
        ("feature_extractor_dinov2/preprocessor_config.json", {"image_mean": [0.5] * 3, "image_std": [0.2] * 3}),
    ):
        (base / name).parent.mkdir(parents=True)
        (base / name).write_text(json.dumps(facts))
    return load_checkpoints(base, folder / "COM4D", allow_noncommercial=True)
