"""The networks of compositional objects: against the vectors of the original, and where no vector reaches."""

import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from compositional_rig import GOLDEN, SEEN, TOKENS, normal, small_sizes, small_transformer, tiny_model
from safetensors.numpy import load_file, save_file
from torch import Tensor

from fourd_ros.compositional.flow import FlowSchedule, noised, training_sigmas
from fourd_ros.compositional.shape_vae import ShapePosterior, ShapeVae, candidate_rows, farthest_points
from fourd_ros.compositional.sizes import TransformerSizes, VaeSizes
from fourd_ros.compositional.transformer import CompositionalTransformer
from fourd_ros.errors import InvalidCloud, InvalidInput, InvalidModel, InvalidParameter, TooLarge
from fourd_ros.verify.runner import verify


def test_every_kept_vector_of_the_original_is_met() -> None:
    rows = verify("com4d", GOLDEN)
    assert {row.file: row.problem or row.worst for row in rows if not row.ok} == {}
    assert sum(len(row.verdicts) for row in rows) > 500


def test_the_kept_vectors_are_small() -> None:
    assert sum(path.stat().st_size for path in GOLDEN.rglob("*") if path.is_file()) < 4_200_000


def test_a_changed_an_unknown_and_a_missing_tensor_and_a_file_without_check_are_found(tmp_path: Path) -> None:
    folder = shutil.copytree(GOLDEN, tmp_path / "vectors")
    for pattern in ("pipeline_*", "extract*", "metrics*", "video_prep*", "train_loss*", "c_matrix*"):
        for file in folder.glob(pattern):
            file.unlink()  # they take the longest
    latents = load_file(GOLDEN / "b_single_object.safetensors")
    latents["output"] = latents["output"] + np.float32(1e-2)
    save_file(latents, folder / "b_single_object.safetensors")
    save_file(load_file(GOLDEN / "vae_encode.safetensors") | {"more": np.zeros(1)}, folder / "vae_encode.safetensors")
    tables = load_file(GOLDEN / "scheduler.safetensors")
    del tables["shift1_s3"]
    save_file(tables, folder / "scheduler.safetensors")
    (folder / "news.safetensors").write_bytes((folder / "scheduler.safetensors").read_bytes())
    rows = {row.file: row for row in verify("com4d", folder)}
    worst = rows["b_single_object.safetensors"].worst
    assert worst is not None and (worst.tensor, worst.ok) == ("output", False)
    assert "more" in rows["vae_encode.safetensors"].problem
    assert "shift1_s3" in rows["scheduler.safetensors"].problem
    assert "no check" in rows["news.safetensors"].problem
    assert not rows["pipeline_full.safetensors"].ok


@pytest.mark.parametrize("cutoff", [False, True])
def test_objects_in_frames_are_what_single_rows_and_columns_give(cutoff: bool) -> None:
    """An even number of blocks, one of them in no list, against loops over rows and columns."""
    network, static = small_transformer(), 1
    latents, times = normal(3, 4, TOKENS, 3), torch.tensor([400.0])
    temporal, spatial = normal(3, 4, SEEN, 5, seed=1), normal(3, 4, SEEN, 5, seed=2)
    with torch.inference_mode():
        made = network.mixed(
            latents, times, temporal_tokens=temporal, spatial_tokens=spatial, static=static, cutoff=cutoff
        )
        wanted = _looped(network, latents, times, temporal, spatial, static=static, cutoff=cutoff)
    torch.testing.assert_close(made, wanted, rtol=1e-4, atol=1e-5)


def test_rows_that_nobody_sees_can_be_left_out_and_no_image_is_an_image_of_zeros() -> None:
    network, latents = small_transformer(), normal(3, 2, TOKENS, 3)
    tokens, places = normal(6, SEEN, 5, seed=1), torch.arange(6).view(3, 2)
    with torch.inference_mode():
        memory = network.remember(tokens)

        def made(rows: slice, absent: int) -> Tensor:
            return network.mixed_velocities(
                latents[rows],
                torch.tensor(500.0),
                memory=memory,
                temporal=places[rows],
                spatial=places[rows],
                static=1,
                cutoff=True,
                guided=True,
                absent=absent,
            )

        whole, part = made(slice(0, 3), 0), made(slice(1, 3), 1)
        blank = network.mixed(
            latents,
            torch.tensor(500.0),
            temporal_tokens=torch.zeros(3, 2, SEEN, 5),
            spatial_tokens=torch.zeros(3, 2, SEEN, 5),
            static=1,
            cutoff=True,
        )
    torch.testing.assert_close(part, whole[:, 1:])
    torch.testing.assert_close(whole[0], blank)
    assert not torch.allclose(whole[0], whole[1])


