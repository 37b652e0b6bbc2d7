"""Training of Kinema4D: a run, its continuation, and what its result is good for."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from kinema4d_rig import (
    ADAPTER,
    FRAMES,
    HEIGHT,
    PARENT,
    ROBOT_PATCH,
    WAN,
    WIDTH,
    first_frame,
    published,
    robot,
)
from PIL import Image
from safetensors.torch import load_file, save_file

from fourd_ros.data.robo4d import Robo4DDataset
from fourd_ros.data.robo4d_folder import Robo4DFolder, Stream
from fourd_ros.data.robo4d_latents import Robo4DLatents, write_latents
from fourd_ros.errors import InvalidConfig, InvalidDataset, LicenceRefused, WeightMismatch
from fourd_ros.model_io.card import ModelCard
from fourd_ros.model_io.conversion import convert
from fourd_ros.model_io.folder import adopt_model
from fourd_ros.training.kinema4d import Kinema4DConfig, Kinema4DTask
from fourd_ros.training.kinema4d_samples import Kinema4DSamples
from fourd_ros.training.loop import train
from fourd_ros.training.settings import read_config
from fourd_ros.world_model.kinema4d.adapter import ADDED_FILE, LORA_FILE
from fourd_ros.world_model.kinema4d.conversion import CONVERTER
from fourd_ros.world_model.kinema4d.layout import Grid, Variant
from fourd_ros.world_model.kinema4d.pipeline import Kinema4DPipeline

ROWS, COLUMNS = HEIGHT // 8, WIDTH // 8
LATENT_FRAMES = (FRAMES + 3) // 4
NAMES = ("a", "b", "c")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Published checkpoints, the base among them with a card, and encoded clips in ``clips``."""
    root = published(tmp_path_factory.mktemp("kinema4d"))
    adopt_model(root / WAN, ModelCard(name="wan", system="kinema4d", purpose="Base.", licence="Apache-2.0"))
    _write_clips(root / "clips")
    return root


def _write_clips(folder: Path) -> None:
    files, draw = Robo4DFolder(folder), torch.Generator().manual_seed(0)

    def latents() -> torch.Tensor:
        return torch.randn(16, LATENT_FRAMES, ROWS, COLUMNS, generator=draw).half()

    for name in NAMES:
        for path in (files.first_frame(name), files.mask(name), *(files.latents(stream, name) for stream in Stream)):
            path.parent.mkdir(parents=True, exist_ok=True)
        tokens = torch.randn(17, 40, generator=draw).half()
        write_latents(
            Robo4DLatents(
                video=latents(),
                pointmap=latents(),
                robot_video=latents(),
                robot_pointmap=latents(),
                image_embedding=tokens,
            ),
            files,
            name,
        )
        Image.fromarray(first_frame()).save(files.first_frame(name))
        np.save(files.mask(name), robot().mask[..., None].astype(np.uint8))


def _config(folder: Path, *changes: str) -> Kinema4DConfig:
    return read_config(
        Kinema4DConfig,
        None,
        [
            f"base.wan={folder / WAN}",
            "base.precision=fp32",
            "robot.rank=4",
            f"robot.frames={LATENT_FRAMES}",
            f"robot.rows={ROWS}",
            f"robot.columns={COLUMNS}",
            f"robot.patch=[{ROBOT_PATCH}, {ROBOT_PATCH}]",
            f"clips.folder={folder / 'clips'}",
            "clips.held_out=1",
            "clips.picture_steps=1",
            "training.steps=2",
            "training.batch_size=2",
            "training.learning_rate=1e-2",
            "training.schedule=constant",
            "training.ema_decay=null",
            "training.gradient_checkpointing=true",
            "training.validate_every=2",
            "training.checkpoint_every=1",
            "training.log_every=1",
            *changes,
        ],
    )


