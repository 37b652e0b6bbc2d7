"""Kinema4D against the vectors of the original, its checkpoints, and its pipeline."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from kinema4d_rig import (
    ADAPTER,
    FRAMES,
    GOLDEN,
    HEIGHT,
    PARENT,
    WAN,
    WIDTH,
    converted,
    first_frame,
    first_points,
    published,
    robot,
)
from safetensors.torch import load_file, save_file

from fourd_ros.cli import main
from fourd_ros.errors import (
    Cancelled,
    CorruptModel,
    FourdError,
    InvalidCheckpoint,
    InvalidImage,
    InvalidModel,
    InvalidParameter,
    LicenceRefused,
    MissingDependency,
    WeightMismatch,
)
from fourd_ros.geometry.letterbox import Letterbox
from fourd_ros.geometry.pointmap_range import PointmapRange
from fourd_ros.model_io.card import ModelCard
from fourd_ros.model_io.conversion import convert
from fourd_ros.model_io.folder import ModelFolder, adopt_model
from fourd_ros.records import RobotRendering
from fourd_ros.verify.kinema4d.folder import thinned
from fourd_ros.verify.runner import verify
from fourd_ros.world_model.kinema4d.adapter import ADDED_FILE, LORA_FILE
from fourd_ros.world_model.kinema4d.conditions import initial_noise
from fourd_ros.world_model.kinema4d.conversion import CONVERTER
from fourd_ros.world_model.kinema4d.latents import LatentCodec
from fourd_ros.world_model.kinema4d.layout import Grid, Variant
from fourd_ros.world_model.kinema4d.options import PlacementOptions
from fourd_ros.world_model.kinema4d.pipeline import DenoisingStep, Kinema4DPipeline
from fourd_ros.world_model.kinema4d.placement import Placement
from fourd_ros.world_model.kinema4d.transformer import Kinema4DTransformer, TransformerConfig


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A converted folder; the published one lies beside it."""
    return converted(tmp_path_factory.mktemp("kinema4d"))


@pytest.fixture(scope="module")
def pipeline(model: Path) -> Kinema4DPipeline:
    return Kinema4DPipeline.from_pretrained(model, allow_noncommercial=True)


def test_every_vector_of_the_original_is_met() -> None:
    rows = verify("kinema4d", GOLDEN)
    wrong = [f"{row.file}: {row.problem or row.worst}" for row in rows if not row.ok]
    assert not wrong
    assert sum(len(row.verdicts) for row in rows) > 450


def test_a_vector_that_is_off_is_found(tmp_path: Path) -> None:
    folder = tmp_path / "golden"
    for part in ("weights", "scheduler"):
        shutil.copytree(GOLDEN / part, folder / part)
    (folder / "pipeline").mkdir()
    shutil.copy(GOLDEN / "pipeline" / "scheduler_config.json", folder / "pipeline")
    manifest = json.loads((GOLDEN / "MANIFEST.json").read_text())
    there = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    manifest["files"] = {name: entry for name, entry in manifest["files"].items() if name in there}
    (folder / "MANIFEST.json").write_text(json.dumps(manifest))
    assert all(row.ok for row in verify("kinema4d", folder))
    path = folder / "scheduler" / "unipc.safetensors"
    tensors = load_file(path)
    tensors["toy_step3"][0, 0, 0] += 0.001
    save_file(tensors, path)
    assert [row.file for row in verify("kinema4d", folder) if not row.ok] == ["scheduler/unipc.safetensors"]


def test_vectors_may_be_thinned_in_other_ways(tmp_path: Path) -> None:
    tensor = torch.arange(24.0).reshape(1, 4, 6)
    assert torch.equal(thinned(tensor, "[...,::2,::3] before"), tensor[..., ::2, ::3])
    assert torch.equal(thinned(tensor, "(strided ::3 in h,w)"), tensor[..., ::3, ::3])
    assert torch.equal(thinned(tensor, "whole"), tensor)
    shutil.copytree(GOLDEN / "aux", tmp_path / "aux")
    manifest = json.loads((GOLDEN / "MANIFEST.json").read_text())
    manifest["files"] = {name: entry for name, entry in manifest["files"].items() if name.startswith("aux/")}
    path, file = tmp_path / "aux" / "viser.safetensors", "aux/viser.safetensors"
    tensors, described = load_file(path), manifest["files"][file]["tensors"]
    for kind in ("pts", "cols"):
        for names in (tensors, described):
            names[f"viewer_{kind}_t7"] = names.pop(f"viewer_{kind}_t1")
    save_file(tensors, path)
    (tmp_path / "MANIFEST.json").write_text(json.dumps(manifest))
    assert all(row.ok for row in verify("kinema4d", tmp_path))