def test_every_latent_can_have_a_time_of_its_own() -> None:
    network, latents, tokens = small_transformer(), normal(2, 2, TOKENS, 3), normal(2, 2, SEEN, 5, seed=1)

    def made(times: Tensor) -> Tensor:
        with torch.inference_mode():
            return network.mixed(latents, times, temporal_tokens=tokens, spatial_tokens=tokens, static=0, cutoff=False)

    same = made(torch.full((2, 2), 300.0))
    torch.testing.assert_close(same, made(torch.tensor(300.0)))
    assert not torch.allclose(same, made(torch.tensor([[1.0, 300.0], [1.0, 300.0]])))


def test_groups_are_counted_and_int_counts_have_the_same_rows_in_both_halves() -> None:
    network = small_transformer()
    latents, tokens, times = normal(4, TOKENS, 3), normal(4, SEEN, 5, seed=1), torch.full((4,), 200.0)
    with torch.inference_mode():
        tiled = network(latents, times, tokens, num_parts=2, num_frames=1)
        listed = network(latents, times, tokens, num_parts=torch.tensor([2, 2]), num_frames=[1, 1])
        one_group = network(latents[:2], times[:2], tokens[:2], num_parts=2, num_frames=1)
        original = network(latents, times, tokens, num_parts=2, num_frames=1, official_compat=True)
    torch.testing.assert_close(tiled, listed)
    torch.testing.assert_close(tiled[:2], one_group)
    torch.testing.assert_close(original[:2], one_group)
    assert not torch.allclose(original[2:], tiled[2:])


@pytest.mark.parametrize("counts", [3, 0, [2, 1], [5, -1], [4, 1]])
def test_counts_that_do_not_add_up_are_refused(counts: int | Sequence[int]) -> None:
    with pytest.raises(InvalidInput, match="add up to 4"):
        small_transformer()(normal(4, TOKENS, 3), torch.zeros(4), normal(4, SEEN, 5), num_parts=counts, num_frames=1)


def test_more_objects_or_frames_than_rows_of_the_tables_are_refused() -> None:
    network = small_transformer()
    for rows, columns, what in ((5, 1, "5 objects"), (1, 7, "7 frames")):
        tokens = normal(rows, columns, SEEN, 5)
        with pytest.raises(TooLarge, match=what):
            network.mixed(
                normal(rows, columns, TOKENS, 3),
                torch.tensor(1.0),
                temporal_tokens=tokens,
                spatial_tokens=tokens,
                static=0,
                cutoff=False,
            )


def test_blocks_may_be_told_not_to_see_the_image() -> None:
    latents, tokens, times = normal(2, TOKENS, 3), normal(2, SEEN, 5, seed=1), torch.full((2,), 200.0)
    blind = small_transformer(enable_local_cross_attn=False, enable_global_cross_attn=False)
    with torch.inference_mode():
        made = blind(latents, times, tokens, num_parts=2, num_frames=1)
        torch.testing.assert_close(made, blind(latents, times, -tokens, num_parts=2, num_frames=1))
        seeing = small_transformer()(latents, times, torch.zeros_like(tokens), num_parts=2, num_frames=1)
    torch.testing.assert_close(made, seeing)