@pytest.mark.parametrize("variant", Variant)
def test_a_run_is_gone_on_with_and_its_result_is_converted_and_loaded(
    variant: Variant, folder: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    changes = (f"robot.variant={variant}",)
    result = train(Kinema4DTask(_config(folder, *changes)), run, bar=False)
    assert result.step == 2 and np.isfinite(result.metrics["loss"])
    begun = load_file(run / "model" / LORA_FILE)
    further = train(Kinema4DTask(_config(folder, *changes, "training.steps=3")), run, resume=True, bar=False)
    assert further.step == 3
    lora, added = load_file(run / "model" / LORA_FILE), load_file(run / "model" / ADDED_FILE)
    assert any(not torch.equal(lora[name], begun[name]) for name in lora)
    assert lora["transformer.blocks.0.attn1.to_q.lora_A.weight"].shape == (4, 64)
    assert float(lora["transformer.blocks.1.attn2.to_out.0.lora_B.weight"].abs().max()) > 0
    assert ("arm_domain_emb" in added) == (variant is Variant.ACT)
    assert float(added["arm_cond_proj.weight"].abs().max()) > 0
    assert list((run / "pictures").rglob("*.png"))

    source = tmp_path / "source"
    shutil.copytree(folder / WAN, source / WAN)
    shutil.copytree(run / "model", source / "model")
    convert(CONVERTER, source, tmp_path / "model")
    pipeline = Kinema4DPipeline.from_pretrained(tmp_path / "model", allow_noncommercial=True)
    merged = pipeline(first_frame(), robot(), num_steps=1)[0].latents
    apart = Kinema4DPipeline.from_pretrained(folder / WAN, adapter=run / "model")
    torch.testing.assert_close(apart(first_frame(), robot(), num_steps=1)[0].latents, merged, rtol=0, atol=1e-4)


def test_it_begins_with_no_effect_and_goes_on_from_others(folder: Path) -> None:
    fresh = Kinema4DTask(_config(folder)).network().requires_grad_(False)
    assert float(fresh.arm_patch_proj.weight.abs().max()) == 0
    assert float(fresh.arm_pos_emb.std()) == pytest.approx(0.02, rel=0.3)
    assert float(fresh.learnable_domain_embeddings.abs().max()) == 0
    parent = (
        Kinema4DTask(_config(folder, f"base.adapter={folder / PARENT}", "base.allow_noncommercial=true"))
        .network()
        .requires_grad_(False)
    )
    wanted = load_file(folder / PARENT / LORA_FILE)
    held = parent.blocks[0].attn1.to_q.lora_A["default"].weight
    assert torch.equal(held, wanted["transformer.blocks.0.attn1.to_q.lora_A.weight"])
    assert float(parent.learnable_domain_embeddings.abs().max()) > 0
    assert float(parent.arm_patch_proj.weight.abs().max()) == 0
    own = Kinema4DTask(_config(folder, f"base.adapter={folder / 'nested'}")).network()
    added = load_file(folder / "nested" / ADAPTER / ADDED_FILE)
    assert torch.equal(own.arm_patch_proj.weight, added["arm_patch_proj.weight"])


def test_only_adapters_and_the_weights_of_the_robot_are_trained(folder: Path) -> None:
    network = Kinema4DTask(_config(folder)).network()
    trained = {name for name, parameter in network.named_parameters() if parameter.requires_grad}
    facts = json.loads((Path(__file__).parent / "golden" / "kinema4d" / "MANIFEST.json").read_text())
    assert trained == set(facts["trainable_params_act"])


def test_samples_are_the_same_for_the_same_generator(folder: Path) -> None:
    clips = Robo4DDataset(folder / "clips")
    grid = Grid(frames=LATENT_FRAMES, rows=ROWS, columns=COLUMNS)
    samples = Kinema4DSamples(clips, clips.encoded_names, grid=grid, variant=Variant.ACT)
    one, same, other = (samples.sample(0, np.random.default_rng(seed)) for seed in (3, 3, 4))
    assert all(np.array_equal(np.asarray(one[name]), np.asarray(same[name])) for name in one)
    assert not np.array_equal(np.asarray(one["noise"]), np.asarray(other["noise"]))
    mask = np.asarray(one["robot"])[:4]
    cells = int((mask[0, :, :, :COLUMNS] > 0).sum())
    assert int((mask[0, :, :, :COLUMNS] == 0.5).sum()) == int(0.1 * cells)
    wrong = Kinema4DSamples(
        clips, clips.encoded_names, grid=Grid(frames=LATENT_FRAMES, rows=2 * ROWS, columns=COLUMNS), variant=Variant.ACT
    )
    with pytest.raises(InvalidDataset, match="encode it anew"):
        wrong.sample(0, np.random.default_rng(0))


def test_listed_clips_that_are_missing_are_told(folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    listed = tmp_path / "listed.txt"
    task = Kinema4DTask(_config(folder, f"clips.listed={listed}"))
    task.network()
    listed.write_text("videos/gone.mp4\nvideos/a.mp4\n")
    assert task.dataset().names == ("a",)
    assert "1 clips of" in caplog.text and "gone" in caplog.text
    listed.write_text("videos/c.mp4\n")
    with pytest.raises(InvalidDataset, match="1 are held out"):
        task.dataset()


def test_what_cannot_be_trained_is_named(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InvalidConfig, match="has to be bf16"):
        _config(folder, "base.precision=bf16")
    with pytest.raises(InvalidConfig, match=r"robot\.rank"):
        _config(folder, "training.lora={target_modules: [to_q]}")
    with pytest.raises(InvalidConfig, match="3 encoded clips and 3"):
        Kinema4DTask(_config(folder, "clips.held_out=3")).dataset()
    adapter = tmp_path / "adapter"
    shutil.copytree(folder / "nested" / ADAPTER, adapter)
    lora = load_file(adapter / LORA_FILE)
    lora.pop("transformer.blocks.0.attn1.to_q.lora_A.weight")
    save_file(lora, adapter / LORA_FILE)
    with pytest.raises(WeightMismatch, match=r"missing: transformer\.blocks\.0\.attn1\.to_q\.lora_A"):
        Kinema4DTask(_config(folder, f"base.adapter={adapter}")).network()
    closed = tmp_path / "closed"
    shutil.copytree(folder / WAN, closed)
    (closed / "fourd.json").unlink()
    adopt_model(
        closed, ModelCard(name="w", system="kinema4d", purpose="B.", licence="CC-BY-NC-4.0", non_commercial=True)
    )
    with pytest.raises(LicenceRefused):
        Kinema4DTask(_config(folder, f"base.wan={closed}")).network()