def test_the_noise_of_a_seed_is_that_of_the_original() -> None:
    facts = json.loads((GOLDEN / "MANIFEST.json").read_text())["seed42_initial_noise_native"]
    noise = initial_noise(Grid(frames=13, rows=60, columns=90), seed=42)
    assert list(noise.shape) == facts["shape"]
    np.testing.assert_array_equal(noise.flatten()[:5], np.float32(facts["first5"]))
    np.testing.assert_array_equal(noise.flatten()[-5:], np.float32(facts["last5"]))
    small = Grid(frames=1, rows=2, columns=2)
    assert torch.equal(initial_noise(small, seed=2**64 + 42), initial_noise(small, seed=42))


def test_the_published_size_has_the_published_number_of_parameters() -> None:
    from fourd_ros.model_io.meta_device import parameters_on_meta

    with parameters_on_meta():
        network = Kinema4DTransformer(TransformerConfig(num_layers=1))
    added = [p.numel() for name, p in network.named_parameters() if "arm" in name or "learnable" in name]
    assert sum(added) == 1_287_568


# Checkpoints.


@pytest.mark.parametrize("variant", Variant)
def test_a_converted_folder_holds_the_merged_weights(variant: Variant, tmp_path: Path) -> None:
    folder = ModelFolder(converted(tmp_path, variant=variant))
    assert folder.config("transformer")["variant"] == str(variant)
    assert folder.config("transformer")["rows"] == HEIGHT // 8
    weights = folder.weights("transformer")
    merged = load_file(GOLDEN / "weights" / "merged_lora_targets.safetensors")
    for name, tensor in merged.items():
        torch.testing.assert_close(weights.read(name), tensor, rtol=0, atol=1e-6)
    assert not any("text" in name for name in weights.names)
    assert folder.card.non_commercial
    assert {"vae", "image_encoder", "image_processor", "scheduler"} <= folder.components.keys()
    report = json.loads((folder.path / "conversion.json").read_text())
    assert any("4DNeX" in line["reason"] for line in report["unused"])


def test_half_precision_is_merged_in_half_precision(tmp_path: Path) -> None:
    weights = ModelFolder(converted(tmp_path, dtype="bf16")).weights("transformer")
    base = load_file(GOLDEN / "weights" / "base_transformer.safetensors")
    lora = load_file(GOLDEN / "weights" / LORA_FILE)
    name = "blocks.0.attn1.to_q"
    down, up = (lora[f"transformer.{name}.lora_{part}.weight"].bfloat16().float() for part in "AB")
    wanted = base[f"{name}.weight"].bfloat16() + (0.5 * (up @ down)).bfloat16()
    assert torch.equal(weights.read(f"{name}.weight"), wanted)
    assert weights.dtype("scale_shift_table") == weights.dtype("blocks.0.norm2.weight") == "float32"
    assert weights.dtype("proj_out.weight") == "bfloat16"


def test_an_adapter_kept_apart_gives_what_a_merged_one_gives(model: Path, pipeline: Kinema4DPipeline) -> None:
    wan = model.parent / "published" / WAN
    if not (wan / "fourd.json").exists():
        adopt_model(wan, ModelCard(name="wan", system="kinema4d", purpose="Base.", licence="Apache-2.0"))
    apart = Kinema4DPipeline.from_pretrained(wan, adapter=model.parent / "published" / "nested")
    one, other = (each(first_frame(), robot(), num_steps=2)[0].latents for each in (pipeline, apart))
    torch.testing.assert_close(one, other, rtol=0, atol=1e-4)
    with pytest.raises(InvalidModel, match="without an adapter"):
        Kinema4DPipeline.from_pretrained(wan)
    with pytest.raises(InvalidModel, match="holds one already"):
        Kinema4DPipeline.from_pretrained(model, adapter=model.parent / "published" / "nested", allow_noncommercial=True)


