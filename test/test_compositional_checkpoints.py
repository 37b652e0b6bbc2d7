"""Published folders of COM4D and TripoSG: what is found, what is refused, and what comes out of a conversion."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from compositional_rig import COM4D, GOLDEN, TRIPOSG, quick, small_clip, tiny_model
from safetensors.torch import load_file, save_file

from fourd_ros.compositional.checkpoints import (
    flow_shift,
    load_checkpoints,
    load_image_encoder,
    load_network,
    load_triposg,
    transformer_folder,
)
from fourd_ros.compositional.conversion import CONVERTER
from fourd_ros.compositional.model import CompositionalObjects
from fourd_ros.compositional.shape_vae import ShapeVae
from fourd_ros.compositional.transformer import CompositionalTransformer
from fourd_ros.errors import InvalidCheckpoint, InvalidModel, LicenceRefused, WeightMismatch
from fourd_ros.model_io.conversion import convert
from fourd_ros.model_io.weights import save_weights

WEIGHTS = "diffusion_pytorch_model.safetensors"
EMA = COM4D / "transformer_ema"
TABLES = ("part_embedding", "frame_embedding", "static_embedding", "dynamic_embedding")


def test_averaged_weights_come_first_but_only_if_they_are_there(tmp_path: Path) -> None:
    with pytest.raises(InvalidModel, match="no transformer"):
        transformer_folder(tmp_path)
    shutil.copytree(EMA, tmp_path, dirs_exist_ok=True)
    assert transformer_folder(tmp_path) == tmp_path
    shutil.copytree(EMA, tmp_path / "transformer")
    assert transformer_folder(tmp_path) == tmp_path / "transformer"
    shutil.copytree(EMA, tmp_path / "transformer_ema")
    assert transformer_folder(tmp_path) == tmp_path / "transformer_ema"
    (tmp_path / "transformer_ema" / WEIGHTS).unlink()
    assert transformer_folder(tmp_path) == tmp_path / "transformer"


def test_shards_and_half_precision_are_read(tmp_path: Path) -> None:
    stored = load_file(EMA / WEIGHTS)
    save_weights(((name, one.half()) for name, one in stored.items()), tmp_path, max_shard_bytes=200_000)
    facts = json.loads((EMA / "config.json").read_text()) | {"decay": 0.9999, "_class_name": "Anything"}
    (tmp_path / "config.json").write_text(json.dumps(facts))
    assert len(list(tmp_path.glob("*.safetensors"))) > 2
    network = load_network(CompositionalTransformer, tmp_path)
    assert {one.dtype for one in network.state_dict().values()} == {torch.float32}
    for name, one in network.state_dict().items():
        torch.testing.assert_close(one, stored[name], rtol=1e-3, atol=1e-4)
    assert load_network(CompositionalTransformer, tmp_path, dtype=torch.float16).proj_in.weight.dtype == torch.float16


def test_every_difference_is_named(tmp_path: Path) -> None:
    stored = load_file(EMA / WEIGHTS)
    del stored["proj_in.bias"]
    stored["part_embedding.weight"] = stored["part_embedding.weight"][:3].clone()
    save_file(stored | {"pos_embed": torch.zeros(1)}, tmp_path / WEIGHTS)
    shutil.copy(EMA / "config.json", tmp_path)
    with pytest.raises(WeightMismatch) as raised:
        load_network(CompositionalTransformer, tmp_path)
    for what in ("missing: proj_in.bias", "unexpected: pos_embed", "shape: part_embedding.weight"):
        assert what in str(raised.value)


def test_the_class_name_of_the_autoencoder_does_not_matter(tmp_path: Path) -> None:
    shutil.copytree(TRIPOSG / "vae", tmp_path, dirs_exist_ok=True)
    _change(tmp_path / "config.json", _class_name="Tripo2VAEModel")
    assert load_network(ShapeVae, tmp_path).config == load_network(ShapeVae, TRIPOSG / "vae").config


def test_training_begins_with_triposg_and_small_tables(tmp_path: Path) -> None:
    stored = load_file(EMA / WEIGHTS)
    plain = {name: one for name, one in stored.items() if name.split(".")[0] not in TABLES}
    save_file(plain, tmp_path / WEIGHTS)
    shutil.copy(COM4D / "triposg_style_transformer_config.json", tmp_path / "config.json")
    tables = {"enable_static_embedding": True, "enable_dynamic_embedding": True}
    network = load_triposg(tmp_path, tables=tables, generator=torch.Generator().manual_seed(0))
    assert torch.equal(network.proj_in.weight, stored["proj_in.weight"])
    assert network.part_embedding.weight.shape == (32, 64) and network.frame_embedding.weight.shape == (64, 64)
    assert float(network.frame_embedding.weight.detach().std()) == pytest.approx(0.02, rel=0.1)
    assert network.static_embedding.weight.requires_grad
    del plain["norm_out.bias"]
    save_file(plain, tmp_path / WEIGHTS)
    with pytest.raises(WeightMismatch, match=r"norm_out\.bias"):
        load_triposg(tmp_path, tables=tables)


def test_weights_without_a_licence_are_asked_about_and_a_part_of_a_download_is_named(tmp_path: Path) -> None:
    with pytest.raises(LicenceRefused, match="allow_noncommercial"):
        load_checkpoints(TRIPOSG, COM4D)
    shutil.copytree(TRIPOSG / "vae", tmp_path / "vae")
    with pytest.raises(InvalidModel, match="image_encoder_dinov2"):
        load_checkpoints(tmp_path, COM4D, allow_noncommercial=True)


@pytest.mark.parametrize("change", [{"use_dynamic_shifting": True}, {"num_train_timesteps": 500}])
def test_another_flow_is_refused(tmp_path: Path, change: dict[str, Any]) -> None:
    shutil.copy(TRIPOSG / "scheduler" / "scheduler_config.json", tmp_path)
    _change(tmp_path / "scheduler_config.json", shift=3.0)
    assert flow_shift(tmp_path) == 3.0
    _change(tmp_path / "scheduler_config.json", **change)
    with pytest.raises(InvalidModel, match="another flow"):
        flow_shift(tmp_path)


def test_the_image_encoder_takes_its_colours_from_the_folder(tmp_path: Path) -> None:
    shutil.copytree(TRIPOSG, tmp_path, dirs_exist_ok=True)
    path = tmp_path / "feature_extractor_dinov2" / "preprocessor_config.json"
    _change(path, image_mean=[0.5, 0.5, 0.5])
    assert load_image_encoder(tmp_path).mean.tolist() == [0.5, 0.5, 0.5]
    _change(path, image_std=None)
    with pytest.raises(InvalidModel, match="image_std"):
        load_image_encoder(tmp_path)


def test_networks_that_do_not_fit_together_are_refused() -> None:
    model = tiny_model()
    sizes = model.transformer.config | {"in_channels": 4}
    with pytest.raises(InvalidModel, match="4 channels"):
        CompositionalObjects(
            transformer=CompositionalTransformer.from_config(sizes), vae=model.vae, images=model.images
        )


def test_a_converted_folder_computes_the_same(tmp_path: Path) -> None:
    source = tmp_path / "source"
    shutil.copytree(TRIPOSG, source / "TripoSG")
    shutil.copytree(EMA, source / "TripoSG" / "transformer")  # TripoSG's own, which is not used
    shutil.copytree(COM4D, source / "COM4D")
    shutil.copytree(EMA, source / "COM4D" / "transformer")
    _change(source / "TripoSG" / "scheduler" / "scheduler_config.json", shift=2.0)
    done = convert(CONVERTER, source, tmp_path / "model")
    stored = sum(len(load_file(path)) for path in GOLDEN.glob("weights/*/*/*.safetensors"))
    assert not done.problems and sum(len(step.sources) for step in done.steps) == stored
    with pytest.raises(LicenceRefused):
        CompositionalObjects.from_folder(tmp_path / "model")
    model = CompositionalObjects.from_folder(tmp_path / "model", allow_noncommercial=True)
    assert model.shift == 2.0
    model.shift = 1.0
    wanted = tiny_model().latents(small_clip(), quick())
    assert torch.equal(model.latents(small_clip(), quick()).moving, wanted.moving)


def test_a_conversion_needs_both_downloads(tmp_path: Path) -> None:
    shutil.copytree(TRIPOSG, tmp_path / "TripoSG")
    with pytest.raises(InvalidCheckpoint, match="0 folders of COM4D"):
        convert(CONVERTER, tmp_path, tmp_path / "model")
    shutil.rmtree(tmp_path / "TripoSG")
    shutil.copytree(COM4D, tmp_path / "COM4D")
    with pytest.raises(InvalidCheckpoint, match="0 TripoSG folders"):
        convert(CONVERTER, tmp_path, tmp_path / "model")


def _change(path: Path, **changes: Any) -> None:
    path.chmod(0o644)
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