def test_training_gives_every_weight_a_gradient_with_and_without_blocks_computed_again() -> None:
    network = small_transformer().train()
    gradients = []
    for again in (False, True):
        network.checkpointing = again
        network.zero_grad()
        times = torch.tensor([1.0, 500.0, 900.0])
        made = network(normal(3, TOKENS, 3), times, normal(3, SEEN, 5), num_parts=[2, 1], num_frames=[1, 1])
        made.square().sum().backward()
        gradients.append({name: one.grad for name, one in network.named_parameters() if one.grad is not None})
    torch.testing.assert_close(gradients[0], gradients[1])
    unused = {name for name, _ in network.named_parameters()} - gradients[0].keys()
    assert unused == {"frame_embedding.weight", "dynamic_embedding.weight"}


def test_half_precision_is_near(tmp_path: Path) -> None:
    network, latents, tokens = small_transformer(), normal(2, TOKENS, 3), normal(2, SEEN, 5, seed=1)
    times = torch.full((2,), 950.0)
    with torch.inference_mode():
        wanted = network(latents, times, tokens, num_parts=2, num_frames=1)
        made = network.half()(latents.half(), times, tokens.half(), num_parts=2, num_frames=1)
    assert made.dtype == torch.float16
    torch.testing.assert_close(made.float(), wanted, rtol=0.02, atol=0.02 * float(wanted.abs().max()))


def test_published_sizes_give_the_published_number_of_weights() -> None:
    with torch.device("meta"):
        sizes = TransformerSizes(enable_static_embedding=True, enable_dynamic_embedding=True)
        transformer, vae = CompositionalTransformer(sizes), ShapeVae(VaeSizes())
    assert sum(weight.numel() for weight in transformer.state_dict().values()) == 1_439_756_864
    assert len(transformer.state_dict()) == 558
    assert sum(weight.numel() for weight in vae.state_dict().values()) == 242_662_017
    assert len(vae.state_dict()) == 356


@pytest.mark.parametrize(
    ("config", "what"),
    [
        ({"width": 10}, "multiple"),
        ({"num_layers": 0}, "num_layers"),
        ({"width": "64"}, "width"),
        ({"spatial_global_attn_block_ids": [-1]}, "spatial"),
        ({"global_attn_block_ids": [1]}, "not supported"),
        ({"enable_static_embedding_per_block": True}, "not supported"),
    ],
)
def test_sizes_that_cannot_be_are_refused(config: dict[str, object], what: str) -> None:
    with pytest.raises(InvalidModel, match=what):
        TransformerSizes.from_config(small_sizes(num_attention_heads=4).config | config)


def test_a_config_keeps_its_values_and_unknown_names_are_passed_over() -> None:
    sizes = small_sizes()
    assert TransformerSizes.from_config(sizes.config | {"decay": 0.9, "_class_name": "Other"}) == sizes
    with pytest.raises(InvalidModel, match="embedding_type"):
        VaeSizes.from_config({"embedding_type": "learned"})


def test_points_are_far_from_each_other_and_repeated_only_where_they_must() -> None:
    line = torch.tensor([[[0.0, 0, 0], [0.1, 0, 0], [1, 0, 0], [-1, 0, 0]]])
    assert farthest_points(line, count=4).tolist() == [[0, 2, 3, 1]]  # of equally far ones the first
    rows = candidate_rows(100, tokens=20, rng=np.random.default_rng(0))
    assert len(set(rows.tolist())) == 80
    assert len(candidate_rows(10, tokens=5, rng=np.random.default_rng(0))) == 20


def test_a_posterior_is_kept_within_bounds_and_bad_points_are_refused() -> None:
    posterior = ShapeVae.posterior(torch.tensor([[[0.5, -100.0], [0.5, 100.0]]]))
    assert posterior.log_variance.flatten().tolist() == [-30.0, 20.0]
    assert posterior.sample(torch.Generator().manual_seed(0))[0, 0].item() == pytest.approx(0.5, abs=1e-5)
    vae, rng = tiny_model().vae, np.random.default_rng(0)
    for points in (torch.zeros(1, 0, 6), torch.zeros(1, 4, 3)):
        with pytest.raises(InvalidCloud, match="normals"):
            vae.encode(points, tokens=2, rng=rng)
    with pytest.raises(InvalidParameter, match="token"):
        vae.encode(torch.zeros(1, 4, 6), tokens=0, rng=rng)