def _lora(change: str, folder: Path) -> None:
    path = folder / "nested" / ADAPTER / LORA_FILE
    tensors = load_file(path)
    key = "transformer.blocks.1.attn2.to_q"
    if change == "other rank":
        tensors[f"{key}.lora_A.weight"] = torch.zeros(3, 64)
    if change == "other base":
        tensors["transformer.blocks.7.attn1.to_q.lora_A.weight"] = torch.zeros(4, 64)
        tensors["transformer.blocks.7.attn1.to_q.lora_B.weight"] = torch.zeros(64, 4)
    if change == "alpha":
        tensors[f"{key}.alpha"] = torch.tensor(32.0)
    if change == "missing":
        del tensors[f"{key}.lora_B.weight"]
    save_file(tensors, path)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ("other rank", "blocks.1.attn2.to_q"),
        ("other base", "blocks.7.attn1.to_q"),
        ("alpha", "blocks.1.attn2.to_q.alpha"),
        ("missing", "blocks.1.attn2.to_q"),
    ],
)
def test_an_adapter_that_does_not_fit_is_named(change: str, named: str, tmp_path: Path) -> None:
    source = published(tmp_path / "source")
    _lora(change, source)
    with pytest.raises(WeightMismatch, match=named) as caught:
        convert(CONVERTER, source, tmp_path / "model")
    assert LORA_FILE in str(caught.value)
    assert not (tmp_path / "model").exists()
    wan = source / WAN
    adopt_model(wan, ModelCard(name="wan", system="kinema4d", purpose="Base.", licence="Apache-2.0"))
    with pytest.raises(WeightMismatch, match=named):
        Kinema4DPipeline.from_pretrained(wan, adapter=source / "nested")


def test_a_folder_that_is_not_whole_is_refused(tmp_path: Path) -> None:
    source = published(tmp_path / "source")
    added = source / "nested" / ADAPTER / ADDED_FILE

    def refused(error: type[FourdError], match: str) -> None:
        with pytest.raises(error, match=match):
            convert(CONVERTER, source, tmp_path / "model")

    whole = added.read_bytes()
    added.write_bytes(whole[:-100])
    refused(InvalidCheckpoint, ADDED_FILE)
    added.unlink()
    refused(InvalidCheckpoint, f"0 files {ADDED_FILE}")
    added.write_bytes(whole)
    shutil.copy(added, source / PARENT / ADDED_FILE)
    refused(InvalidCheckpoint, f"2 files {ADDED_FILE}")
    (source / PARENT / ADDED_FILE).unlink()
    config = source / WAN / "transformer" / "config.json"
    text = config.read_text()
    config.write_text(text.replace('"in_channels": 36', '"in_channels": 16'))
    refused(InvalidModel, "in_channels is 16, needed 36")
    config.write_text(text)
    (source / WAN / "vae" / "config.json").unlink()
    refused(InvalidCheckpoint, "lacks \\['vae'\\]")


def test_folders_behind_links_are_found_and_hidden_ones_are_not(tmp_path: Path) -> None:
    source = published(tmp_path / "source")
    shutil.copytree(source / WAN, source / ".cache" / WAN)
    (source / WAN).rename(tmp_path / "elsewhere")
    (source / WAN).symlink_to(tmp_path / "elsewhere")
    (source / "round").symlink_to(source)
    convert(CONVERTER, source, tmp_path / "model")
    assert ModelFolder(tmp_path / "model").config("transformer")["num_layers"] == 2


def test_an_autoencoder_that_is_not_that_of_wan_is_refused(model: Path) -> None:
    codec = Kinema4DPipeline.from_pretrained(model, allow_noncommercial=True).codec
    codec.vae.register_to_config(latents_mean=[0.0, 1.0])
    with pytest.raises(InvalidModel, match="16 channels with 2 means"):
        LatentCodec(codec.vae)


