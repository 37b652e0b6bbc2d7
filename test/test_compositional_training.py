"""From scenes through the real command and its stages to a folder that reconstructs; and what is trained for."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from fourd_ros.cli import main
from fourd_ros.compositional.flow import CLEAN_TIMESTEP
from fourd_ros.compositional.model import CompositionalObjects
from fourd_ros.compositional.object_clip import ObjectClip
from fourd_ros.compositional.options import MotionOptions, ObjectOptions
from fourd_ros.compositional.shape_vae import ShapePosterior, place_waves
from fourd_ros.data.compositional_shards import SHARDS, CompositionalShards, write_scenes
from fourd_ros.errors import InvalidConfig
from fourd_ros.simulation.compositional_scenes import CompositionalOptions, film_scene
from fourd_ros.simulation.compositional_splits import compositional_seeds
from fourd_ros.training.compositional import CompositionalConfig, CompositionalTask
from fourd_ros.training.compositional_objective import (
    draw_history,
    draw_shares,
    filled_columns,
    flow_errors,
    forget,
    mean_of_targets,
    nearest_noise,
    noise_levels,
)
from fourd_ros.training.config import TrainingConfig
from fourd_ros.training.ema import decay_after
from fourd_ros.training.learner import learning_rate
from fourd_ros.training.settings import make_config, read_config
from fourd_ros.training.shape_vae import ShapeVaeConfig, ShapeVaeTask, inside_loss, kl
from fourd_ros.training.stages import read_schedule

SIDE = 28
SHAPES = (
    "network.tokens=8",
    "network.channels=4",
    "network.heads=2",
    "network.encoder_width=16",
    "network.decoder_width=16",
    "network.encoder_blocks=1",
    "network.decoder_blocks=1",
    "data.points=64",
    "data.queries=64",
    "data.validation_solids=3",
)
OBJECTS = (
    "network.width=16",
    "network.heads=2",
    "network.layers=3",
    f"network.image_side={SIDE}",
    "network.image_width=16",
    "network.image_heads=2",
    "network.image_layers=1",
    "data.points=64",
    "data.items=4",
    "data.most_parts=2",
    "data.most_frames=2",
    "data.validation_scenes=3",
)
SHORT = ("training.steps=4", "training.warmup_steps=0", "training.checkpoint_every=2", "training.validate_every=4")


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scenes")
    options = CompositionalOptions(size=SIDE, samples=1, frames=3, points=64, queries=64, occupancy=True)
    seeds = compositional_seeds("train", scenes={"single": 2, "scene": 3, "moving": 2})
    write_scenes(folder / SHARDS / "a.safetensors", [film_scene(seed, "train", options) for seed in seeds])
    return folder


def _schedule(path: Path, scenes: Path) -> Path:
    data = (f"data.train={scenes}", f"data.validation={scenes}")
    stages: list[dict[str, Any]] = [
        {"name": "shapes", "model": "shape_vae", "config": "shape_vae.yaml", "set": [*SHAPES, *SHORT, *data]},
        {
            "name": "objects",
            "model": "compositional",
            "config": "compositional.yaml",
            "set": [*OBJECTS, *SHORT, *data],
            "begins_with": "start.vae",
        },
        {
            "name": "forcing",
            "model": "compositional",
            "config": "compositional.yaml",
            "set": [
                *OBJECTS,
                *SHORT,
                *data,
                "loss.forcing=true",
                "loss.masked_moving=1.0",
                "loss.masked_single=1.0",
                "loss.nearest_noise=true",
                "loss.columns=0.5",
                "training.batch_size=2",
                "training.gradient_accumulation=2",
            ],
            "begins_with": "start.model",
        },
    ]
    path.write_text(json.dumps({"stages": stages}))
    return path


def test_stages_follow_each_other_and_the_last_folder_reconstructs(
    scenes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    schedule, folder = _schedule(tmp_path / "stages.yaml", scenes), tmp_path / "runs"
    words = ["train", "--schedule", str(schedule), "--run", str(folder), "--json"]
    assert main(words) == 0
    end = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert set(end["metrics"]) >= {"iou", "f_score"} and not end["interrupted"]
    begun = [read_config(CompositionalConfig, folder / name / "config.yaml") for name in ("objects", "forcing")]
    assert begun[0].start.vae == folder / "shapes" / "model" and begun[1].start.model == folder / "objects" / "model"
    for name in ("shapes/pictures/slices", "forcing/pictures/objects"):
        assert (folder / name / "00000004.png").exists()

    before, after = (
        load_file(folder / stage / "model/vae/diffusion_pytorch_model.safetensors") for stage in ("shapes", "forcing")
    )
    assert all(torch.equal(after[name], weight.half()) for name, weight in before.items())
    model = CompositionalObjects.from_folder(folder / "forcing" / "model")
    moving = CompositionalShards(scenes).arrays(5)
    clip = ObjectClip(frames=moving.rgb, masks=np.where(moving.numbers == 1, 255, 0).astype(np.uint8)[None], ids=(1,))
    options = ObjectOptions(static_objects=0, motion=MotionOptions(steps=2, block=3))
    assert model.latents(clip, options).moving.shape == (1, 3, 8, 4)

    assert main(words) == 1 and "all stages" in capsys.readouterr().err
    (folder / "forcing" / "model").rename(tmp_path / "away")
    assert main([*words, "--set", "training.steps=5"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {row["step"] for row in rows if "step" in row} == {5}


def test_schedules_that_cannot_be_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "stages.yaml"
    for stages, message in (("[]", "stages"), ("[{name: a/b, model: m, config: c}]", "without '/'"), ("[{}]", "given")):
        path.write_text(f"stages: {stages}")
        with pytest.raises(InvalidConfig, match=message):
            read_schedule(path)
    assert main(["train", "shape_vae", "--schedule", str(path)]) == 1
    assert "leave MODEL" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["compositional_compact", "compositional_official"])
def test_the_schedules_of_the_package_have_configurations(name: str) -> None:
    folder = Path(__file__).parents[1] / "config" / "train"
    classes: dict[str, Any] = {"shape_vae": ShapeVaeConfig, "compositional": CompositionalConfig}
    for stage in read_schedule(folder / f"{name}.yaml").stages:
        config = read_config(classes[stage.model], folder / stage.config, stage.set)
        assert config.training.steps > 0
    if name == "compositional_official":
        assert isinstance(config, CompositionalConfig)
        assert (config.data.items, config.loss.forcing, config.loss.without_image) == (50, True, 0.25)


def test_the_compact_networks_have_five_to_ten_million_weights() -> None:
    from fourd_ros.training.shape_vae import ShapeVaeTask

    vae = ShapeVaeTask(make_config(ShapeVaeConfig, {})).network()
    task = CompositionalTask(make_config(CompositionalConfig, {}))
    networks = (vae, task._image_network(), torch.nn.ModuleList([]))
    from fourd_ros.compositional.transformer import CompositionalTransformer

    count = sum(p.numel() for network in networks for p in network.parameters())
    count += sum(p.numel() for p in CompositionalTransformer(task._sizes(vae)).parameters())
    assert 5e6 < count < 12e6


def test_noise_is_of_groups_or_of_items_and_history_is_almost_clean() -> None:
    torch.manual_seed(0)
    sizes = [3, 1, 4]
    together = draw_shares(sizes, forcing=False)
    assert len(set(together[:3].tolist())) == 1 == len(set(together[4:].tolist())) and together[0] != together[4]
    assert len(set(draw_shares(sizes, forcing=True).tolist())) == 8
    assert not draw_history(sizes, forcing=False).any()
    drawn = torch.stack([draw_history(sizes, forcing=True) for _ in range(400)])
    assert not drawn[:, 3].any() and drawn[:, 0].float().mean() == pytest.approx(0.5, abs=0.08)
    assert all((~part).any(dim=1).all() for part in (drawn[:, :3], drawn[:, 4:]))
    assert drawn[:, 7].any()
    levels = noise_levels(torch.tensor([0.0, 0.4438, 0.9999999, 0.2]), history=torch.tensor([False] * 3 + [True]))
    torch.testing.assert_close(levels.timesteps, torch.tensor([1000.0, 557.0, 1.0, CLEAN_TIMESTEP]))
    torch.testing.assert_close(levels.sigmas, levels.timesteps / 1000)


def test_noise_is_put_where_it_is_nearest() -> None:
    torch.manual_seed(0)
    clean = torch.randn(3, 10, 4)
    shuffled = clean[:, torch.randperm(10)] + 0.01 * torch.randn(3, 10, 4)
    assert (nearest_noise(clean, shuffled) - clean).abs().max() < 0.1
    noise = torch.randn(3, 10, 4)
    ordered = nearest_noise(clean, noise)
    assert torch.equal(ordered.flatten(1).sort(dim=1).values, noise.flatten(1).sort(dim=1).values)
    assert (ordered - clean).square().sum() < 0.8 * (noise - clean).square().sum()


def test_columns_behind_patches_are_filled_where_points_are() -> None:
    points = torch.tensor([[[-0.9, 0.9, 0.9], [0.9, -0.9, -0.9]], [[-0.9, 0.9, -0.9], [1.0, 1.0, 1.0]]])
    filled = filled_columns(points, torch.tensor([1, 1]), pictures=2, side=2)
    top_left, top_right, bottom_left, bottom_right = filled[1].tolist()
    assert not filled[0].any()
    assert top_left == [1, 1] and top_right == [0, 1] and bottom_left == [0, 0] and bottom_right == [1, 0]


def test_errors_of_history_do_not_count() -> None:
    clean, noise = torch.ones(3, 2, 2), torch.zeros(3, 2, 2)
    velocity = torch.stack([torch.ones(2, 2), torch.zeros(2, 2), torch.full((2, 2), 3.0)])
    errors = flow_errors(velocity, clean, noise)
    torch.testing.assert_close(errors, torch.tensor([0.0, 1.0, 4.0]))
    assert float(mean_of_targets(errors, torch.tensor([False, False, True]))) == pytest.approx(0.5)


def test_what_is_forgotten_is_whole_items_and_single_numbers() -> None:
    torch.manual_seed(1)
    tokens = torch.ones(2000, 2, 8)
    whole = forget(tokens, whole=0.25, elements=0.0)
    lost = (whole == 0).all(dim=(1, 2))
    assert lost.float().mean() == pytest.approx(0.25, abs=0.04) and (whole[~lost] == 1).all()
    single = forget(tokens, whole=0.0, elements=0.1)
    assert (single == 0).float().mean() == pytest.approx(0.1, abs=0.01) and set(single.flatten().tolist()) == {0.0, 1.0}


def test_a_new_autoencoder_looks_at_what_is_near() -> None:
    torch.manual_seed(0)
    vae = ShapeVaeTask(make_config(ShapeVaeConfig, {})).network()
    places, seen = 2 * torch.rand(1, 100, 3) - 1, 2 * torch.rand(1, 500, 6) - 1
    rngs = [np.random.default_rng(0) for _ in range(2)]
    tokens = vae.draw(seen, tokens=64, rng=rngs[0])[..., :3]
    with torch.no_grad():
        keys, _ = vae.shape_memory(vae.encode(seen, tokens=64, rng=rngs[1]).mean)
        block = vae.decoder.look_block
        asked = block.norm2(vae.decoder.proj_query(place_waves(places, vae.sizes)))
        queries = block.attn2.to_q(asked).unflatten(-1, (vae.sizes.num_attention_heads, -1)).transpose(1, 2)
        looks = (queries @ keys.mT / queries.shape[-1] ** 0.5).softmax(dim=-1)
    distances = torch.cdist(places, tokens)
    nearest, mean = distances.min(dim=-1).values.mean(), distances.mean()
    looked = (looks * distances[:, None]).sum(dim=-1).mean()
    assert looked < nearest + 0.3 * (mean - nearest)


def test_the_field_of_a_solid_is_its_depth_over_the_softness() -> None:
    depth = torch.tensor([[-0.1, 0.0, 0.03], [0.02, 0.02, 0.02]])
    torch.testing.assert_close(inside_loss(depth / 0.02, depth, softness=0.02), torch.zeros(2), atol=1e-6, rtol=0)
    values = (depth / 0.02).requires_grad_()
    inside_loss(values + 1, depth, softness=0.02).sum().backward()  # type: ignore[no-untyped-call]
    assert values.grad is not None and (values.grad > 0).all()
    standard = ShapePosterior(mean=torch.zeros(2, 3, 4), log_variance=torch.zeros(2, 3, 4))
    torch.testing.assert_close(kl(standard), torch.zeros(2))
    shifted = ShapePosterior(mean=torch.full((1, 3, 4), 2.0), log_variance=torch.zeros(1, 3, 4))
    torch.testing.assert_close(kl(shifted), torch.tensor([2.0]))


def test_warm_up_and_averages_may_be_as_in_diffusers() -> None:
    config = TrainingConfig(learning_rate=1.0, warmup_steps=4, schedule="constant")
    zero = TrainingConfig(learning_rate=1.0, warmup_steps=4, schedule="constant", warmup_from_zero=True)
    assert [learning_rate(config, step) for step in range(5)] == [0.25, 0.5, 0.75, 1.0, 1.0]
    assert [learning_rate(zero, step) for step in range(5)] == [0.0, 0.25, 0.5, 0.75, 1.0]
    assert decay_after(1, limit=0.9, power=0.75) == 0.0 and decay_after(10**6, limit=0.9, power=0.75) == 0.9
    assert decay_after(2, limit=0.9999, power=0.75) == pytest.approx(0.40539644)
    assert decay_after(2, limit=0.9999) == pytest.approx(0.25)