def test_latents_measured_otherwise_are_the_same_shapes() -> None:
    vae = tiny_model().vae
    points, places = normal(2, 40, 6), normal(2, 5, 3)
    channels = vae.sizes.latent_channels
    mean, spread = normal(channels), normal(channels).abs() + 0.5

    def posterior() -> ShapePosterior:
        return vae.encode(points, tokens=7, rng=np.random.default_rng(2))

    with torch.no_grad():
        before = posterior()
        values = vae.values(before.mean, places)
        vae.standardize_latents(mean, spread)
        after = posterior()
        torch.testing.assert_close(after.mean, (before.mean - mean) / spread, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(after.log_variance, before.log_variance - 2 * spread.log(), atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(vae.values(after.mean, places), values, atol=1e-5, rtol=1e-5)


def test_a_field_of_no_place_is_empty_and_its_gradient_reaches_the_latents() -> None:
    vae = tiny_model().vae
    assert vae.decode(normal(4, 8))(torch.zeros(0, 3)).shape == (0,)
    latents = normal(1, 4, 8).requires_grad_()
    vae.values(latents, normal(1, 7, 3)).sum().backward()
    assert latents.grad is not None and bool(latents.grad.abs().sum() > 0)


def test_the_flow_ends_at_the_data_whatever_the_shift() -> None:
    clean, noise = normal(2, 3), normal(2, 3, seed=1)
    for shift in (1.0, 3.0):
        schedule, place = FlowSchedule(steps=4, shift=shift), noise
        for number in range(4):
            torch.testing.assert_close(place, noised(clean, noise, schedule.sigmas[number]))
            place = schedule.step(place, clean - noise, number)
        torch.testing.assert_close(place, clean)
        assert schedule.step(noise, clean.half(), 0).dtype == torch.float16
        assert training_sigmas(shift)[-1] > 0
    with pytest.raises(InvalidParameter, match="step"):
        FlowSchedule(steps=0)
    with pytest.raises(InvalidModel, match="shift"):
        FlowSchedule(steps=1, shift=0.0)


def _looped(
    network: CompositionalTransformer,
    latents: Tensor,
    times: Tensor,
    temporal: Tensor,
    spatial: Tensor,
    *,
    static: int,
    cutoff: bool,
) -> Tensor:
    """Row by row and column by column, every attention written out for one group."""
    sizes, (rows, columns) = network.sizes, latents.shape[:2]
    matrix = torch.cat([network.time_token(times).expand(rows, columns, 1, -1), network.proj_in(latents)], dim=2)
    matrix = matrix + network.frame_embedding.weight[:columns][None, :, None]
    matrix = matrix + network.part_embedding.weight[:rows][:, None, None]
    matrix[:static] += network.static_embedding.weight[0]
    matrix[static:] += network.dynamic_embedding.weight[0]
    stacks: dict[bool, list[Tensor]] = {True: [], False: []}
    for number, block in enumerate(network.blocks):
        over_objects = number in sizes.spatial_global_attn_block_ids
        stack = stacks[over_objects]
        if number > sizes.num_layers // 2 and stack:
            matrix = block.skip_norm(block.skip_linear(torch.cat([stack.pop(), matrix], dim=-1)))
        made = matrix.clone()
        for line in range(columns if over_objects else rows):
            at = (slice(None), line) if over_objects else (line, slice(None))
            joined = not cutoff if over_objects else line >= static
            made[at] = _block(block, matrix[at], (spatial if over_objects else temporal)[at], joined=joined)
        matrix = made
        if number < sizes.num_layers // 2:
            stack.append(matrix)
    return network.proj_out(network.norm_out(matrix)[:, :, 1:])


def _block(block: torch.nn.Module, items: Tensor, tokens: Tensor, *, joined: bool) -> Tensor:
    groups = [items.flatten(0, 1)[None]] if joined else [item[None] for item in items]
    found = [block.attn1.within(block.norm1(group), None) for group in groups]
    items = items + torch.cat(found, dim=1).view_as(items)
    items = torch.stack(
        [
            item + block.attn2.at(block.norm2(item)[None], *block.attn2.remember(seen[None]))[0]
            for item, seen in zip(items, tokens, strict=True)
        ]
    )
    return items + block.ff(block.norm3(items))