def test_a_model_is_refused_without_consent_or_when_damaged(model: Path, tmp_path: Path) -> None:
    with pytest.raises(LicenceRefused):
        Kinema4DPipeline.from_pretrained(model)
    damaged = tmp_path / "damaged"
    shutil.copytree(model, damaged)
    weights = next((damaged / "transformer").glob("*.safetensors"))
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    with pytest.raises(CorruptModel, match=weights.name):
        Kinema4DPipeline.from_pretrained(damaged, allow_noncommercial=True)


def test_the_command_converts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = published(tmp_path / "source")
    assert main(["convert", "kinema4d", str(source), str(tmp_path / "model"), "--dtype", "bf16"]) == 0
    assert "not for commercial use" in capsys.readouterr().out


# The pipeline.


def test_a_clip_has_the_size_of_its_first_frame_and_metres(pipeline: Kinema4DPipeline) -> None:
    limits = PointmapRange(centre=np.array([0.1, -0.2, 1.5]), scale=2.0)
    height, width = 50, 130
    clip = pipeline(
        first_frame(height, width),
        robot(FRAMES, height, width),
        first_points=first_points(height, width),
        points_range=limits,
        num_steps=1,
    )[0]
    assert clip.rgb.shape == clip.points.shape == (FRAMES, height, width, 3)
    assert clip.points_range == limits
    _, unit = pipeline.decode(clip.latents)
    box = Letterbox(source=(height, width), target=(HEIGHT, WIDTH))
    np.testing.assert_allclose(clip.points, limits.to_metres(box.values_back(unit)), atol=1e-5)
    assert np.abs(clip.points - limits.centre).max() <= limits.scale * (1 + 1e-5)


def test_guidance_one_takes_one_pass_and_gives_another_result(
    pipeline: Kinema4DPipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[int] = []
    forward = pipeline.transformer.forward

    def counted(*given: torch.Tensor) -> torch.Tensor:
        calls.append(1)
        return forward(*given)

    monkeypatch.setattr(pipeline.transformer, "forward", counted)
    alone = pipeline(first_frame(), robot(), num_steps=2, guidance=1.0)[0]
    assert len(calls) == 2
    guided = pipeline(first_frame(), robot(), num_steps=2)[0]
    assert len(calls) == 2 + 4
    assert not torch.allclose(alone.latents, guided.latents)


def test_a_seed_decides_and_samples_differ(pipeline: Kinema4DPipeline) -> None:
    first, second = pipeline(first_frame(), robot(), num_steps=1, seed=7, num_samples=2)
    (again,) = pipeline(first_frame(), robot(), num_steps=1, seed=8)
    assert torch.equal(second.latents, again.latents)
    assert not torch.equal(first.latents, second.latents)


def test_the_robot_decides(pipeline: Kinema4DPipeline) -> None:
    moving, still = robot(), robot()
    still = RobotRendering(**{name: np.repeat(getattr(still, name)[:1], FRAMES, axis=0) for name in vars(still)})
    limits = PointmapRange(centre=np.zeros(3), scale=2.0)
    one, other = (pipeline(first_frame(), each, points_range=limits, num_steps=1)[0] for each in (moving, still))
    assert not torch.allclose(one.latents, other.latents)


def test_steps_are_told_and_the_last_preview_is_the_clip(pipeline: Kinema4DPipeline) -> None:
    steps: list[DenoisingStep] = []
    clip = pipeline(first_frame(), robot(), num_steps=4, on_step=steps.append)[0]
    assert [step.number for step in steps] == [1, 2, 3, 4]
    torch.testing.assert_close(steps[-1].end, clip.latents, rtol=0, atol=1e-5)
    assert not torch.allclose(steps[0].end, steps[0].latents)
    preview = steps[-1].preview()
    assert np.abs(preview.rgb.astype(int) - clip.rgb).max() <= 1


def test_it_can_be_cancelled_between_steps(pipeline: Kinema4DPipeline) -> None:
    done: list[int] = []
    with pytest.raises(Cancelled, match="before step 3 of 5"):
        pipeline(
            first_frame(),
            robot(),
            num_steps=5,
            on_step=lambda step: done.append(step.number),
            cancel=lambda: len(done) == 2,
        )
    assert done == [1, 2]


def test_clips_of_other_lengths_are_generated(pipeline: Kinema4DPipeline) -> None:
    for frames in (1, 5, 13):
        clip = pipeline(first_frame(), robot(frames), num_steps=1, guidance=1.0)[0]
        assert clip.rgb.shape == (frames, HEIGHT, WIDTH, 3)


def test_bad_input_is_named(pipeline: Kinema4DPipeline) -> None:
    with pytest.raises(InvalidImage, match="8 frames; needed are 4 k \\+ 1"):
        pipeline(first_frame(), robot(8), num_steps=1)
    with pytest.raises(InvalidImage, match=r"robot\.rgb: uint8 images of"):
        pipeline(first_frame(), robot(FRAMES, 32, 32), num_steps=1)
    with pytest.raises(InvalidImage, match="first_frame: float64 images"):
        pipeline(first_frame() / 255, robot(), num_steps=1)
    whole = robot()
    with pytest.raises(InvalidImage, match=r"robot\.mask: uint8"):
        pipeline(first_frame(), replace(whole, mask=whole.mask.astype(np.uint8)), num_steps=1)
    with pytest.raises(InvalidImage, match=r"robot\.points: float32 images of shape \[5, "):
        pipeline(first_frame(), replace(whole, points=whole.points[:5]), num_steps=1)
    with pytest.raises(InvalidParameter, match="guidance nan"):
        pipeline(first_frame(), whole, num_steps=1, guidance=float("nan"))
    holed = robot()
    holed.points[holed.mask] = np.nan
    with pytest.raises(InvalidImage, match="not finite"):
        pipeline(first_frame(), holed, first_points=first_points(), num_steps=1)
    with pytest.raises(InvalidImage, match="depth is needed"):
        pipeline(first_frame(), RobotRendering(**{**vars(holed), "mask": np.zeros_like(holed.mask)}), num_steps=1)
    with pytest.raises(InvalidImage, match="no point of the first frame"):
        pipeline(first_frame(), robot(), first_points=np.full((HEIGHT, WIDTH, 3), np.nan, np.float32), num_steps=1)
    with pytest.raises(InvalidParameter, match="0 steps"):
        pipeline(first_frame(), robot(), num_steps=0)


def test_placements_that_cannot_be_are_named(model: Path) -> None:
    with pytest.raises(InvalidParameter, match="device 'gpu5'"):
        Placement(PlacementOptions(device="gpu5"))
    if not torch.cuda.is_available():
        with pytest.raises(InvalidParameter, match="sees no GPU"):
            Placement(PlacementOptions(device="cuda"))
    with pytest.raises(InvalidParameter, match="precision 'fp16'"):
        PlacementOptions(precision="fp16")  # type: ignore[arg-type]
    with pytest.raises(InvalidParameter, match="choose offload or quantization"):
        PlacementOptions(offload=True, quantization="fp8")
    eight = Placement(PlacementOptions(device="cpu", quantization="int8"))
    try:
        import torchao  # noqa: F401
    except ImportError:
        with pytest.raises(MissingDependency, match="torchao"):
            Kinema4DPipeline.from_pretrained(model, placement=eight, allow_noncommercial=True)
    else:
        made = Kinema4DPipeline.from_pretrained(model, placement=eight, allow_noncommercial=True)
        assert made(first_frame(), robot(), num_steps=1)


def test_offloading_and_half_precision_give_nearly_the_same(model: Path, pipeline: Kinema4DPipeline) -> None:
    offloaded = Kinema4DPipeline.from_pretrained(
        model,
        placement=Placement(PlacementOptions(device="cpu", offload=True, tiling=True)),
        allow_noncommercial=True,
    )
    half = Kinema4DPipeline.from_pretrained(
        model, placement=Placement(PlacementOptions(device="cpu", precision="bf16")), allow_noncommercial=True
    )
    assert half.transformer.dtype == half.codec.vae.dtype == torch.bfloat16
    whole, moved, rounded = (
        each(first_frame(), robot(), num_steps=2)[0].latents for each in (pipeline, offloaded, half)
    )
    assert torch.equal(whole, moved)
    assert float((rounded - whole).square().mean().sqrt()) < 0.1 * float(whole.std())
